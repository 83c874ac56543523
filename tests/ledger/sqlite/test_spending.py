"""What was spent since a moment, by the quarter of an hour: exactly that of the records, whatever they hold."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import apsw

from app.basics.quarters import quarter_of
from app.ledger.records import AdjustDraft, LaborDraft, UptimeDraft
from app.ledger.sqlite.store import Ledger
from tests.ledger.sqlite.conftest import Drafts, Opening
from tests.ledger.sqlite.disks import Disk

HOUR_US = 3_600_000_000


def sums(drafts: list[tuple[str, object]], since_us: int = 0) -> dict[tuple[str, str | None, int], int]:
    found: dict[tuple[str, str | None, int], int] = {}
    for log, draft in drafts:
        end = getattr(draft, "t1", None) or getattr(draft, "t0", 0)
        place = (log, getattr(draft, "key", None), quarter_of(end))
        if quarter_of(end) >= quarter_of(since_us):
            found[place] = found.get(place, 0) + getattr(draft, "cost", 0)
    return {place: cost for place, cost in found.items() if cost}


async def told(ledger: Ledger, since_us: int = 0) -> dict[tuple[str, str | None, int], int]:
    spent = await ledger.spent_since(since_us)
    assert spent.known_from == quarter_of(since_us)
    assert spent.total_pico == ledger.spent_pico
    return {(part.log, part.key, part.quarter): part.cost_pico for part in spent.parts}


async def test_it_is_that_of_all_kinds_of_records_in_all_logs_by_their_ends(opening: Opening) -> None:
    ledger = await opening()
    logs = [(await ledger.create_client(name)).log for name in ("Anna", "Ben")]
    dice, drafts, made = random.Random(5), Drafts(), []
    for number in range(200):
        draft = drafts()
        begun = draft.t0 + dice.randrange(100) * HOUR_US
        draft = replace(
            draft,
            t0=begun,
            t1=begun + dice.randrange(2 * HOUR_US),
            key=f"k_{dice.randrange(4)}",
            cost=dice.randrange(-10, 10**9),
            model='"t1":7 "cost":"9" «ü»' if number % 3 else draft.model,
        )
        made.append((dice.choice(logs), draft))
    now = drafts().t0
    made.append((logs[0], LaborDraft(ledger.new_id(), now, now + HOUR_US, HOUR_US, "k_1", 70)))
    made.append((logs[1], UptimeDraft(ledger.new_id(), now, now + 9, 9, 1, "nvml", "t_1", -5)))
    made.append((logs[1], AdjustDraft(ledger.new_id(), now, None, "given back", -60)))
    for log, draft in made:
        await ledger.append(log, draft)
    expected = sums(made)
    for key in ("k_1", None):
        assert any(place[1] == key for place in expected)
    assert await told(ledger) == expected
    since_us = now + 40 * HOUR_US
    assert await told(ledger, since_us) == sums(made, since_us)
    await ledger.close()
    again = await opening()
    assert await told(again) == expected


async def test_it_is_what_was_handed_over_before_the_call_and_nothing_later(opening: Opening) -> None:
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    drafts = Drafts()
    before, after = [drafts() for _ in range(50)], [drafts() for _ in range(50)]
    waiting = [ledger.append(log, draft) for draft in before]
    reading = ledger.spent_since(0)
    spent = asyncio.ensure_future(reading)
    await asyncio.sleep(0)
    waiting += [ledger.append(log, draft) for draft in after]
    found = await spent
    assert found.total_pico == sum(draft.cost for draft in before)
    assert sum(part.cost_pico for part in found.parts) == found.total_pico
    for each in waiting:
        await each


async def test_a_file_of_before_gets_its_index_and_a_damaged_body_does_not_keep_it_from_opening(
    opening: Opening, path: object
) -> None:
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    drafts = Drafts()
    made = [drafts() for _ in range(5)]
    for draft in made:
        await ledger.append(log, draft)
    await ledger.close()
    connection = apsw.Connection(str(path))
    connection.execute("DROP INDEX record_spent; PRAGMA user_version = 5")
    connection.execute("UPDATE record SET body = x'ff00' WHERE seq = 3")
    connection.close()
    ledger = await opening()
    spent = await ledger.spent_since(0)
    assert spent.total_pico == sum(draft.cost for draft in made)


async def test_a_disk_that_takes_nothing_keeps_nobody_from_knowing_what_was_spent(
    opening: Opening, disk: Disk
) -> None:
    ledger = await opening(vfs=disk.name)
    log = (await ledger.create_client("Anna")).log
    draft = Drafts()()
    await ledger.append(log, draft)
    disk.error = apsw.FullError
    spent = await ledger.spent_since(0)
    assert (spent.total_pico, len(spent.parts)) == (draft.cost, 1)
    disk.error = None
