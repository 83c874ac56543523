"""What is to cost nothing is noted where a full disk still takes it, and counts for a hold that a kill left behind."""

from __future__ import annotations

import asyncio
import os
import stat
import sys

import pytest

from app.ledger.sqlite.waivers import ENTRIES, ENTRY_B, Waivers


@pytest.fixture
def waivers(path):
    made = Waivers(path)
    assert made.prepare()
    yield made
    made.close()


async def test_a_hold_that_was_waived_is_recorded_and_not_billed(opening, path, drafts, rows):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    refused, running = (drafts.hold(log, cost_pico=9, e_uj=70, seen_us=drafts().t0) for _ in range(2))
    await ledger.hold(refused)
    await ledger.hold(running)
    await ledger.waive(refused.request_id)
    await ledger.close()
    ledger = await opening()
    ended = {draft.id: (draft.outcome, draft.cost, draft.e_uj) for draft in ledger.recovered}
    assert ended == {
        refused.request_id: ("stopped", 0, 70),
        running.request_id: ("crash_recovered", 9, 70),
    }
    assert ledger.spent_pico == 9
    assert (await ledger.verify()).verdict == "OK"


async def test_a_note_needs_no_room_and_the_last_ones_stay(waivers, path, drafts):
    assert waivers.read() == frozenset()
    size = path.stat().st_size
    ids = [drafts().id for _ in range(ENTRIES + 3)]
    await asyncio.gather(*[waivers.note(one) for one in ids])
    assert waivers.read() == set(ids[3:])
    assert path.stat().st_size == size == ENTRIES * ENTRY_B


async def test_a_torn_or_foreign_entry_is_none(waivers, path, drafts):
    first, second = drafts().id, drafts().id
    await waivers.note(first)
    await waivers.note(second)
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    assert waivers.read() == {second}
    path.write_bytes(data[: ENTRY_B + 7])
    assert waivers.read() == frozenset()
    path.unlink()
    assert waivers.read() == frozenset()


async def test_a_note_that_cannot_be_made_holds_nobody_up_and_is_said_once(waivers, path, drafts, caplog):
    path.unlink()
    for _ in range(3):
        await waivers.note(drafts().id)
    assert caplog.text.count("could not be noted") == 1
    assert waivers.prepare()
    one = drafts().id
    await waivers.note(one)
    assert one in waivers.read()


@pytest.mark.skipif(sys.platform == "win32", reason="platform: modes are a POSIX notion")
async def test_the_file_is_its_owners_alone_and_stays_as_it_is(waivers, path, drafts):
    await waivers.note(drafts().id)
    before = path.read_bytes()
    assert waivers.prepare()
    assert path.read_bytes() == before
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
