"""What is known of a running request's cost when the gateway is killed is billed: all but its last second."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.gateway.conftest import chat
from tests.gateway.processes import gateway, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="platform: kill -9 is a POSIX notion")


UJ_A_PICO = 24
"""At 0.15 of the currency a kWh: 3.6e12 µJ are 0.15e12 pico-units."""


async def begin(session: aiohttp.ClientSession) -> tuple[str, float, aiohttp.ClientResponse]:
    """The id of a long stream, and when its first byte had come."""
    reply = await session.post("/api/chat", json=chat("[simulate: 3000 tokens]", tokens=3000))
    await reply.content.readline()
    return reply.headers["X-Request-Id"], time.monotonic(), reply


async def quietly(session: aiohttp.ClientSession, until: float) -> None:
    """Nothing else happens."""
    await asyncio.sleep(until - time.monotonic())


async def busily(session: aiohttp.ClientSession, until: float) -> None:
    """Other requests are recorded all the time."""
    while time.monotonic() < until:
        async with session.post("/api/chat", json=chat(stream=False, tokens=2)) as reply:
            assert reply.status == 200


@pytest.mark.parametrize("meanwhile", [quietly, busily])
async def test_a_stream_that_dies_with_us_is_billed_for_all_but_its_last_second(
    tmp_path: Path, meanwhile: Any
) -> None:
    ages: dict[str, float] = {}
    with gateway(tmp_path, "--simulate", "--set", "engine_parallel=8") as process:
        connection = process.connection
        headers = {"Authorization": f"Bearer {connection['api_key']}"}
        async with aiohttp.ClientSession(connection["url"], headers=headers) as session:
            begun = []
            for _ in range(4):  # at different moments of the gateway's own second
                begun.append(await begin(session))
                await asyncio.sleep(0.27)
            await meanwhile(session, time.monotonic() + 1.7)
            killed = time.monotonic()
            process.popen.send_signal(signal.SIGKILL)
            process.popen.wait()
            for request_id, first_byte, reply in begun:
                ages[request_id] = killed - first_byte
                reply.close()
    listed = run(tmp_path, "ledger", "list", "--json", "--limit", "1000", "--vault", "file")
    records = [json.loads(line) for line in listed.stdout.splitlines()]
    recovered = {record["id"]: record for record in records if record.get("outcome") == "crash_recovered"}
    assert ages.keys() <= recovered.keys()
    for request_id, age in ages.items():
        record = recovered[request_id]
        assert record["dur_us"] / 1e6 > age - 1.0, (record["dur_us"], ages)
        assert record["e_uj"] > 0
        assert int(record["cost"]) > 0


@pytest.mark.slow
async def test_of_fourteen_seconds_thirteen_are_billed_and_the_power_that_was_shared_is_billed_once(
    tmp_path: Path,
) -> None:
    with gateway(tmp_path, "--simulate", "--set", "engine_parallel=8") as process:
        connection = process.connection
        headers = {"Authorization": f"Bearer {connection['api_key']}"}
        async with aiohttp.ClientSession(connection["url"], headers=headers) as session:
            long_id, first_byte, one = await begin(session)
            await quietly(session, first_byte + 11.5)
            short_id, second_byte, other = await begin(session)
            await quietly(session, max(first_byte + 14.0, second_byte + 2.5))
            killed = time.monotonic()
            process.popen.send_signal(signal.SIGKILL)
            process.popen.wait()
            one.close()
            other.close()
    listed = run(tmp_path, "ledger", "list", "--json", "--limit", "100", "--vault", "file")
    records = {record["id"]: record for record in map(json.loads, listed.stdout.splitlines())}
    long, short = records[long_id], records[short_id]
    assert long["dur_us"] >= 13e6
    assert short["dur_us"] >= 1.5e6
    assert long["dur_us"] / 1e6 > killed - first_byte - 1.0
    assert short["dur_us"] / 1e6 > killed - second_byte - 1.0
    for record in (long, short):
        assert int(record["cost"]) == round(Fraction(record["e_uj"], UJ_A_PICO)), (
            "all that is known is billed"
        )
    # The short one had company from its first moment on: it pays for half of what was drawn, not for all of it.
    drawn_w = (long["e_uj"] + short["e_uj"]) / long["dur_us"]
    assert 0.4 < short["e_uj"] / short["dur_us"] / drawn_w < 0.6
