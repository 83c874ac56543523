"""One log on its way, over real sockets: receivers that are down, slow and strange, and nothing lost."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable

import pytest
from aiohttp import web

from app.basics.clock import wall_us
from app.gateway.delivery import courier as courier_module
from app.gateway.delivery.courier import Courier, Pusher
from app.ledger.delivery import (
    DAY_US,
    DeliveryEvent,
    DeliveryTrouble,
    DeliveryWay,
    Progressed,
    Refill,
    Refilled,
)
from app.ledger.drafts import Draft
from app.ledger.errors import LedgerFault
from app.ledger.heads import Receipt
from tests.gateway.delivery.conftest import Bench, Copy, until
from tests.gateway.delivery.strange import receiver


class Wall:
    """Wall time that a test moves by hand, as the courier sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.us = wall_us()
        monkeypatch.setattr(courier_module, "wall_us", lambda: self.us)

    def pass_s(self, courier: Courier, seconds: float) -> None:
        self.us += round(seconds * 1e6)
        courier._wake.set()  # as its own look would, a moment later


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    return Wall(monkeypatch)


async def test_every_record_is_acknowledged_soon_after_it_is_durable(bench: Bench) -> None:
    copy = Copy()
    bench.strange.answer = copy
    courier = await bench.deliver(bench.ledger_push())
    for _ in range(3):
        await bench.append()
        await until(lambda: courier.standing.acked == bench.size)
    assert len(copy.leaves) == 4
    await until(lambda: courier.acked_pico == bench.ledger.totals(bench.log).cost_pico)
    assert bench.moved >= 2


async def test_a_record_that_comes_in_the_moment_of_a_hurry_is_delivered(bench: Bench) -> None:
    bench.strange.answer = Copy()
    courier = await bench.deliver(bench.ledger_push())
    await until(lambda: courier.standing.acked == 1)
    bench.ledger.on_committed(lambda grown: courier.hurry())
    await bench.append()
    await until(lambda: courier.standing.acked == 2)


async def test_under_load_one_push_carries_many_records(bench: Bench) -> None:
    copy = Copy()
    bench.strange.answer = copy
    courier = await bench.deliver(bench.ledger_push())
    await until(lambda: courier.standing.acked == 1)
    for _ in range(40):
        await bench.append()
    await until(lambda: courier.standing.acked == 41)
    assert len(copy.pushes) <= 12
    assert sum(count for _, count in copy.pushes) == 41


async def test_how_far_it_is_survives_a_restart_and_nothing_is_sent_twice(bench: Bench) -> None:
    copy = Copy()
    bench.strange.answer = copy
    courier = await bench.deliver(bench.ledger_push())
    await bench.append(3)
    await until(lambda: courier.standing.acked == 4)
    await courier.stop()
    (row,) = await bench.ledger.deliveries()
    assert (row.standing.acked, row.standing.note) == (4, courier.standing.note)
    again = await bench.deliver(bench.ledger_push())
    await until(lambda: copy.pushes[-1] == (4, 0))
    await bench.append()
    await until(lambda: again.standing.acked == 5)
    assert sum(count for _, count in copy.pushes) == 5


async def test_a_receiver_that_is_down_is_asked_again_and_gets_everything_once(
    bench: Bench, wall: Wall
) -> None:
    async with receiver() as gone:
        bench.strange.url, port = gone.url, int(gone.url.rpartition(":")[2])
    courier = await bench.deliver(bench.ledger_push())
    await bench.append(2)
    for failures, wait_s in enumerate((5, 300, 1800), 1):
        await until(lambda wanted=failures: courier.standing.failures == wanted)  # type: ignore[misc]
        assert round((courier.standing.next_us - wall.us) / 1e6) == wait_s
        wall.pass_s(courier, wait_s)
    await until(lambda: courier.standing.failures == 4)
    assert "cannot be reached" in courier.standing.said
    assert courier.overdue(wall.us)
    copy = Copy()
    async with receiver(port) as back:
        back.answer = copy
        wall.pass_s(courier, 7200)
        await until(lambda: courier.standing.acked == 3)
    assert copy.pushes == [(0, 3)]
    assert not courier.overdue(wall.us)
    assert courier.standing.said == ""


async def test_a_fault_is_logged_once_and_so_is_its_end(
    bench: Bench, wall: Wall, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.strange.says(500)
    courier = await bench.deliver(bench.ledger_push())
    for failures in (1, 2, 3):
        await until(lambda wanted=failures: courier.standing.failures == wanted)  # type: ignore[misc]
        wall.pass_s(courier, 86_400)
    assert caplog.text.count("failed (500)") == 1
    bench.strange.answer = Copy()
    wall.pass_s(courier, 86_400)
    await until(lambda: courier.standing.acked == 1)
    assert caplog.text.count("has taken records again") == 1


async def test_a_receiver_restored_from_an_old_copy_gets_what_it_lost(bench: Bench) -> None:
    copy = Copy()
    bench.strange.answer = copy
    courier = await bench.deliver(bench.ledger_push())
    await bench.append(5)
    await until(lambda: courier.standing.acked == 6)
    del copy.leaves[2:]
    await bench.append()
    await until(lambda: len(copy.leaves) == 7 == courier.standing.acked)
    assert tuple(copy.leaves) == await bench.ledger.entries(bench.log, 0, 10)


async def test_yesterdays_size_is_answered_from_there_and_not_without_end(bench: Bench) -> None:
    await bench.append(5)
    bench.strange.says(409, "2\n")
    courier = await bench.deliver(bench.ledger_push())
    await until(lambda: courier.standing.failures == 1)
    assert len(bench.strange.heard) <= 3
    assert "goes not on from 2 records" in courier.standing.said


async def test_a_dispute_is_kept_and_stands_over_a_restart(bench: Bench) -> None:
    bench.strange.says(422, '{"error":{"code":"x","message":"Record 0 is another."}}')
    courier = await bench.deliver(bench.ledger_push())
    await until(lambda: courier.standing.trouble is DeliveryTrouble.DISPUTED)
    await courier.stop()
    (row,) = await bench.ledger.deliveries()
    assert row.standing.trouble is DeliveryTrouble.DISPUTED
    assert "Record 0 is another." in row.standing.said
    bench.strange.answer = Copy()
    courier = await bench.deliver(bench.ledger_push())
    courier.hurry()
    await until(lambda: courier.standing.trouble is DeliveryTrouble.NONE)


async def test_a_receiver_that_has_more_than_we_makes_us_fetch_our_tail(bench: Bench) -> None:
    asked: list[Refill] = []

    async def refill(wish: Refill) -> DeliveryEvent:
        asked.append(wish)
        await bench.append(2)
        bench.strange.answer = Copy(leaves=list(await bench.ledger.entries(bench.log, 0, 9)))
        return Refilled(bench.size)

    bench.strange.says(409, "3\n")
    courier = await bench.deliver(bench.ledger_push(), refill=refill)
    await until(lambda: courier.standing.acked == 3)
    assert asked == [Refill(1, 3)]


async def test_a_quiet_day_brings_a_heartbeat_that_is_delivered_like_any_record(
    bench: Bench, wall: Wall
) -> None:
    copy = Copy()
    bench.strange.answer = copy
    courier = await bench.deliver(bench.ledger_push())
    await until(lambda: courier.standing.acked == 1)
    wall.pass_s(courier, DAY_US / 1e6 - 60)
    await asyncio.sleep(0.05)
    assert bench.size == 1
    wall.pass_s(courier, 60)
    await until(lambda: courier.standing.acked == 2)
    assert json.loads(copy.leaves[1])["kind"] == "heartbeat"


async def test_the_seeds_receiver_gets_each_transaction_once_over_a_restart_in_the_middle(
    bench: Bench,
) -> None:
    got: list[str] = []
    slow = asyncio.Event()

    async def takes(request: web.Request, body: bytes) -> web.StreamResponse:
        if len(got) == 3 and not slow.is_set():
            await asyncio.sleep(60)
        got.append(json.loads(body)["id"])
        return web.Response()

    bench.strange.answer = takes
    await bench.append(6)
    courier = await bench.deliver(bench.seed_push(), DeliveryWay.SEED)
    await until(lambda: len(bench.strange.heard) == 4)
    await courier.stop()
    assert courier.standing.acked == 4
    slow.set()
    courier = await bench.deliver(bench.seed_push(), DeliveryWay.SEED)
    await until(lambda: courier.standing.acked == 7)
    assert len(got) == len(set(got)) == 6


async def test_a_receiver_that_hangs_keeps_nobody_from_stopping(bench: Bench) -> None:
    async def hangs(request: web.Request, body: bytes) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    bench.strange.answer = hangs
    courier = await bench.deliver(bench.ledger_push())
    await until(lambda: bench.strange.heard)
    async with asyncio.timeout(1):
        await courier.stop()
        await courier.stop()


async def test_a_delivery_that_fails_in_itself_is_a_failed_try(bench: Bench) -> None:
    class Broken:
        async def push(self, old: int, tell: object) -> DeliveryEvent:
            raise RuntimeError("a mistake of ours")

    courier = await bench.deliver(Broken())
    await until(lambda: courier.standing.failures == 1)
    assert "a mistake of ours" in courier.standing.said


async def test_thirty_days_offline_are_drained_exactly_once(bench: Bench, wall: Wall) -> None:
    """The figure is 100,000 records in 60 s; here 5,000, so that `make test` stays quick."""
    bench.strange.says(503)
    courier = await bench.deliver(bench.ledger_push())
    for _ in range(5):
        await bench.append(1000)
        wall.pass_s(courier, 6 * 86_400)
        await asyncio.sleep(0)
    await until(lambda: courier.standing.failures >= 2)
    copy = Copy()
    bench.strange.answer = copy
    begun = asyncio.get_running_loop().time()
    wall.pass_s(courier, 86_400)
    await until(lambda: courier.standing.acked == 5001, 20)
    assert asyncio.get_running_loop().time() - begun < 20
    assert sum(count for _, count in copy.pushes) == len(copy.leaves) == 5001
    assert tuple(copy.leaves[-10:]) == await bench.ledger.entries(bench.log, 4991, 10)


class Broken:
    """A pusher with a mistake in it, until it is mended."""

    def __init__(self, mended: Pusher) -> None:
        self.mended = mended
        self.broken = True

    async def push(self, old: int, tell: Callable[[Progressed], None]) -> DeliveryEvent:
        if self.broken:
            raise ZeroDivisionError("by nothing")
        return await self.mended.push(old, tell)


async def test_a_mistake_of_our_own_is_a_failed_try_and_not_the_end_of_the_delivery(
    bench: Bench, wall: Wall, caplog: pytest.LogCaptureFixture
) -> None:
    bench.strange.answer = Copy()
    pusher = Broken(bench.ledger_push())
    courier = await bench.deliver(pusher)
    await until(lambda: courier.standing.failures == 1)
    assert courier.standing.said.startswith(
        "The delivery itself failed (ZeroDivisionError('by nothing')): report"
    )
    assert "failed in itself" in caplog.text
    pusher.broken = False
    wall.pass_s(courier, 5)
    await until(lambda: courier.standing.acked == 1)
    assert courier.standing.said == ""


async def test_a_heartbeat_that_cannot_be_written_is_said_and_tried_the_next_day(
    bench: Bench, wall: Wall, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    copy = Copy()
    bench.strange.answer = copy
    courier = await bench.deliver(bench.ledger_push())
    await until(lambda: courier.standing.acked == 1)
    real = bench.ledger.append

    async def full(log: str, draft: Draft) -> Receipt:
        raise LedgerFault("The disk is full.")

    monkeypatch.setattr(bench.ledger, "append", full)
    wall.pass_s(courier, DAY_US / 1e6)
    await until(lambda: "No heartbeat was written: The disk is full." in caplog.text)
    monkeypatch.setattr(bench.ledger, "append", real)
    assert caplog.text.count("No heartbeat was written") == 1
    wall.pass_s(courier, DAY_US / 1e6)
    await until(lambda: courier.standing.acked == 2)
    assert json.loads(copy.leaves[1])["kind"] == "heartbeat"
