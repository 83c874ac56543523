"""A file that SQLite cannot read any more is said at the start: at once, or beside the work where it is large."""

from __future__ import annotations

import asyncio

import pytest

from app.ledger.errors import LedgerCorrupt
from app.ledger.sqlite import journal, store
from app.ledger.sqlite.schema import open_reader
from app.ledger.sqlite.soundness import quick_check, wrong_index


async def fill(ledger, log, drafts, count=3000):
    await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(count)])


async def until(condition, what):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def spoil(path):
    """Damage the tree of pages somewhere in the middle."""
    with path.open("rb+") as file:
        for page in range(20, 40):
            file.seek(4096 * page)
            file.write(b"\xff" * 64)


async def test_a_damaged_file_does_not_open_and_says_what_to_do(opening, drafts, path):
    ledger = await opening()
    await fill(ledger, (await ledger.create_client("Anna")).log, drafts)
    await ledger.close()
    spoil(path)
    with pytest.raises(LedgerCorrupt, match="ledger restore"):
        await opening()


async def test_a_large_file_is_checked_beside_the_work_and_damage_is_a_fault_that_stays(
    opening, drafts, path, monkeypatch
):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    await fill(ledger, log, drafts)
    await ledger.close()
    spoil(path)
    monkeypatch.setattr(journal, "CHECK_AT_ONCE_B", 4096)
    monkeypatch.setattr(store, "CHECK_AT_ONCE_B", 4096)
    ledger = await opening()
    told = []
    ledger.on_fault(told.append)
    await until(lambda: ledger.fault is not None, "the damage is found")
    assert "ledger restore" in ledger.fault
    assert told == [ledger.fault]
    ledger._on_fault(None)
    assert told[-1] == ledger.fault is not None


async def test_a_large_file_that_is_sound_is_no_fault(opening, drafts, path, monkeypatch):
    ledger = await opening()
    await fill(ledger, (await ledger.create_client("Anna")).log, drafts)
    await ledger.close()
    monkeypatch.setattr(store, "CHECK_AT_ONCE_B", 4096)
    ledger = await opening()
    assert (await ledger.verify()).verdict == "OK"  # it waits for the check
    assert ledger.fault is None


def quick_check_of(connection, stopped):
    return quick_check(connection, "its path", stopped)


@pytest.mark.parametrize("check", [quick_check_of, wrong_index])
async def test_a_check_ends_when_it_is_told_to(ledger, log, drafts, path, check):
    await fill(ledger, log, drafts)
    connection = open_reader(path)
    asked = []

    def stopped():
        asked.append(1)
        return True

    assert check(connection, stopped) is None
    assert asked
    assert connection.execute("SELECT count(*) FROM log").get == 1
    connection.close()
