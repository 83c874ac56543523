"""`ledger reconcile` and `receiver reconcile`: two sides as processes, and what each says of the other's copy."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.gateway.processes import gateway, program, run

VAULT = ("--vault", "file")
PRIVATE = ("--set", "private_receivers=true")


@dataclass
class Two:
    """A gateway's home and its client's, whose receiver runs."""

    home: Path
    client: Path
    receiver: dict[str, Any]

    def ledger(self, *words: str) -> subprocess.CompletedProcess[str]:
        return said(run(self.home, "ledger", *words, *VAULT, *PRIVATE))

    def copy(self, *words: str) -> subprocess.CompletedProcess[str]:
        return said(run(self.client, "receiver", *words, *VAULT))

    def held(self) -> apsw.Connection:
        (path,) = self.client.rglob("receiver.sqlite3")
        return apsw.Connection(str(path))

    def kept(self) -> apsw.Connection:
        (path,) = self.home.rglob("ledger.sqlite3")
        return apsw.Connection(str(path))


def said(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert "Traceback" not in done.stderr, done.stderr
    assert "mr_" not in done.stdout + done.stderr
    return done


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    """A receiver that runs and a gateway that delivered to it and was stopped."""
    home, client = tmp_path / "home", tmp_path / "client"
    home.mkdir()
    client.mkdir()
    monkeypatch.chdir(tmp_path)
    with program(client, "app", "receiver", "run", *VAULT, "--port", "0", "--print-connection") as receiver:
        made = Two(home, client, receiver.connection)
        enrolled = json.loads(run(client, "receiver", "enrol", "garage", *VAULT, "--json").stdout)
        with gateway(home, "--simulate", *PRIVATE):
            assert made.ledger("deliver", "First client", enrolled["line"]).returncode == 0
            delivered(made)
        yield made


def delivered(two: Two) -> None:
    """Wait until nothing waits any more."""
    until = time.monotonic() + 20
    while json.loads(two.ledger("deliver", "--json").stdout)["waiting"] and time.monotonic() < until:
        time.sleep(0.1)


def test_both_sides_find_their_copies_the_same_whether_the_gateway_runs_or_not(two: Two) -> None:
    done = two.ledger("reconcile")
    assert (done.returncode, done.stdout[:4]) == (0, "OK: "), done.stderr
    assert two.ledger("reconcile", "--every-record").returncode == 0
    with gateway(two.home, "--simulate", *PRIVATE) as process:
        delivered(two)
        for words in ((), ("--every-record",), ("--log", "First client")):
            done = two.ledger("reconcile", *words)
            assert (done.returncode, done.stdout[:4]) == (0, "OK: "), done.stdout + done.stderr
        url, key = process.connection["url"], process.connection["api_key"]
        for words in ((), ("--every-record",)):
            done = two.copy("reconcile", "garage", "--url", url, "--key", key, *words)
            assert (done.returncode, done.stdout[:4]) == (0, "OK: "), done.stdout + done.stderr
        refused = two.copy("reconcile", "garage", "--url", url, "--key", "mg_wrong")
        assert (refused.returncode, "401" in refused.stderr) == (2, True), refused.stderr


def test_a_record_that_the_client_changed_is_named_with_evidence_that_others_can_check(two: Two) -> None:
    with two.held() as file:
        file.execute("UPDATE record SET body = CAST(replace(body, 'First', 'Other') AS BLOB) WHERE seq = 0")
    done = two.ledger("reconcile", "--out", "evidence")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("TAMPERED: Record 0 of ")
    assert "the receiver itself cosigned ours" in done.stdout
    vkey = two.ledger("vkey").stdout.strip()
    done = run(
        two.home, "ledger", "check-proof", "evidence", "--vkey", vkey, "--cosigner", two.receiver["vkey"]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("PROVEN: Only one of the two records is what ")
    assert "cosigned it at" in done.stdout


def test_a_later_record_changed_beneath_its_hash_is_found_where_every_record_is_looked_at(two: Two) -> None:
    with two.held() as file:
        file.execute("UPDATE record SET body = CAST(replace(body, ':', ': ') AS BLOB) WHERE seq = 2")
    done = two.ledger("reconcile", "--every-record", "--out", "evidence")
    assert (done.returncode, done.stdout.split(" of ")[0]) == (1, "TAMPERED: Record 2")


def test_a_copy_that_was_handed_over_as_files_is_compared_without_asking_anybody(two: Two) -> None:
    for path, name in (("/ledger/entries", "leaves"), ("/ledger/checkpoint", "note")):
        asked = urllib.request.Request(
            two.receiver["url"] + path, headers={"Authorization": f"Bearer {two.receiver['owner_key']}"}
        )
        with urllib.request.urlopen(asked, timeout=20) as reply:
            Path(name).write_bytes(reply.read())
    words = ("reconcile", "--leaves", "leaves", "--checkpoint", "note")
    done = two.ledger(*words)
    assert (done.returncode, done.stdout[:4]) == (0, "OK: "), done.stdout + done.stderr
    with gateway(two.home, "--simulate", *PRIVATE):
        delivered(two)
        # The files are from before this key, by whose record the log has grown.
        assert run(two.home, "keys", "create", "guest", *VAULT).returncode == 0
        delivered(two)
        done = two.ledger(*words)
        assert (done.returncode, "has cosigned" in done.stdout) == (1, True), done.stdout
    done = two.copy("reconcile", "garage", "--leaves", "leaves", "--checkpoint", "note")
    assert done.stdout.startswith("ROLLBACK: The gateway shows "), done.stdout + done.stderr
    lines = Path("leaves").read_bytes().split(b"\n")
    Path("leaves").write_bytes(b"\n".join([lines[0].replace(b"First", b"Other"), *lines[1:]]))
    done = two.ledger(*words)
    assert done.stdout.startswith("TAMPERED: Record 0 of ")
    for broken in (("--leaves", "leaves"), ("--leaves", "nowhere", "--checkpoint", "note")):
        refused = two.ledger("reconcile", *broken)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)


def test_the_gateways_own_file_is_not_believed_either(two: Two) -> None:
    with two.kept() as file:
        file.execute("UPDATE record SET body = CAST('{}' AS BLOB) WHERE seq = 0")
    done = two.ledger("reconcile")
    assert done.returncode == 2
    assert "verification" in done.stderr


def test_nobody_to_compare_with_is_one_sentence(tmp_path: Path) -> None:
    assert "no ledger yet" in run(tmp_path, "ledger", "reconcile", *VAULT).stderr
    with gateway(tmp_path, "--simulate"):
        done = run(tmp_path, "ledger", "reconcile", *VAULT)
        assert (done.returncode, "has no receiver of its own" in done.stderr) == (2, True)
    done = run(tmp_path, "ledger", "reconcile", *VAULT)
    assert (done.returncode, "--leaves" in done.stderr) == (2, True)
    done = run(tmp_path, "receiver", "reconcile", *VAULT)
    assert (done.returncode, "No such log is held" in done.stderr) == (2, True)
