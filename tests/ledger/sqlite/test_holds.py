"""Holds: rows that outlive a crash, ended in the very commit that records their request."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import pytest

from app.ledger.errors import LedgerError, RecordError
from app.ledger.holds import HoldRow
from app.ledger.sqlite import writer


async def until(condition, what, seconds=10.0):
    """Wait for `condition` to hold, looking often; it is an error if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.002)


async def crash(ledger):
    """End the writer as a crash would: nobody settles what is held."""
    await ledger.close()


def held(rows):
    return {request_id for (request_id,) in rows("SELECT request_id FROM hold")}


async def test_a_hold_is_a_row_once_its_future_is_done(ledger, log, drafts, rows):
    row = drafts.hold(log)
    await ledger.hold(row)
    assert held(rows) == {row.request_id}


async def test_a_hold_that_nobody_has_renewed_has_used_nothing(ledger, log, drafts, rows):
    row = drafts.hold(log)
    fields = dataclasses.fields(row)
    given = [getattr(row, field.name) for field in fields if field.default is dataclasses.MISSING]
    await ledger.hold(HoldRow(*given))
    assert rows("SELECT e_uj, cost FROM hold") == [(0, 0)]


async def test_the_record_and_the_end_of_its_hold_are_one_commit(ledger, log, drafts, rows):
    draft = drafts()
    await ledger.hold(drafts.hold(log, request_id=draft.id))
    rows(
        "CREATE TRIGGER watch AFTER DELETE ON hold BEGIN"
        " SELECT raise(ABORT, 'not yet') WHERE NOT EXISTS (SELECT 1 FROM record WHERE lower(hex(id)) ="
        " replace(old.request_id, '-', '')); END"
    )
    await ledger.append(log, draft, release=draft.id)
    assert held(rows) == set()


async def test_a_hold_can_end_without_a_record(ledger, log, drafts, rows):
    row = drafts.hold(log)
    await ledger.hold(row)
    await ledger.release(row.request_id)
    assert held(rows) == set()
    await ledger.release(row.request_id)
    assert len(await ledger.entries(log, 0, 9)) == 1


async def test_a_quick_request_never_costs_a_row(ledger, log, drafts, rows):
    rows("CREATE TABLE seen (request_id)")
    rows("CREATE TRIGGER watch AFTER INSERT ON hold BEGIN INSERT INTO seen VALUES (new.request_id); END")
    draft, slow = drafts(), drafts.hold(log)
    ledger.hold_later(drafts.hold(log, request_id=draft.id))
    await ledger.append(log, draft, release=draft.id)
    ledger.hold_later(slow)
    await until(lambda: held(rows) == {slow.request_id}, "a hold that lasts becomes a row")
    assert rows("SELECT request_id FROM seen") == [(slow.request_id,)]


async def test_a_quick_request_that_is_refused_by_the_engine_never_costs_a_row(ledger, log, drafts, rows):
    row = drafts.hold(log)
    ledger.hold_later(row)
    await ledger.release(row.request_id)
    later = drafts.hold(log)
    ledger.hold_later(later)
    await until(lambda: held(rows), "the later hold becomes a row")
    assert held(rows) == {later.request_id}


async def test_slow_requests_become_rows_in_their_turn(ledger, log, drafts, rows):
    expected = set()
    for _ in range(5):
        row = drafts.hold(log)
        ledger.hold_later(row)
        expected.add(row.request_id)
        await asyncio.sleep(0.008)
    await until(lambda: held(rows) == expected, "all of them become rows")


async def test_a_slow_request_ends_its_row_with_its_record(ledger, log, drafts, rows):
    draft = drafts()
    ledger.hold_later(drafts.hold(log, request_id=draft.id))
    await until(lambda: held(rows), "the hold becomes a row")
    await ledger.append(log, draft, release=draft.id)
    assert held(rows) == set()


async def test_renewing_changes_the_amount_and_what_has_accrued(ledger, log, drafts, rows):
    row = drafts.hold(log, e_uj=1, cost_pico=2)
    await ledger.hold(row)
    await ledger.renew(row.request_id, 9_000, row.t0_us + 5, e_uj=70, cost_pico=7)
    await ledger.renew(row.request_id, 9_001, row.t0_us + 6)
    assert rows("SELECT amount, seen, e_uj, cost FROM hold") == [(9_001, row.t0_us + 6, 70, 7)]


async def test_renewing_reaches_a_hold_of_the_same_batch_and_one_that_is_no_row_yet(
    ledger, log, drafts, rows
):
    one, two = drafts.hold(log), drafts.hold(log)
    ledger.hold_later(two)
    await asyncio.gather(
        ledger.hold(one),
        ledger.renew(one.request_id, 11, one.t0_us + 1, e_uj=5),
        ledger.renew(two.request_id, 22, two.t0_us + 2, cost_pico=6),
    )
    await until(lambda: len(held(rows)) == 2, "both become rows")
    assert rows("SELECT amount, e_uj, cost FROM hold ORDER BY amount") == [(11, 5, 0), (22, 0, 6)]


async def syncs_of(disk, work):
    before = disk.synced
    await work
    return disk.synced - before


async def test_what_running_requests_have_cost_is_written_with_the_commits_of_others(
    opening, drafts, disk, rows, monkeypatch
):
    monkeypatch.setattr(writer, "COMPANY_S", 60.0)
    ledger = await opening(vfs=disk.name)
    log = (await ledger.create_client("Anna")).log
    running = [drafts.hold(log) for _ in range(20)]
    await asyncio.gather(*[ledger.hold(row) for row in running])
    alone = await syncs_of(disk, ledger.append(log, drafts()))

    async def together():
        for row in running:
            ledger.renew(row.request_id, 7, row.t0_us + 9, e_uj=70, cost_pico=7)
        await ledger.append(log, drafts())

    assert await syncs_of(disk, together()) == alone
    assert rows("SELECT DISTINCT e_uj, cost FROM hold") == [(70, 7)]


async def test_where_nothing_else_is_written_all_running_requests_together_cost_one_commit(
    opening, drafts, disk, rows
):
    ledger = await opening(vfs=disk.name)
    log = (await ledger.create_client("Anna")).log
    running = [drafts.hold(log) for _ in range(20)]
    await asyncio.gather(*[ledger.hold(row) for row in running])
    alone = await syncs_of(disk, ledger.append(log, drafts()))
    renewals = [ledger.renew(row.request_id, 7, row.t0_us + 9, e_uj=70, cost_pico=7) for row in running]
    assert await syncs_of(disk, asyncio.gather(*renewals)) == alone
    assert rows("SELECT DISTINCT e_uj, cost FROM hold") == [(70, 7)]


async def test_a_renewal_that_waits_for_company_is_written_when_the_ledger_is_closed(
    opening, drafts, rows, monkeypatch
):
    monkeypatch.setattr(writer, "COMPANY_S", 60.0)
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    row = drafts.hold(log)
    await ledger.hold(row)
    ledger.renew(row.request_id, 7, row.t0_us + 9, e_uj=70, cost_pico=7)
    await ledger.close()
    assert rows("SELECT e_uj, cost FROM hold") == [(70, 7)]


async def test_renewing_what_is_not_held_is_an_error(ledger, log, drafts):
    row = drafts.hold(log)
    with pytest.raises(LookupError):
        await ledger.renew(row.request_id, 5, 5)
    await ledger.hold(row)
    _, renewal = await asyncio.gather(
        ledger.release(row.request_id), ledger.renew(row.request_id, 5, 5), return_exceptions=True
    )
    assert isinstance(renewal, LookupError)


async def test_a_hold_on_an_unknown_log_or_of_another_type_is_refused(ledger, log, drafts):
    with pytest.raises(LedgerError, match="create the client"):
        await ledger.hold(drafts.hold("gw_test/c_nobody"))
    with pytest.raises(RecordError, match="another type"):
        await ledger.hold(drafts.hold(log, amount_pico=1.5))


@pytest.mark.parametrize("bad", [1.5, "7", True, 2**63])
async def test_a_number_that_the_table_cannot_hold_fails_alone(ledger, log, drafts, bad):
    row, draft = drafts.hold(log), drafts()
    await ledger.hold(row)
    outcomes = await asyncio.gather(
        ledger.renew(row.request_id, bad, 5),
        ledger.renew(row.request_id, 5, 5, e_uj=bad),
        ledger.hold(drafts.hold(log, seen_us=bad)),
        ledger.append(log, draft),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes[:3]] == [RecordError] * 3
    assert outcomes[3].seq == 1
    assert ledger.fault is None


async def test_a_hold_with_a_name_that_a_client_chose_is_kept(ledger, log, drafts, rows):
    await ledger.hold(drafts.hold(log, model="\ud800"))
    assert rows("SELECT model FROM hold") == [("\ufffd",)]


async def test_what_a_crash_leaves_behind_is_recorded_as_last_seen_once(opening, drafts, rows):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    row = drafts.hold(log, model="mistral", seen_us=drafts().t0, e_uj=77, cost_pico=88)
    await ledger.hold(row)
    await ledger.renew(row.request_id, 5_000, row.t0_us + 3_000_000, e_uj=177, cost_pico=188)
    await crash(ledger)

    ledger = await opening()
    (recovered,) = ledger.recovered
    assert recovered == row.renewed(5_000, row.t0_us + 3_000_000, 177, 188).crash_record()
    assert (recovered.outcome, recovered.e_src, recovered.tok_src) == ("crash_recovered", "model", "none")
    assert (recovered.dur_us, recovered.tok_in, recovered.tok_out) == (3_000_000, None, None)
    assert (recovered.e_uj, recovered.cost, recovered.model) == (177, 188, "mistral")
    assert ledger.spent_pico == 188
    assert held(rows) == set()
    await crash(ledger)

    ledger = await opening()
    assert ledger.recovered == ()
    assert ledger.totals().requests == 1
    assert (await ledger.verify()).verdict == "OK"


async def test_closing_keeps_holds_that_nobody_settled_for_the_next_opening(opening, drafts):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    rows = [drafts.hold(log) for _ in range(600)]
    for row in rows:
        ledger.hold_later(row)
    await ledger.close()
    ledger = await opening()
    assert [draft.id for draft in ledger.recovered] == [row.request_id for row in rows]
    assert ledger.totals().requests == 600


async def test_a_row_left_over_from_a_settled_request_is_dropped(opening, drafts, rows):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    draft = drafts()
    await ledger.append(log, draft)
    await ledger.hold(drafts.hold(log, request_id=draft.id))
    await ledger.close()
    ledger = await opening()
    assert (ledger.recovered, held(rows), ledger.totals().requests) == ((), set(), 1)


async def test_a_clock_that_stepped_back_gives_no_negative_duration(drafts):
    row: HoldRow = dataclasses.replace(drafts.hold("x"), t0_us=100, seen_us=40)
    assert (row.crash_record().dur_us, row.crash_record().t1) == (0, 100)


async def test_with_many_requests_in_flight_a_commit_waits_for_others_to_settle(
    ledger, log, drafts, monkeypatch
):
    monkeypatch.setattr(writer, "LINGER_EACH_S", 0.2)
    monkeypatch.setattr(writer, "LINGER_MAX_S", 0.2)
    first, second = drafts(), drafts()
    for request_id in (first.id, second.id):
        ledger.hold_later(drafts.hold(log, request_id=request_id))
    others = [drafts.hold(log) for _ in range(writer.LINGER_FROM)]
    await asyncio.gather(*[ledger.hold(row) for row in others])
    one = ledger.append(log, first, release=first.id)
    await asyncio.sleep(0.02)
    two = ledger.append(log, second, release=second.id)
    assert (await one).size == (await two).size
    for row in others:
        await ledger.release(row.request_id)
    began = time.monotonic()
    await ledger.append(log, drafts())
    assert time.monotonic() - began < 0.2
