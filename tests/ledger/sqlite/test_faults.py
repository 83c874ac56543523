"""A disk that refuses: nothing is lost, everything waits, and the fault clears by itself."""

from __future__ import annotations

import asyncio
import time

import apsw
import pytest

from app.ledger.checkpoint import Signer
from app.ledger.errors import LedgerClosed, LedgerError, LedgerFault
from app.ledger.sqlite import durable as durable_module
from app.ledger.sqlite import store, writer
from app.ledger.sqlite.durable import durable


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Tries follow each other quickly, so that a test need not wait like a gateway."""
    monkeypatch.setattr(writer, "RETRY_S", (0.01, 0.02))
    monkeypatch.setattr(store, "CLOSE_GRACE_S", 0.3)


async def until(condition, what, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("error", [apsw.FullError, apsw.IOError, apsw.BusyError])
async def test_appends_wait_for_the_disk_and_are_all_written_when_it_is_back(opening, drafts, disk, error):
    ledger = await opening(vfs=disk.name)
    log = (await ledger.create_client("Anna")).log
    faults = []
    ledger.on_fault(faults.append)
    await ledger.append(log, drafts())
    disk.error = error
    futures = [ledger.append(log, drafts()) for _ in range(50)]
    await until(lambda: ledger.fault is not None, "the fault is reported")
    await until(lambda: disk.refused > 5, "it is tried again and again")
    futures += [ledger.append(log, drafts()) for _ in range(50)]
    assert not any(future.done() for future in futures)
    assert ledger.totals().requests == 1
    disk.error = None
    receipts = await asyncio.gather(*futures)
    assert [receipt.seq for receipt in receipts] == list(range(2, 102))
    await until(lambda: ledger.fault is None, "the fault clears by itself")
    assert faults[-1] is None
    assert all(isinstance(sentence, str) for sentence in faults[:-1])
    assert (await ledger.verify()).verdict == "OK"


async def test_a_full_disk_costs_the_reserve_and_not_the_records(opening, drafts, disk, path, monkeypatch):
    ledger = await opening(vfs=disk.name)
    log = (await ledger.create_client("Anna")).log
    reserve = path.with_name(path.name + ".reserve")
    assert reserve.stat().st_size == writer.RESERVE_B
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0}))
    disk.error, disk.refuses = apsw.FullError, lambda name: reserve.exists()
    await ledger.append(log, drafts())
    assert not reserve.exists()
    assert "full" in ledger.fault
    await ledger.append(log, drafts())
    assert ledger.fault is not None
    monkeypatch.undo()
    disk.error = None
    await until(lambda: ledger.fault is None, "the reserve is taken back and the fault clears", 15)
    assert reserve.stat().st_size == writer.RESERVE_B


async def test_a_fault_that_lasts_until_the_end_fails_what_waits_and_loses_no_hold(opening, drafts, disk):
    ledger = await opening(vfs=disk.name)
    log = (await ledger.create_client("Anna")).log
    draft = drafts(cost=7)
    await ledger.hold(drafts.hold(log, request_id=draft.id, cost_pico=5))
    disk.error = apsw.FullError
    first = ledger.append(log, draft, release=draft.id)
    await until(lambda: ledger.fault is not None, "the fault is reported")
    others = [ledger.append(log, drafts()) for _ in range(600)]
    await ledger.close()
    for future in (first, *others):
        with pytest.raises(LedgerClosed, match="before this was written"):
            future.result()
    disk.error = None
    ledger = await opening()
    assert [recovered.id for recovered in ledger.recovered] == [draft.id]
    assert ledger.spent_pico == 5
    assert (await ledger.verify()).verdict == "OK"


async def test_holds_and_renewals_wait_for_the_disk_too(opening, drafts, disk, rows):
    ledger = await opening(vfs=disk.name)
    log = (await ledger.create_client("Anna")).log
    row = drafts.hold(log)
    disk.error = apsw.IOError
    waiting = asyncio.gather(ledger.hold(row), ledger.renew(row.request_id, 9, row.t0_us + 1))
    await until(lambda: ledger.fault is not None, "the fault is reported")
    disk.error = None
    await waiting
    assert rows("SELECT amount FROM hold") == [(9,)]


async def test_a_write_ahead_log_that_cannot_be_moved_is_a_fault_and_not_a_loss(
    opening, drafts, disk, monkeypatch
):
    monkeypatch.setattr(writer, "WAL_PAGES", 20)
    monkeypatch.setattr(writer, "QUIET_PAGES", 10)
    ledger = await opening(vfs=disk.name)
    log = (await ledger.create_client("Anna")).log
    disk.error, disk.refuses = apsw.FullError, lambda name: name.endswith("ledger.db")
    await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(500)])
    await until(lambda: ledger.fault is not None, "the fault is reported")
    disk.error = None
    await until(lambda: ledger.fault is None, "the fault clears by itself", 15)
    assert (await ledger.verify()).verdict == "OK"


async def test_a_lock_held_by_another_program_delays_and_loses_nothing(opening, drafts, path):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    browser = apsw.Connection(str(path))
    browser.execute("BEGIN IMMEDIATE")
    future = ledger.append(log, drafts())
    await until(lambda: ledger.fault is not None, "the fault is reported")
    assert "locked" in ledger.fault
    assert not future.done()
    browser.execute("ROLLBACK")
    browser.close()
    assert (await future).seq == 1
    await until(lambda: ledger.fault is None, "the fault clears by itself")


async def test_a_future_is_done_only_after_its_commit_was_synced(opening, drafts, disk):
    ledger = await opening(vfs=disk.name)
    log = (await ledger.create_client("Anna")).log
    for operation in (
        lambda: ledger.append(log, drafts()),
        lambda: ledger.hold(drafts.hold(log)),
        lambda: ledger.create_client("Ben"),
    ):
        before = disk.synced
        await operation()
        assert disk.synced > before


async def test_whoever_no_longer_listens_is_not_told(opening, drafts, disk):
    ledger = await opening(vfs=disk.name)
    log = (await ledger.create_client("Anna")).log
    told = []
    ledger.on_fault(told.append)()
    disk.error = apsw.IOError
    future = ledger.append(log, drafts())
    await until(lambda: ledger.fault is not None, "the fault is reported")
    disk.error = None
    await future
    assert told == []


async def test_a_nearly_full_disk_is_told_at_the_start(opening, monkeypatch, path):
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 2 << 20}))
    ledger = await opening()
    await until(lambda: ledger.fault is not None, "the fault is reported")
    assert not path.with_name(path.name + ".reserve").exists()


async def test_a_disk_that_is_full_at_the_start_costs_the_reserve_and_not_the_recovery(
    opening, drafts, disk, path
):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    row = drafts.hold(log, cost_pico=5)
    await ledger.hold(row)
    await ledger.close()
    reserve = path.with_name(path.name + ".reserve")
    disk.error, disk.refuses = apsw.FullError, lambda name: reserve.exists()
    ledger = await opening(vfs=disk.name)
    assert [draft.id for draft in ledger.recovered] == [row.request_id]
    assert disk.refused > 0


class Pen(Signer):
    """A key that cannot sign while it is `dry`."""

    dry = False

    def sign_checkpoint(self, origin, size, root):
        if self.dry:
            raise RuntimeError("dry")
        return super().sign_checkpoint(origin, size, root)


async def test_what_fails_on_something_else_than_the_disk_is_not_written_and_not_tried_for_ever(
    opening, drafts
):
    pen = Pen(bytes(range(32)), "gw_test")
    ledger = await opening(signer=pen)
    log = (await ledger.create_client("Anna")).log
    pen.dry = True
    draft = drafts()
    with pytest.raises(LedgerError, match="dry"):
        await ledger.append(log, draft)
    pen.dry = False
    assert (await ledger.append(log, draft)).seq == 1
    assert (await ledger.verify()).verdict == "OK"


async def test_when_the_thread_itself_dies_everybody_is_told(opening, drafts, monkeypatch):
    def broken(_):
        raise RuntimeError("no such thing")

    monkeypatch.setattr(writer.shutil, "disk_usage", broken)
    ledger = await opening()
    with pytest.raises(LedgerClosed):
        await ledger.create_client("Anna")
    assert "no such thing" in ledger.fault
    with pytest.raises(LedgerClosed):
        ledger.create_client("Anna")


async def test_whoever_subscribes_while_a_fault_stands_hears_it_at_once(opening, drafts, disk):
    ledger = await opening(vfs=disk.name)
    log = (await ledger.create_client("Anna")).log
    early, late = [], []
    ledger.on_fault(early.append)
    assert early == []
    disk.error = apsw.IOError
    ledger.append(log, drafts())
    await until(lambda: ledger.fault is not None, "the fault is reported")
    ledger.on_fault(late.append)
    assert late == [ledger.fault]
    disk.error = None
    await until(lambda: ledger.fault is None, "the fault clears by itself")
    assert late[-1] is None


async def test_waiting_for_a_disk_that_takes_nothing_ends_in_a_sentence_and_the_operation_stays(
    opening, disk, monkeypatch
):
    monkeypatch.setattr(durable_module, "FAULT_PATIENCE_S", 0.1)
    ledger = await opening(vfs=disk.name)
    disk.error = apsw.IOError
    made = ledger.create_client("Anna")
    with pytest.raises(LedgerFault):
        await durable(ledger, made)
    assert not made.done()
    disk.error = None
    assert (await durable(ledger, made)).name == "Anna"


async def test_a_fault_that_is_over_in_time_is_waited_for(opening, disk):
    ledger = await opening(vfs=disk.name)
    disk.error = apsw.IOError
    waiting = asyncio.ensure_future(durable(ledger, ledger.create_client("Anna")))
    await until(lambda: ledger.fault is not None, "the fault is reported")
    disk.error = None
    assert (await waiting).name == "Anna"
