"""Many requests, at once and one after the other: all of them end well, and what they leave behind does not add up.

`make bench` measures the same over 20,000 requests.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections import Counter

import pytest

from app.power.slices import Account
from tests.gateway.conftest import Build, House, chat
from tests.gateway.rough import Kept, comes_down_to
from tests.gateway.speaking import ASKED, STREAMED, body, last_frame

pytestmark = [
    pytest.mark.both_loops,
    pytest.mark.skipif(sys.platform != "linux", reason="platform: descriptors are counted in /proc"),
]
STREAMS = 256
ROUNDS = 2000 if "SOAK" in os.environ else 30


async def test_256_streams_at_once_all_come_to_their_end(build: Build) -> None:
    house = await build(parallel=64, speed=200.0)
    before = Kept.now()

    async def one(number: int) -> str:
        path = STREAMED[number % len(STREAMED)]
        async with house.post(path, body(path)) as reply:
            assert reply.status == 200, await reply.text()
            return str(last_frame(path, await reply.read())["_gateway"]["outcome"])

    outcomes = Counter(await asyncio.gather(*(one(number) for number in range(STREAMS))))
    assert outcomes == {"complete": STREAMS}
    assert len(await house.usage()) == STREAMS
    # Our own client keeps as many connections open as it had, and the gateway those to the engine for a while.
    await house.session.connector.close()
    await comes_down_to(before)


async def ask_everything(house: House) -> None:
    """One request of each kind: every dialect, streamed and whole, refused, unknown, and one whose client leaves."""
    for path in ASKED:
        async with house.post(path, body(path)) as reply:
            assert reply.status == 200
            await reply.read()
    async with house.post("/api/chat", chat(stream=False)) as reply:
        await reply.read()
    for sent in ({}, chat() | {"model": "no-such-model"}):
        async with house.post("/v1/chat/completions", sent) as reply:
            assert reply.status in (400, 404)
    async with house.get("/stats", key="mg_wrong") as reply:
        assert reply.status in (401, 429)
    async with house.post("/api/chat", chat(tokens=10_000)) as reply:
        await reply.content.readany()
        reply.close()


def alive() -> int:
    """How many objects something refers to, but for slices of time: those wait until there is a batch of them."""
    gc.collect()
    return sum(not isinstance(each, Account | tuple) for each in gc.get_objects())


async def test_what_requests_leave_in_memory_does_not_grow_with_their_number(build: Build) -> None:
    house = await build(max_output_tokens=10_000)

    async def held_after(rounds: int) -> int:
        for _ in range(rounds):
            await ask_everything(house)
        async with asyncio.timeout(60):
            while house.gateway.snapshot().running:
                await asyncio.sleep(0.01)
        return alive()

    await held_after(ROUNDS)
    before = await held_after(ROUNDS)
    grown = await held_after(ROUNDS) - before
    assert grown < 14 * ROUNDS, "less than one object a request; whatever stays of one is dozens"
