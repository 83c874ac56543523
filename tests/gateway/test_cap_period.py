"""A cap for a day, a week or a month: it counts what the ledger says was spent in it, and begins anew by itself."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.billing.money import to_pico
from app.simulator import Simulator
from tests.gateway.conftest import Build, House, chat
from tests.gateway.delivery.test_lost_tail import Garage
from tests.gateway.test_cap_warning import spend, warnings
from tests.gateway.wall import Wall

ZONE = "Europe/Berlin"
RATE = {"labor_rate_per_hour": "1", "spending_cap": "10", "time_zone": ZONE}


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """A Saturday afternoon in Berlin."""
    return Wall(monkeypatch, "2026-11-28T15:00", ZONE)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    made = Simulator(speed=500.0)
    await made.start()
    yield made
    await made.stop()


async def stats(house: House, key: str | None = None) -> dict[str, Any]:
    async with house.get("/stats", key=key or house.operator) as reply:
        return dict(await reply.json())


async def health(house: House) -> dict[str, Any]:
    async with house.session.get("/health") as reply:
        return dict(await reply.json())


async def asked(house: House) -> int:
    async with house.post("/api/chat", chat(stream=False, tokens=3)) as reply:
        await reply.read()
        return int(reply.status)


async def accepting(house: House) -> None:
    async with asyncio.timeout(10):
        while not (await health(house))["accepting"]:
            await asyncio.sleep(0.01)


async def test_a_cap_that_is_reached_says_until_when_and_serving_goes_on_by_itself(
    build: Build, wall: Wall
) -> None:
    house = await build(**RATE, cap_period="week")
    await spend(house, "9.9999999")
    said = await health(house)
    assert said["reason"] == "The spending cap of $10.00 a week is reached until Monday 00:00."
    assert said["ends"] == "Serving goes on by itself at Monday 00:00, or raise the cap."
    assert said["until"] == 1795993200.0
    async with house.post("/api/chat", chat()) as reply:
        assert reply.status == 402
        # From Saturday, 15:00, to midnight before Monday.
        assert 33 * 3600 - 60 <= int(reply.headers["Retry-After"]) <= 33 * 3600
    wall.set("2026-11-29T23:00")
    assert await asked(house) == 402
    wall.set("2026-11-30T00:00")
    await accepting(house)
    assert await asked(house) == 200


async def test_what_is_shown_is_the_running_periods_and_the_total_stays_the_total(
    build: Build, wall: Wall
) -> None:
    house = await build(**RATE, cap_period="day")
    await spend(house, "4")
    wall.set("2026-11-29T12:00")
    await spend(house, "1")
    said = await stats(house)
    assert (said["total_cost"], said["period_cost"], said["budget_remaining"]) == (5, 1, 9)
    assert (said["cap_period"], said["cap_renews"]) == ("day", 1795993200.0)
    assert said["cap_renews_text"] == "Monday 00:00"
    money = house.gateway.snapshot().money
    assert (money.spent_pico, money.ever_pico) == (to_pico(1), to_pico(5))
    own = await stats(house, house.key)
    assert (own["period_cost"], own["cap_renews_text"]) == (None, "Monday 00:00")
    assert (own["total_cost"], own["spending_cap"], own["budget_remaining"]) == (5, 14, 9)
    async with house.get("/reconcile", key=house.operator) as reply:
        verdict = await reply.json()
    assert (verdict["stats_total_cost"], verdict["discrepancy"], verdict["status"]) == (5, 0, "OK")


@pytest.mark.parametrize("period", ["day", "week", "month"])
async def test_after_a_restart_the_same_is_spent_to_the_last_pico_unit(
    tmp_path: Path, simulator: Simulator, wall: Wall, period: str
) -> None:
    garage = Garage(tmp_path / "gateway")
    settings = {**RATE, "cap_period": period}
    async with garage.open(simulator, **settings) as house:
        for when in ("2026-10-30T12:00", "2026-11-02T12:00", "2026-11-24T12:00", "2026-11-28T00:00"):
            wall.set(when)
            await asyncio.gather(*(asked(house) for _ in range(5)))
        wall.set("2026-11-28T15:00")
        before = await stats(house)
    async with garage.open(simulator, **settings) as house:
        after = await stats(house)
        rows = await house.usage()
    for name in ("period_cost_pico", "total_cost_pico", "budget_remaining_pico"):
        assert after[name] == before[name], name
    counted = {"day": 5, "week": 10, "month": 15}[period]
    assert int(after["period_cost_pico"]) == sum(row.cost_pico for row in rows[-counted:]) > 0


async def test_another_period_or_zone_counts_at_once_what_was_spent_in_it_while_requests_run(
    build: Build, wall: Wall
) -> None:
    house = await build(**RATE, parallel=16)
    wall.set("2026-11-02T12:00")
    await spend(house, "3")
    wall.set("2026-11-28T00:30")
    await spend(house, "2")
    wall.set("2026-11-28T15:00")
    running = asyncio.gather(*(asked(house) for _ in range(60)))
    for change, spent in (
        ({"cap_period": "month"}, 5),
        ({"cap_period": "day"}, 2),
        ({"time_zone": "UTC"}, 0),
        ({"cap_period": "total"}, 5),
    ):
        async with house.post("/config", change, key=house.operator) as reply:
            assert reply.status == 200, await reply.text()
        assert round((await stats(house))["period_cost"]) == spent
    assert set(await running) == {200}
    rows = await house.usage()
    async with house.post("/config", {"cap_period": "month"}, key=house.operator) as reply:
        assert reply.status == 200
    said = await stats(house)
    assert int(said["period_cost_pico"]) == to_pico(5) + sum(row.cost_pico for row in rows)
    assert said["period_cost_pico"] == said["total_cost_pico"]


async def test_a_stream_across_the_edge_is_charged_to_the_day_in_which_it_ends(
    build: Build, wall: Wall
) -> None:
    house = await build(**RATE, cap_period="day", speed=20.0)
    await spend(house, "9.99")
    reply = await house.post("/api/chat", chat("[simulate: 4000 tokens]", tokens=4000))
    await reply.content.readline()
    held = house.gateway.snapshot().money.held_pico
    assert held > 0
    wall.set("2026-11-29T00:00")
    money = house.gateway.snapshot().money
    assert (money.spent_pico, money.held_pico) == (0, held)
    last = json.loads((await reply.content.read()).splitlines()[-1])
    assert last["done"] is True
    money = house.gateway.snapshot().money
    # Its record says how long it took since it began, and that was yesterday, for nobody has waited until midnight.
    (row,) = await house.usage()
    assert money.held_pico == 0
    assert money.spent_pico == 0
    assert money.ever_pico == to_pico("9.99") + row.cost_pico
    wall.set("2026-11-28T15:10")
    assert house.gateway.snapshot().money.spent_pico == money.ever_pico


async def test_a_clock_that_is_set_back_gives_no_second_cap_and_one_set_far_back_does_not_block_for_long(
    build: Build, wall: Wall
) -> None:
    house = await build(**RATE, cap_period="day")
    await spend(house, "9.9999999")
    wall.set("2026-11-29T00:00:01")
    await accepting(house)
    wall.set("2026-11-28T23:59:58")
    assert await asked(house) == 402
    wall.set("2026-11-29T00:00:00")
    await accepting(house)
    wall.set("2024-01-01T12:00")  # the battery is empty: all that was ever spent was later
    assert await asked(house) == 402
    wall.set("2026-11-29T00:10")
    await accepting(house)


async def test_a_clock_that_stood_in_the_future_at_the_start_is_forgiven_once_it_is_right(
    tmp_path: Path, simulator: Simulator, wall: Wall
) -> None:
    garage = Garage(tmp_path / "gateway")
    settings = {**RATE, "cap_period": "day"}
    async with garage.open(simulator, **settings) as house:
        wall.set("2026-11-27T12:00")
        await spend(house, "9.9999999")
    wall.set("2036-11-28T15:00")
    async with garage.open(simulator, **settings) as house:
        assert await asked(house) == 200
        wall.set("2026-11-28T15:00")
        await asked(house)
        async with asyncio.timeout(10):
            # What was spent while the clock was ahead has not ended yet by the right one.
            while not 0 < (await stats(house))["period_cost"] < 0.001:
                await asyncio.sleep(0.01)
        await accepting(house)
        assert await asked(house) == 200


async def test_each_level_is_said_once_a_period(
    build: Build, wall: Wall, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    house = await build(**RATE, cap_period="day")
    await spend(house, "8")
    await spend(house, "0.1")
    assert warnings(caplog) == ["80 % of the spending cap is spent: $8.00 of $10.00 a day."]
    wall.set("2026-11-29T12:00")
    await spend(house, "8")
    assert len(warnings(caplog)) == 2
    assert house.gateway.snapshot().money.cap_warning_pct == 80


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cap_period": "year"}, "it must be total, day, week or month"),
        ({"time_zone": "Berlin"}, "there is no time zone of that name"),
        ({"time_zone": "../etc/passwd"}, "there is no time zone of that name"),
        ({"time_zone": 2}, "it must be a time zone's name, such as Europe/Berlin"),
    ],
)
async def test_a_period_or_zone_that_there_is_not_is_refused_in_one_sentence(
    house: House, change: dict[str, Any], sentence: str
) -> None:
    async with house.post("/config", change, key=house.operator) as reply:
        assert reply.status == 400
        assert sentence in (await reply.json())["error"]
