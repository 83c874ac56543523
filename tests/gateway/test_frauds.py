"""Every kind of fraud in docs/threats.md, detected by commands: with one side's files and the other's public key."""

from __future__ import annotations

import dataclasses
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.ledger.checkpoint import Signer
from app.ledger.drafts import Draft
from app.receiver.submission import write_submission
from tests.gateway.cheats import (
    THIEF_SEED,
    VAULT,
    WEEK_US,
    Cheat,
    Deal,
    another,
    change_file,
    hand_over,
    rewritten,
    usage_at,
)
from tests.gateway.processes import Process, gateway, program, run
from tests.gateway.test_reconcile_command import PRIVATE, Two, delivered

FIRST = 3
"""The record of the first request: before it the log begins, names the key and the tariff."""
REQUESTS = 4


def receiving(client: Path) -> Iterator[Process]:
    return program(client, "app", "receiver", "run", *VAULT, "--port", "0", "--print-connection")


@pytest.fixture(scope="module")
def deal(tmp_path_factory: pytest.TempPathFactory) -> Deal:
    """Four requests, served, delivered and cosigned."""
    root = tmp_path_factory.mktemp("deal")
    home, client = root / "home", root / "client"
    home.mkdir()
    client.mkdir()
    with receiving(client) as receiver:
        two = Two(home, client, receiver.connection)
        enrolled = json.loads(run(client, "receiver", "enrol", "garage", *VAULT, "--json").stdout)
        with gateway(home, "--simulate", *PRIVATE) as serving:
            assert two.ledger("deliver", "First client", enrolled["line"]).returncode == 0
            delivered(two)
            early = shown(two, "/ledger/checkpoint").decode()
            for _ in range(REQUESTS):
                chat(serving.connection)
            delivered(two)
        assert two.ledger("reconcile").stdout.startswith("OK: ")
        leaves = shown(two, "/ledger/entries").splitlines()
        note = shown(two, "/ledger/checkpoint").decode()
        vkey = two.ledger("vkey").stdout.strip()
    assert len(leaves) == FIRST + REQUESTS
    made = Deal(
        home,
        client,
        vkey,
        receiver.connection["vkey"],
        enrolled["secret"],
        note.split("\n")[0],
        leaves,
        note,
        early,
    )
    assert made.receiver("verify").stdout.startswith("OK: ")
    return made


def shown(two: Two, path: str) -> bytes:
    asked = urllib.request.Request(
        two.receiver["url"] + path, headers={"Authorization": f"Bearer {two.receiver['owner_key']}"}
    )
    with urllib.request.urlopen(asked, timeout=30) as reply:
        return bytes(reply.read())


def chat(connection: dict[str, str]) -> None:
    body = {"model": "qwen2.5:3b", "messages": [{"role": "user", "content": "Hello"}], "stream": False}
    asked = urllib.request.Request(
        connection["url"] + "/api/chat",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {connection['api_key']}"},
    )
    with urllib.request.urlopen(asked, timeout=60) as reply:
        reply.read()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def require_proven(deal: Deal, words: str) -> None:
    """A third party, who has neither side's files, checks the evidence."""
    keys = ("--vkey", deal.vkey, "--cosigner", deal.cosigner)
    nobody = Path("nobody")
    nobody.mkdir()
    done = run(nobody, "ledger", "check-proof", "evidence", *keys)
    assert (done.returncode, done.stdout[:8]) == (0, "PROVEN: "), done.stdout + done.stderr
    assert words in done.stdout


# The gateway cheats, and its client finds out.


def edited(drafts: list[Draft]) -> None:
    usage = usage_at(drafts, FIRST + 1)
    drafts[FIRST + 1] = dataclasses.replace(usage, cost=usage.cost * 10)


def dropped(drafts: list[Draft]) -> None:
    del drafts[FIRST + 2]


def invented(drafts: list[Draft]) -> None:
    drafts.insert(FIRST + 1, another(drafts))


def reordered(drafts: list[Draft]) -> None:
    drafts[FIRST : FIRST + 2] = drafts[FIRST + 1], drafts[FIRST]


def backdated(drafts: list[Draft]) -> None:
    usage = usage_at(drafts, -1)
    drafts[-1] = dataclasses.replace(usage, t0=usage.t0 - WEEK_US, t1=usage.t1 - WEEK_US)


def begun_anew(drafts: list[Draft]) -> None:
    drafts[FIRST:] = [another(drafts, cost=1)]


@pytest.mark.parametrize(
    ("cheat", "first"),
    [
        (edited, FIRST + 1),
        (dropped, FIRST + 2),
        (invented, FIRST + 1),
        (reordered, FIRST),
        (backdated, FIRST + REQUESTS - 1),
        (begun_anew, FIRST),
    ],
)
def test_a_gateway_that_signs_another_history_is_convicted_by_its_two_signatures(
    deal: Deal, cheat: object, first: int
) -> None:
    handed = hand_over(*rewritten(cheat)(deal))  # type: ignore[arg-type]
    done = deal.receiver("reconcile", "garage", *handed, "--out", "evidence")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(f"FORK: Record {first} of "), done.stdout
    require_proven(deal, "has signed two histories")


def test_a_gateway_that_drops_its_newest_records_has_signed_them(deal: Deal) -> None:
    done = deal.receiver(
        "reconcile", "garage", *hand_over(deal.leaves[:FIRST], deal.early), "--out", "evidence"
    )
    assert done.returncode == 1
    assert done.stdout.startswith("ROLLBACK: The gateway shows 3 records of "), done.stdout
    assert "it has dropped the newest 4, which are held here with its signature" in done.stdout
    require_proven(deal, "has signed 7 records")


def spoiled(deal: Deal) -> tuple[list[bytes], str]:
    """A record changed, and nothing signed anew."""
    return [*deal.leaves[:-1], deal.leaves[-1].replace(b'"cost":"', b'"cost":"9')], deal.note


def stripped(deal: Deal) -> tuple[list[bytes], str]:
    """The signatures of others under it, and not the gateway's."""
    head, _, signatures = deal.note.rpartition("\n\n")
    kept = [line for line in signatures.splitlines() if deal.vkey.partition("+")[0] not in line]
    return deal.leaves, f"{head}\n\n" + "".join(f"{line}\n" for line in kept)


def strangers(deal: Deal) -> tuple[list[bytes], str]:
    """Signed under the gateway's name by a key that is not its own."""
    return deal.leaves, deal.sign(deal.leaves, Signer(THIEF_SEED, deal.signer.name))


@pytest.mark.parametrize(
    ("cheat", "says"),
    [
        (spoiled, "TAMPERED: Record 6 of "),
        (stripped, "UNVERIFIABLE: The records of "),
        (strangers, "UNVERIFIABLE: The records of "),
    ],
)
def test_what_the_gateway_shows_unsigned_proves_nothing_and_is_said(
    deal: Deal, cheat: Cheat, says: str
) -> None:
    done = deal.receiver("reconcile", "garage", *hand_over(*cheat(deal)), "--out", "evidence")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(says), done.stdout


def test_a_note_without_any_signature_is_no_checkpoint(deal: Deal) -> None:
    bare = deal.note.rpartition("\n\n")[0] + "\n\n"
    done = deal.receiver("reconcile", "garage", *hand_over(deal.leaves, bare))
    assert done.returncode == 2
    assert "cannot be compared" in done.stderr


def test_a_request_that_is_billed_twice_is_refused_and_kept_against_the_gateway(
    deal: Deal, tmp_path: Path
) -> None:
    own = deal.copied(tmp_path)
    leaves = own.write([*own.drafts, own.drafts[-1]])
    with receiving(own.client) as receiver:
        at = len(own.leaves)
        body = write_submission(at, tuple(leaves[at:]), own.sign(leaves))
        assert own.push(receiver.connection["url"], body) == 422
    done = own.receiver("verify", "garage")
    assert done.returncode == 1
    assert "all 7 records are as they were signed" in done.stdout
    (suspicion,) = [line for line in done.stdout.splitlines() if line.startswith("UNVERIFIABLE: ")]
    assert "7" in suspicion


def test_the_same_records_once_more_are_kept_once(deal: Deal, tmp_path: Path) -> None:
    own = deal.copied(tmp_path)
    with receiving(own.client) as receiver:
        for old in (0, FIRST, 0):
            body = write_submission(old, tuple(own.leaves[old:]), own.sign(own.leaves))
            assert own.push(receiver.connection["url"], body) == 200
        # Records that come in another order than the log's are none of it.
        turned = write_submission(0, tuple(reversed(own.leaves)), own.sign(own.leaves))
        assert own.push(receiver.connection["url"], turned) == 422
        late = write_submission(len(own.leaves) + 1, (), own.sign([*own.leaves, own.leaves[-1]]))
        assert own.push(receiver.connection["url"], late) in (409, 422)
    assert "all 7 records are as they were signed" in own.receiver("verify", "garage").stdout
    assert own.ledger("reconcile", *hand_over(own.leaves, own.note)).stdout.startswith("OK: ")


def test_a_record_that_was_dated_back_before_it_was_signed_is_named(deal: Deal, tmp_path: Path) -> None:
    own = deal.copied(tmp_path)
    last = usage_at(own.drafts, -1)
    early = another(own.drafts, t0=last.t0 - WEEK_US, t1=last.t1 - WEEK_US)
    leaves = own.write([*own.drafts, early])
    at = len(own.leaves)
    with receiving(own.client) as receiver:
        body = write_submission(at, tuple(leaves[at:]), own.sign(leaves))
        assert own.push(receiver.connection["url"], body) == 200
    done = own.receiver("verify", "garage")
    (note,) = [line for line in done.stdout.splitlines() if line.startswith("NOTE: ")]
    assert f"Record {at} says that its work ended" in note
    assert "7 days before record 6" in note
    assert done.returncode == 0  # it may have been the gateway's clock: nobody is convicted


# The client cheats, and its contributor finds out.


def test_a_client_that_denies_its_requests_has_cosigned_them(deal: Deal) -> None:
    done = deal.ledger("reconcile", *hand_over(deal.leaves[:FIRST], deal.early), "--out", "evidence")
    assert done.returncode == 1
    assert done.stdout.startswith("ROLLBACK: The receiver shows 3 records of "), done.stdout
    assert "its own cosignature proves that" in done.stdout
    require_proven(deal, "has signed 7 records")


def test_one_record_is_proven_against_the_client_that_denies_it(deal: Deal) -> None:
    done = deal.ledger("prove", str(FIRST), "--cosigned", "--out", "record")
    assert "With --cosigner and the key that the client's `receiver enrol` printed" in done.stdout
    assert done.returncode == 0, done.stderr
    nobody = Path("nobody")
    nobody.mkdir()
    keys = ("--vkey", deal.vkey, "--cosigner", deal.cosigner)
    done = run(nobody, "ledger", "check-proof", "record", *keys)
    assert (done.returncode, done.stdout[:4]) == (0, "OK: "), done.stdout + done.stderr
    assert f"{deal.cosigner.partition('+')[0]} has cosigned it" in done.stdout
    assert deal.leaves[FIRST].decode() in done.stdout


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (edited, FIRST + 1),
        (dropped, FIRST + 2),
        (invented, FIRST + 1),
        (reordered, FIRST),
        (backdated, FIRST + REQUESTS - 1),
    ],
)
def test_a_client_that_shows_other_records_cannot_have_them_signed(
    deal: Deal, change: object, first: int
) -> None:
    drafts = deal.drafts
    change(drafts)  # type: ignore[operator]
    leaves = deal.write(drafts)
    note = deal.sign(leaves, Signer(THIEF_SEED, deal.signer.name))
    done = deal.ledger("reconcile", *hand_over(leaves, note), "--out", "evidence")
    assert done.returncode == 1
    assert done.stdout.startswith(f"TAMPERED: Record {first} of "), done.stdout
    assert "the receiver itself cosigned ours" in done.stdout
    require_proven(deal, "Only one of the two records is what ")


def test_a_client_that_forges_a_record_at_the_end_has_no_signature_over_it(deal: Deal) -> None:
    leaves = deal.write([*deal.drafts, another(deal.drafts)])
    note = deal.sign(leaves, Signer(THIEF_SEED, deal.signer.name))
    done = deal.ledger("reconcile", *hand_over(leaves, note))
    assert done.returncode == 1
    assert done.stdout.startswith("UNVERIFIABLE: "), done.stdout


def test_a_client_that_withholds_its_receipt_is_named(deal: Deal) -> None:
    head, _, signatures = deal.note.rpartition("\n\n")
    own = [line for line in signatures.splitlines() if deal.vkey.partition("+")[0] in line]
    done = deal.ledger("reconcile", *hand_over(deal.leaves, f"{head}\n\n{own[0]}\n"))
    assert done.returncode == 1
    assert done.stdout.startswith("UNVERIFIABLE: The receiver holds all 7 records of "), done.stdout
    assert "withholds its cosignature" in done.stdout


# Whoever has one side's files alone.


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE record SET body = CAST(replace(body, \'"cost":"\', \'"cost":"9\') AS BLOB) WHERE seq = 4',
        "DELETE FROM record WHERE seq = 4",
        "UPDATE record SET seq = -1 WHERE seq = 4; UPDATE record SET seq = 4 WHERE seq = 5;"
        " UPDATE record SET seq = 5 WHERE seq = -1",
    ],
)
@pytest.mark.parametrize("side", ["gateway", "client"])
def test_a_file_that_somebody_changed_does_not_verify(
    deal: Deal, tmp_path: Path, side: str, statement: str
) -> None:
    own = deal.copied(tmp_path)
    if side == "gateway":
        change_file(own.home, "ledger.sqlite3", *statement.split(";"))
        done = own.ledger("verify")
    else:
        change_file(own.client, "receiver.sqlite3", *statement.split(";"))
        done = own.receiver("verify")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("TAMPERED: "), done.stdout
    assert "ecord 4" in done.stdout


# Somebody has stolen a key.


def test_an_old_key_signs_nothing_once_it_was_passed_on(deal: Deal, tmp_path: Path) -> None:
    own = deal.copied(tmp_path)
    stolen = own.signer
    done = own.ledger("rotate-key")
    assert done.returncode == 0, done.stderr
    leaves = own.write([*own.drafts, another(own.drafts)])
    done = own.ledger("reconcile", *hand_over(leaves, own.sign(leaves, stolen)))
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(f"TAMPERED: Record {len(own.leaves)} of "), done.stdout
    assert "passed on before" in done.stdout
