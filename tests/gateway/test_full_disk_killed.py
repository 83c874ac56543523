"""A client who heard that nothing could be recorded pays nothing, though we are killed before that is written."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import apsw
import pytest

from tests.gateway.conftest import chat
from tests.gateway.processes import Process, gateway, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="platform: kill -9 is a POSIX notion")
FULL_B = 16 * 1024
"""No file may grow beyond this: the ledger is larger by then, and what is written in place within it still can be."""
PROMPT = "word " * 20_000
"""The simulator reads it for some seconds before the first token."""


def bodies() -> dict[str, dict[str, Any]]:
    return {
        "in one piece": chat("[simulate: 300 tokens]", stream=False, tokens=300),
        "streamed, nothing of it seen": chat(PROMPT, tokens=5),
        "in one piece, still running": chat(PROMPT, stream=False, tokens=3000),
    }


async def held(home: Path, session: aiohttp.ClientSession) -> None:
    """Wait until the one request has cost something by its hold row: it would be billed if we were killed now."""
    async with asyncio.timeout(20):
        while True:
            async with session.get("/stats") as reply:
                assert reply.status == 200
            if await asyncio.to_thread(accrued, home):
                return
            await asyncio.sleep(0.1)


def accrued(home: Path) -> int:
    (file,) = home.glob("data/*/ledger.sqlite3")
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(1000)
        return int(connection.execute("SELECT coalesce(max(cost), 0) FROM hold").get)
    finally:
        connection.close()


@pytest.mark.parametrize("what", bodies())
async def test_a_client_who_heard_507_is_billed_nothing_though_we_are_killed_at_once(
    tmp_path: Path, what: str
) -> None:
    with gateway(tmp_path, "--simulate", "--set", "engine_parallel=8") as process:
        status, cost = await refused_and_killed(tmp_path, process, bodies()[what])
    assert status == 507
    assert cost > 0
    listed = run(tmp_path, "ledger", "list", "--json", "--limit", "100", "--vault", "file")
    records = [json.loads(line) for line in listed.stdout.splitlines()]
    (record,) = [record for record in records if record["kind"] == "usage"]
    assert (record["cost"], record["outcome"]) == ("0", "stopped")
    assert record["e_uj"] > 0, "what it took is told all the same"
    assert run(tmp_path, "ledger", "verify", "--vault", "file").stdout.startswith("OK: ")


async def refused_and_killed(home: Path, process: Process, body: dict[str, Any]) -> tuple[int, int]:
    """What the client heard, and what the request had cost by then."""
    connection, pid = process.connection, process.popen.pid
    headers = {"Authorization": f"Bearer {connection['api_key']}"}
    async with aiohttp.ClientSession(connection["url"], headers=headers) as session:

        async def ask() -> int:
            async with session.post("/api/chat", json=body) as reply:
                await reply.read()
                process.popen.send_signal(signal.SIGKILL)
                return int(reply.status)

        asking = asyncio.create_task(ask())
        await held(home, session)
        cost = await asyncio.to_thread(accrued, home)
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_B, hard))
        async with asyncio.timeout(20):
            return await asking, cost


async def test_without_a_507_the_same_request_is_billed_for_what_is_known(tmp_path: Path) -> None:
    with gateway(tmp_path, "--simulate") as process:
        headers = {"Authorization": f"Bearer {process.connection['api_key']}"}
        async with aiohttp.ClientSession(process.connection["url"], headers=headers) as session:
            asking = asyncio.create_task(session.post("/api/chat", json=chat(PROMPT, tokens=5)))
            await held(tmp_path, session)
            process.popen.send_signal(signal.SIGKILL)
            with pytest.raises(aiohttp.ClientError):
                await asking
    listed = run(tmp_path, "ledger", "list", "--json", "--limit", "100", "--vault", "file")
    records = [json.loads(line) for line in listed.stdout.splitlines()]
    (record,) = [record for record in records if record["kind"] == "usage"]
    assert record["outcome"] == "crash_recovered"
    assert int(record["cost"]) > 0
