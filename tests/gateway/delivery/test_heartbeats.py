"""A heartbeat each day on a clock that the test moves, and tries that keep their appointments over a sleep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.basics.clock import wall_us
from app.face import ReceiptState
from app.gateway.delivery import courier as courier_module
from app.gateway.delivery import deliveries as deliveries_module
from app.gateway.delivery import telling as telling_module
from app.ledger.delivery import DAY_S, DeliveryWay
from app.receiver import assembly as receiver_assembly
from tests.gateway.conftest import Build
from tests.gateway.delivery.conftest import Bench, Copy, until
from tests.gateway.delivery.test_callback import ask, receipts, reconciled
from tests.gateway.delivery.test_receivers import enrolled, invite
from tests.receiver.asking import Desk

HOUR_S = 3600


class Clock:
    """Wall time that passes while nobody says so, as in a machine that slept: no timer of the loop knows of it."""

    def __init__(self) -> None:
        self.us = wall_us()

    def __call__(self) -> int:
        return self.us

    def pass_s(self, seconds: float) -> None:
        self.us += round(seconds * 1e6)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(courier_module, "wall_us", made)
    monkeypatch.setattr(telling_module, "wall_us", made)
    monkeypatch.setattr(receiver_assembly, "wall_us", made)
    # A courier looks at the clock every half a minute; here a hundred times a second.
    monkeypatch.setattr(courier_module, "LOOK_S", 0.01)
    return made


def kinds(copy: Copy) -> list[str]:
    return [json.loads(leaf)["kind"] for leaf in copy.leaves]


async def looked(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait until the courier has looked at the clock several times more."""
    looks = 0

    def count() -> int:
        nonlocal looks
        looks += 1
        return clock.us

    monkeypatch.setattr(courier_module, "wall_us", count)
    await until(lambda: looks > 20)
    monkeypatch.setattr(courier_module, "wall_us", clock)


async def test_each_day_in_which_nobody_asks_brings_one_heartbeat(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.strange.answer = copy = Copy()
    courier = await bench.deliver(bench.ledger_push())
    await until(lambda: courier.standing.acked == 1)
    for day in range(1, 6):
        clock.pass_s(DAY_S - 1)
        await looked(clock, monkeypatch)
        assert len(copy.leaves) == day, "not before the day is over"
        clock.pass_s(1)
        await until(lambda wanted=day: courier.standing.acked == wanted + 1)  # type: ignore[misc]
        assert json.loads(copy.leaves[-1])["t0"] == clock.us
        await looked(clock, monkeypatch)
    assert kinds(copy) == ["genesis", *["heartbeat"] * 5]
    assert bench.size == 6


async def test_after_a_sleep_of_days_there_is_one_heartbeat_and_not_one_for_each(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.strange.answer = copy = Copy()
    courier = await bench.deliver(bench.ledger_push())
    await until(lambda: courier.standing.acked == 1)
    clock.pass_s(9.5 * DAY_S)
    await until(lambda: courier.standing.acked == 2)
    await looked(clock, monkeypatch)
    assert kinds(copy) == ["genesis", "heartbeat"]


async def test_a_record_of_the_day_is_heartbeat_enough(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.strange.answer = copy = Copy()
    courier = await bench.deliver(bench.ledger_push())
    for _ in range(4):
        await until(lambda: courier.standing.acked == bench.size)
        clock.pass_s(20 * HOUR_S)
        await bench.append()
    await until(lambda: courier.standing.acked == bench.size)
    await looked(clock, monkeypatch)
    assert kinds(copy) == ["genesis", *["usage"] * 4]


async def test_a_try_that_came_due_in_a_sleep_is_made_on_waking(bench: Bench, clock: Clock) -> None:
    bench.strange.says(500)
    courier = await bench.deliver(bench.ledger_push())
    for failures, wait_s in enumerate((5, 300, 1800, 7200, 18_000, 36_000, DAY_S, DAY_S, DAY_S), 1):
        await until(lambda wanted=failures: courier.standing.failures == wanted)  # type: ignore[misc]
        assert courier.standing.next_us == clock.us + wait_s * 1_000_000
        assert len(bench.strange.heard) == failures
        clock.pass_s(wait_s)
    bench.strange.answer = copy = Copy()
    clock.pass_s(40 * DAY_S)
    await until(lambda: courier.standing.acked == 1)
    assert kinds(copy) == ["genesis"]


async def test_a_receiver_that_says_when_to_come_is_asked_then_and_not_before(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.strange.says(429, Retry_After="3600")
    courier = await bench.deliver(bench.ledger_push())
    await until(lambda: courier.standing.failures == 1)
    assert courier.standing.next_us == clock.us + HOUR_S * 1_000_000
    bench.strange.answer = Copy()
    clock.pass_s(HOUR_S - 1)
    await looked(clock, monkeypatch)
    assert len(bench.strange.heard) == 1
    clock.pass_s(1)
    await until(lambda: courier.standing.acked == 1)


async def test_a_transaction_keeps_its_id_over_all_tries_and_the_time_of_the_try_is_fresh(
    bench: Bench, clock: Clock
) -> None:
    bench.strange.says(500)
    await bench.append()
    courier = await bench.deliver(bench.seed_push(), DeliveryWay.SEED)
    begun_s = clock.us // 1_000_000
    for failures, wait_s in enumerate((5, 300, 1800), 1):
        await until(lambda wanted=failures: courier.standing.failures == wanted)  # type: ignore[misc]
        clock.pass_s(wait_s)
    bench.strange.says(200)
    await until(lambda: courier.standing.acked == 2)
    heard = bench.strange.heard
    assert len(heard) >= 4
    assert len({each.headers["Webhook-Id"] for each in heard}) == 1
    assert len({each.body for each in heard}) == 1
    times = [int(each.headers["Webhook-Timestamp"]) - begun_s for each in heard]
    assert times[:4] == [0, 5, 305, 2105]


async def test_the_receiver_that_hears_a_heartbeat_each_day_never_says_that_the_gateway_is_silent(
    build: Build, tmp_path: Path, clock: Clock
) -> None:
    house = await build(private_receivers=True)
    async with Desk(tmp_path / "client").open() as asked:
        invitation = await invite(asked)
        await enrolled(house, invitation.line)
        await ask(house)
        await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)
        size = receipts(house).size
        for day in range(1, 4):
            clock.pass_s(DAY_S)
            await until(lambda wanted=size + day: receipts(house).acked == wanted)  # type: ignore[misc]
            for said in ((await asked.get("/reconcile", asked.owner)).json, await reconciled(house)):
                assert (said["status"], said["findings"]) == ("OK", [])
                assert said["ledger_entries"] == size + day
        # It is the heartbeats that do it: a gateway that is gone is silent.
        async with house.session.delete(
            "/admin/receivers",
            json={"client": "First client"},
            headers={"Authorization": f"Bearer {house.operator}"},
        ) as reply:
            assert reply.status == 200
        clock.pass_s(27 * HOUR_S)
        said = (await asked.get("/reconcile", asked.owner)).json
        assert (said["status"], len(said["findings"])) == ("LAGGING", 1)
        assert "Nothing was heard" in said["findings"][0]


async def test_while_a_receiver_is_down_for_days_the_log_grows_by_no_heartbeat(
    bench: Bench, clock: Clock
) -> None:
    bench.strange.says(503)
    courier = await bench.deliver(bench.ledger_push())
    for failures in range(1, 11):
        await until(lambda wanted=failures: courier.standing.failures == wanted)  # type: ignore[misc]
        clock.pass_s(DAY_S)
    bench.strange.answer = copy = Copy()
    clock.pass_s(DAY_S)
    await until(lambda: courier.standing.acked == bench.size)
    assert kinds(copy) == ["genesis"]


async def test_a_heartbeat_that_is_not_acknowledged_is_overdue_as_any_record_is(
    build: Build, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries_module, "wall_us", clock)
    house = await build(private_receivers=True)
    async with Desk(tmp_path / "client").open() as asked:
        await enrolled(house, (await invite(asked)).line)
        await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)
    clock.pass_s(DAY_S)
    await until(lambda: receipts(house).sentence)
    assert receipts(house).state is ReceiptState.WAITING
    since_us = clock.us
    clock.pass_s(600)
    await until(lambda: receipts(house).state is ReceiptState.OVERDUE)
    late = receipts(house)
    assert (late.size - late.acked, late.since_us) == (1, since_us)
    assert "cannot be reached" in late.sentence
    (newest,) = (await house.gateway.ledger.page(None, 1)).rows
    assert (newest.kind, newest.seq) == ("heartbeat", late.acked)
    said = await reconciled(house, house.operator)
    assert said["status"] == "LAGGING"
    assert said["findings"][0].startswith(f"{late.log}: 1 record waits for a receipt. ")
