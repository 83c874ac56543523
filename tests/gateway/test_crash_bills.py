"""What is known of a running request's cost when the gateway is killed is billed: all but its last second."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.gateway.conftest import chat
from tests.gateway.processes import gateway, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="platform: kill -9 is a POSIX notion")


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
