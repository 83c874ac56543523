"""One group commit, worked out before SQLite is asked: what fails leaves nothing behind, what succeeds is whole."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from app.ledger.drafts import GenesisDraft
from app.ledger.errors import DuplicateRecord, LedgerError, RecordError
from app.ledger.heads import LogHead
from app.ledger.merkle import Frontier
from app.ledger.parties import Parties
from app.ledger.records import decode, uuid7
from app.ledger.sqlite.transaction import NO_TIMES, RenewHold, Transaction


def transaction(*, held: set[str] | None = None, logs: tuple[str, ...] = ()) -> Transaction:
    heads = {log: LogHead(k, log, Frontier()) for k, log in enumerate(logs, start=1)}
    return Transaction(heads, Parties(), held or set(), 0, *NO_TIMES)


def genesis(number: int, client: object = "Anna") -> GenesisDraft:
    return GenesisDraft(uuid7(1, number), 1, "gw", client, "vkey")  # type: ignore[arg-type]


def renewal(request_id: str, amount_pico: int = 7) -> RenewHold:
    return RenewHold(request_id, amount_pico, 9, None, None, None)


def test_a_first_record_that_failed_leaves_no_half_made_log() -> None:
    one = transaction()
    with pytest.raises(RecordError):
        one.begin_log("log/1", genesis(1, client=7))
    assert (one.touched, one.new_logs, one.n) == ({}, set(), 0)
    with pytest.raises(LedgerError, match="no log"):
        one.head("log/1")
    one.begin_log("log/1", genesis(1))
    assert (one.touched["log/1"].k, one.touched["log/1"].frontier.size) == (1, 1)


def test_two_logs_that_begin_in_one_commit_have_numbers_of_their_own() -> None:
    one = transaction(logs=("old",))
    one.begin_log("log/1", genesis(1))
    one.begin_log("log/2", genesis(2))
    assert [one.touched[log].k for log in ("log/1", "log/2")] == [2, 3]
    assert one.new_logs == {"log/1", "log/2"}


async def test_two_clients_that_come_in_one_commit_keep_their_records_apart(opening, drafts) -> None:
    ledger = await opening()
    anna, ben = await asyncio.gather(ledger.create_client("Anna"), ledger.create_client("Ben"))
    await asyncio.gather(*[ledger.append(log, drafts(model=log)) for log in (anna.log, ben.log, anna.log)])
    await ledger.close()
    again = await opening()
    for client, size in ((anna, 3), (ben, 2)):
        bodies = await again.entries(client.log, 0, 9)
        records = [decode(body) for body in bodies]
        assert [record.seq for record in records] == list(range(size))
        assert {record.log for record in records} == {client.log}
        assert records[0].draft.client == client.name


def test_a_head_is_copied_before_it_is_changed_and_others_see_the_old_one() -> None:
    heads = {"log": LogHead(1, "log", Frontier())}
    one = Transaction(heads, Parties(), set(), 0, *NO_TIMES)
    one.append("log", genesis(1))
    assert (heads["log"].frontier.size, one.touched["log"].frontier.size) == (0, 1)
    assert one.head("log") is one.touched["log"]


def test_a_record_comes_once_in_a_commit_and_its_second_try_changes_nothing() -> None:
    one = transaction(logs=("log",))
    draft = genesis(1)
    assert one.append("log", draft) == ("log", 0, 0)
    with pytest.raises(DuplicateRecord):
        one.append("log", draft)
    assert (one.n, one.touched["log"].frontier.size) == (1, 1)
    assert one.append("log", genesis(2)) == ("log", 1, 0)
    assert one.n == 2


def test_the_running_total_goes_on_from_the_head(drafts) -> None:
    one = transaction(logs=("log",))
    costs = [5, -2, 0]
    assert [one.append("log", drafts(cost=cost))[2] for cost in costs] == [5, 3, 3]
    assert one.touched["log"].cum == 3


def test_the_times_of_a_commit_span_its_records(drafts) -> None:
    one = transaction(logs=("log",))
    for t0 in (500, 300, 700):
        one.append("log", drafts(t0=t0, t1=t0))
    assert (one.t0_min, one.t0_max) == (300, 700)


def test_a_hold_of_this_commit_is_renewed_in_place_and_one_of_an_earlier_commit_by_a_statement(
    drafts,
) -> None:
    one = transaction(held={"earlier"}, logs=("log",))
    row = drafts.hold("log")
    one.hold(row)
    one.renew(renewal(row.request_id))
    assert one.hold_puts == {row.request_id: dataclasses.replace(row, amount_pico=7, seen_us=9)}
    assert not one.statements
    one.renew(renewal("earlier"))
    assert [bindings for _, bindings in one.statements] == [(7, 9, None, None, "earlier")]


def test_what_is_not_held_or_no_more_cannot_be_renewed(drafts) -> None:
    one = transaction(held={"earlier"}, logs=("log",))
    one.release("earlier")
    row = drafts.hold("log")
    one.hold(row)
    one.release(row.request_id)
    for name in ("nobody", "earlier", row.request_id):
        with pytest.raises(LookupError, match="to renew"):
            one.renew(renewal(name))
    assert not one.statements


def test_only_a_hold_that_is_a_row_has_to_be_deleted(drafts) -> None:
    one = transaction(held={"earlier"}, logs=("log",))
    row = drafts.hold("log")
    one.hold(row)
    for name in (row.request_id, "nobody", "earlier"):
        one.release(name)
    assert (one.hold_puts, one.hold_drops) == ({}, ["earlier"])


@pytest.mark.parametrize("bad", [2**63, -(2**63), True, "7", 1.5, None])
def test_a_hold_has_numbers_that_the_table_can_keep(drafts, bad: object) -> None:
    one = transaction(logs=("log",))
    with pytest.raises(RecordError, match="number"):
        one.hold(drafts.hold("log", amount_pico=bad))
    assert not one.hold_puts
    one.hold(drafts.hold("log", amount_pico=2**63 - 1))


def test_a_hold_needs_a_log_that_is_there(drafts) -> None:
    with pytest.raises(LedgerError, match="no log"):
        transaction().hold(drafts.hold("log"))
