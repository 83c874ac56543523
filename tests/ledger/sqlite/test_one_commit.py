"""One commit's plan, operation by operation: what fails leaves nothing half made, what succeeds gets its own place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw
import pytest

from app.ledger.checkpoint import Signer, verify_checkpoint
from app.ledger.drafts import MONEY_MAX, GenesisDraft, HeartbeatDraft
from app.ledger.errors import DuplicateRecord, LedgerError, RecordError
from app.ledger.holds import HoldRow
from app.ledger.ids import uuid7
from app.ledger.parties import Client, Key
from app.ledger.records import decode
from app.ledger.sqlite.journal import Journal
from app.ledger.sqlite.membership import CreateClient, CreateKey, RevokeKey
from app.ledger.sqlite.schema import SPAN_RECORDS
from app.ledger.sqlite.store import Ledger
from app.ledger.sqlite.transaction import Append, DropHold, PutHold, RenewHold

SIGNER = Signer(bytes(range(32)), "gw_test")
NOW_US = 1_763_650_000_000_000


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "ledger.db", SIGNER)
    yield journal
    with contextlib.suppress(apsw.ConnectionClosedError):  # where a test closed it to open it anew
        journal.close()


def again(journal: Journal, tmp_path: Path) -> Journal:
    """What the file says once it is opened anew."""
    journal.close()
    return Journal(tmp_path / "ledger.db", SIGNER)


def new_id() -> str:
    return uuid7(NOW_US, 0)


def client(name: str, **changes: Any) -> CreateClient:
    genesis = replace(GenesisDraft(new_id(), NOW_US, "gw_test", name, SIGNER.vkey), **changes)
    return CreateClient(Client(f"c_{name}", name, f"gw_test/{name}", NOW_US), genesis, None)  # type: ignore[arg-type]


def key(number: int, owner: str) -> CreateKey:
    made = Key(f"k_{number}", sha256(bytes([number])).digest(), "laptop", "client", owner, NOW_US, None)
    return CreateKey(made, new_id(), None)  # type: ignore[arg-type]


def beat(log: str, record_id: str = "") -> Append:
    return Append(log, HeartbeatDraft(record_id or new_id(), NOW_US), None, None)


def hold(log: str, **changes: Any) -> PutHold:
    row = HoldRow(new_id(), log, "k", "m", "/api/chat", "t_1", NOW_US, 5, NOW_US, 0, 0)
    return PutHold(replace(row, **changes), None)


def results(journal: Journal, *operations: Any) -> list[object]:
    return [outcome for _, outcome in journal.commit(operations).outcomes]


# Clients.


def test_clients_created_in_one_commit_have_logs_of_their_own(journal: Journal, tmp_path: Path) -> None:
    results(journal, client("anna"))
    both = results(
        journal,
        client("ben"),
        beat("gw_test/ben"),
        client("cleo"),
        beat("gw_test/cleo"),
        beat("gw_test/anna"),
    )
    assert not any(isinstance(outcome, Exception) for outcome in both)
    journal = again(journal, tmp_path)
    assert {name: (head.k, head.size) for name, head in journal.heads.items()} == {
        "gw_test/anna": (1, 2),
        "gw_test/ben": (2, 2),
        "gw_test/cleo": (3, 2),
    }
    for name, head in journal.heads.items():
        assert verify_checkpoint(head.checkpoint, SIGNER.verifier, name).size == 2
    assert [one.name for one in journal.parties.clients] == ["anna", "ben", "cleo"]
    journal.close()


def test_a_first_record_that_fails_leaves_no_half_made_log(journal: Journal, tmp_path: Path) -> None:
    outcomes = results(
        journal,
        client("anna"),
        client("ben", t0=-1),
        beat("gw_test/ben"),
        key(1, "c_ben"),
        hold("gw_test/ben"),
        client("cleo"),
    )
    assert [type(outcome) for outcome in outcomes] == [
        Client, RecordError, LedgerError, LedgerError, LedgerError, Client,
    ]  # fmt: skip
    assert {name: head.k for name, head in journal.heads.items()} == {"gw_test/anna": 1, "gw_test/cleo": 2}
    assert [one.name for one in journal.parties.clients] == ["anna", "cleo"]
    assert results(journal, client("ben"), beat("gw_test/ben"))
    journal = again(journal, tmp_path)
    assert {name: (head.k, head.size) for name, head in journal.heads.items()} == {
        "gw_test/anna": (1, 1),
        "gw_test/cleo": (2, 1),
        "gw_test/ben": (3, 2),
    }
    journal.close()


def test_a_name_or_an_id_is_given_once_in_a_commit(journal: Journal) -> None:
    same_id = client("ben")
    same_id.client = replace(same_id.client, id="c_anna")
    outcomes = results(journal, client("anna"), client("anna"), same_id)
    assert [type(outcome) for outcome in outcomes] == [Client, LedgerError, LedgerError]
    assert list(journal.heads) == ["gw_test/anna"]


# Keys.


def test_a_key_made_and_revoked_in_one_commit_is_recorded_twice(journal: Journal, tmp_path: Path) -> None:
    outcomes = results(
        journal,
        client("anna"),
        key(1, "c_anna"),
        key(2, "c_anna"),
        RevokeKey("k_1", NOW_US + 5, new_id(), None),  # type: ignore[arg-type]
    )
    assert [getattr(outcome, "id", None) for outcome in outcomes] == ["c_anna", "k_1", "k_2", "k_1"]
    journal = again(journal, tmp_path)
    assert {one.id: one.revoked_us for one in journal.parties.keys} == {"k_1": NOW_US + 5, "k_2": None}
    assert journal.heads["gw_test/anna"].size == 4
    journal.close()


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33), bytearray(32), "x" * 32, None])
def test_a_key_is_kept_as_thirty_two_bytes(journal: Journal, digest: Any) -> None:
    odd = key(1, "c_anna")
    odd.key = replace(odd.key, sha256=digest)
    outcomes = results(journal, client("anna"), odd)
    assert isinstance(outcomes[1], LedgerError)
    assert "32 bytes" in str(outcomes[1])
    assert journal.parties.keys == ()
    assert journal.heads["gw_test/anna"].size == 1


def test_a_key_with_the_id_or_the_digest_of_another_is_refused(journal: Journal) -> None:
    same_id, same_digest = key(2, "c_anna"), key(1, "c_anna")
    same_id.key = replace(same_id.key, id="k_1")
    same_digest.key = replace(same_digest.key, id="k_9")
    outcomes = results(journal, client("anna"), key(1, "c_anna"), same_id, same_digest)
    assert [type(outcome) for outcome in outcomes] == [Client, Key, LedgerError, LedgerError]
    assert [one.id for one in journal.parties.keys] == ["k_1"]


# Records.


def test_an_id_that_was_refused_once_may_still_be_recorded(journal: Journal) -> None:
    results(journal, client("anna"))
    record_id = new_id()
    bad = Append("gw_test/anna", HeartbeatDraft(record_id, -1), None, None)
    outcomes = results(journal, bad, beat("gw_test/anna", record_id), beat("gw_test/anna", record_id))
    assert [type(outcome).__name__ for outcome in outcomes] == ["RecordError", "Receipt", "DuplicateRecord"]
    assert isinstance(outcomes[2], DuplicateRecord)
    assert journal.heads["gw_test/anna"].size == 2


def test_a_receipt_names_the_checkpoint_of_its_whole_commit(journal: Journal) -> None:
    results(journal, client("anna"))
    outcomes: list[Any] = results(journal, *[beat("gw_test/anna") for _ in range(3)])
    assert [(one.seq, one.size) for one in outcomes] == [(1, 4), (2, 4), (3, 4)]


def test_times_of_a_span_are_its_earliest_and_latest(journal: Journal, tmp_path: Path) -> None:
    results(journal, client("anna"))
    times = [NOW_US + 10] * (SPAN_RECORDS - 3) + [NOW_US - 7, NOW_US + 99] + [NOW_US + 50, NOW_US + 40]
    results(journal, *[Append("gw_test/anna", HeartbeatDraft(new_id(), t0), None, None) for t0 in times])
    connection = journal._connection
    assert connection.execute("SELECT * FROM span").fetchall() == [(0, NOW_US - 7, NOW_US + 99)]
    journal = again(journal, tmp_path)
    results(journal, *[beat("gw_test/anna") for _ in range(SPAN_RECORDS - 2)])
    assert journal._connection.execute("SELECT * FROM span WHERE block = 1").fetchall() == [
        (1, NOW_US, NOW_US + 50)
    ]
    journal.close()


# Holds.


def held(journal: Journal) -> dict[str, tuple[int, int]]:
    return {
        request_id: (amount, seen)
        for request_id, amount, seen in journal._connection.execute(
            "SELECT request_id, amount, seen FROM hold"
        ).fetchall()
    }


def renewal(
    request_id: str, amount: Any = 9, seen: Any = NOW_US + 1, e_uj: Any = None, cost: Any = None
) -> RenewHold:
    return RenewHold(request_id, amount, seen, e_uj, cost, None)


def test_a_hold_that_ends_in_the_commit_it_came_with_is_never_a_row(journal: Journal) -> None:
    results(journal, client("anna"))
    put = hold("gw_test/anna")
    outcomes = results(journal, put, renewal(put.row.request_id), DropHold(put.row.request_id, None))
    assert outcomes == [None, None, None]
    assert held(journal) == {}
    assert journal.held == set()


def test_a_hold_is_renewed_as_a_row_and_within_its_commit(journal: Journal) -> None:
    results(journal, client("anna"))
    put = hold("gw_test/anna")
    results(journal, put, renewal(put.row.request_id, 7))
    assert held(journal) == {put.row.request_id: (7, NOW_US + 1)}
    results(journal, renewal(put.row.request_id, 11, NOW_US + 2))
    assert held(journal) == {put.row.request_id: (11, NOW_US + 2)}


def test_a_hold_that_was_dropped_is_not_renewed(journal: Journal) -> None:
    results(journal, client("anna"))
    put = hold("gw_test/anna")
    results(journal, put)
    drop, late = results(journal, DropHold(put.row.request_id, None), renewal(put.row.request_id))
    assert drop is None
    assert isinstance(late, LookupError)
    assert held(journal) == {}
    (later,) = results(journal, renewal(put.row.request_id))
    assert isinstance(later, LookupError)


@pytest.mark.parametrize(
    "change",
    [
        {"amount_pico": MONEY_MAX + 1},
        {"cost_pico": -MONEY_MAX - 1},
        {"e_uj": 1.5},
        {"seen_us": True},
        {"t0_us": "1"},
        {"key": 5},
        {"tariff": None},
    ],
    ids=str,
)
def test_a_hold_with_a_number_beyond_its_bounds_is_no_row(journal: Journal, change: dict[str, Any]) -> None:
    results(journal, client("anna"))
    (refused,) = results(journal, hold("gw_test/anna", **change))
    assert isinstance(refused, RecordError)
    assert held(journal) == {}


def test_a_hold_may_be_as_large_as_money_can_be(journal: Journal) -> None:
    results(journal, client("anna"))
    put = hold("gw_test/anna", amount_pico=MONEY_MAX, cost_pico=-MONEY_MAX)
    assert results(journal, put) == [None]
    (refused,) = results(journal, renewal(put.row.request_id, MONEY_MAX + 1))
    assert isinstance(refused, RecordError)
    assert held(journal) == {put.row.request_id: (MONEY_MAX, NOW_US)}
    assert results(journal, renewal(put.row.request_id, -MONEY_MAX)) == [None]


async def test_clients_that_come_at_once_through_the_ledger_have_logs_of_their_own(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path / "l.db", signer=SIGNER, gateway_id="gw", clock_us=lambda: NOW_US)
    try:
        clients = await asyncio.gather(*[ledger.create_client(f"client {number}") for number in range(20)])
        assert len({one.log for one in clients}) == 20
        for one in clients:
            (body,) = await ledger.entries(one.log, 0, 5)
            assert decode(body).draft.client == one.name
        assert (await ledger.verify()).verdict == "OK"
    finally:
        await ledger.close()
