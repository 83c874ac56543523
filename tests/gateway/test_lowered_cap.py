"""A cap that is lowered is respected at once, whatever runs."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from app.proxy import jobs
from tests.gateway.conftest import Build, House, chat

STREAMS = 25
LONG = "[simulate: 30000 tokens]"
MODES = [
    pytest.param({"billing_mode": "marginal"}, id="marginal"),
    pytest.param({"billing_mode": "dedicated", "base_rate_per_hour": "0.36"}, id="dedicated"),
]


class Streams:
    """Streams that would run for a long time, in the order in which they began."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.replies: list[Any] = []

    async def begin(self, count: int) -> None:
        for _ in range(count):
            reply = await self.house.post("/api/chat", chat(LONG, tokens=30_000))
            assert reply.status == 200
            await reply.content.readline()
            self.replies.append(reply)

    def close(self) -> None:
        for reply in self.replies:
            reply.close()

    async def last(self, number: int) -> dict[str, Any]:
        """The last frame, once the stream has ended."""
        return dict(json.loads((await self.replies[number].content.read()).splitlines()[-1]))


async def spent(house: House) -> int:
    async with house.get("/stats", key=house.operator) as reply:
        return int((await reply.json())["total_cost_pico"])


async def cap(house: House, pico: int) -> None:
    value = f"{pico // 10**12}.{pico % 10**12:012d}"
    async with house.post("/config", {"spending_cap": value}, key=house.operator) as reply:
        assert reply.status == 200, await reply.text()


@pytest.mark.parametrize("mode", MODES)
async def test_at_what_is_spent_every_stream_ends_well_formed_within_a_second_and_nothing_more_is_spent(
    build: Build, mode: dict[str, Any]
) -> None:
    house = await build(speed=1.0, parallel=32, **mode)
    async with house.post("/api/chat", chat(stream=False, tokens=3)) as reply:
        assert reply.status == 200
    streams = Streams(house)
    await streams.begin(STREAMS)
    before = await spent(house)
    assert before > 0
    began = time.monotonic()
    await cap(house, before)
    frames = await asyncio.gather(*(streams.last(number) for number in range(STREAMS)))
    assert time.monotonic() - began < 1.0
    assert all(frame["done"] for frame in frames)
    assert {frame["_gateway"]["outcome"] for frame in frames} == {"budget_cut"}
    assert await spent(house) == before
    async with house.post("/api/chat", chat()) as reply:
        assert reply.status == 402
    async with house.get("/reconcile", key=house.operator) as reply:
        assert (await reply.json())["status"] == "OK"


@pytest.mark.parametrize("mode", MODES)
async def test_the_newest_streams_end_and_those_that_fit_go_on(build: Build, mode: dict[str, Any]) -> None:
    house = await build(speed=1.0, parallel=32, **mode)
    streams = Streams(house)
    await streams.begin(STREAMS)
    money = house.gateway.snapshot().money
    hold = money.held_pico // STREAMS
    lowered = money.spent_pico + hold * 10 + hold // 2
    await cap(house, lowered)
    ended = [await streams.last(number) for number in reversed(range(STREAMS - 14, STREAMS))]
    assert {frame["_gateway"]["outcome"] for frame in ended} == {"budget_cut"}
    money = house.gateway.snapshot().money
    assert money.spent_pico + money.held_pico <= lowered
    running = house.gateway.snapshot().running
    assert 9 <= len(running) <= 11
    house.gateway.duty.pause_now()
    for number in range(len(running)):
        assert (await streams.last(number))["_gateway"]["outcome"] == "stopped"
    assert house.gateway.snapshot().money.spent_pico <= lowered
    streams.close()


async def test_an_answer_in_one_piece_is_refused_when_its_hold_does_not_fit_any_more(build: Build) -> None:
    house = await build(speed=1.0)

    async def ask() -> int:
        async with house.post("/api/chat", chat(LONG, stream=False, tokens=30_000)) as reply:
            assert "cap" in (await reply.json())["error"]
            return int(reply.status)

    asking = asyncio.create_task(ask())
    async with asyncio.timeout(5):
        while not house.gateway.snapshot().running:
            await asyncio.sleep(0.005)
    await cap(house, 0)
    async with asyncio.timeout(1):
        assert await asking == 402
    assert await spent(house) == 0


async def test_a_lowered_cap_does_not_wait_for_the_next_renewal(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "RENEW_EVERY_S", 3600.0)
    house = await build(speed=1.0)
    streams = Streams(house)
    await streams.begin(1)
    await cap(house, await spent(house))
    async with asyncio.timeout(5):
        assert (await streams.last(0))["_gateway"]["outcome"] == "budget_cut"


async def test_a_cap_that_is_lowered_and_still_has_room_cuts_nothing(build: Build) -> None:
    house = await build(speed=1.0, parallel=32)
    streams = Streams(house)
    await streams.begin(5)
    money = house.gateway.snapshot().money
    await cap(house, money.spent_pico + money.held_pico)
    assert len(house.gateway.snapshot().running) == 5
    streams.close()
