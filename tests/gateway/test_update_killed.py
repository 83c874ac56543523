"""A gateway that is killed in the middle of a model's update: its next start puts everything in order, and says so."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.gateway.processes import Process, gateway, run, simulator
from tests.models.file_server import FileServer

NAME = "mortdecai:0.5.0"
SETTINGS = ("--set", "model_update_http=true", "--set", "model_update_hosts=127.0.0.1")


async def models_of(url: str) -> dict[str, str]:
    """Name → digest, as the engine itself tells."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/tags") as reply:
        return {model["name"]: model["digest"] for model in (await reply.json())["models"]}


async def kill_at(process: Process, url: str, status: str) -> None:
    """Begin an update and kill the gateway as soon as it tells of `status`."""
    connection = process.connection
    headers = {"Authorization": f"Bearer {connection['operator_token']}"}
    async with (
        aiohttp.ClientSession(connection["url"], headers=headers) as session,
        session.post("/admin/update-model", json={"url": url, "name": NAME}) as reply,
    ):
        async for raw in reply.content:
            line = json.loads(raw)
            assert "error" not in line, line
            if line["status"] == status:
                break
    process.popen.send_signal(signal.SIGKILL)
    await asyncio.to_thread(process.popen.wait)


async def recorded(process: Process) -> None:
    """Wait until the ledger has a record of a model."""
    connection = process.connection
    headers = {"Authorization": f"Bearer {connection['operator_token']}"}
    async with asyncio.timeout(20), aiohttp.ClientSession(connection["url"], headers=headers) as session:
        while True:
            async with session.get("/ledger?limit=100") as reply:
                if any(entry["kind"] == "model" for entry in (await reply.json())["transactions"]):
                    return
            await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("status", ["Downloading", "Trying the model out"])
async def test_after_kill_9_the_model_answers_as_before_and_the_ledger_says_what_became_of_the_update(
    tmp_path: Path, status: str
) -> None:
    files = await FileServer(pause_s=0.05 if status == "Downloading" else 0.0).start()
    (tmp_path / "engine").mkdir()
    try:
        with simulator(tmp_path / "engine", speed=0.2) as engine:
            url = engine.said.split()[-1]
            before = await models_of(url)
            with gateway(tmp_path, "--upstream", url, *SETTINGS) as process:
                await kill_at(process, files.url, status)
            with gateway(tmp_path, "--upstream", url, *SETTINGS) as process:
                await recorded(process)
            assert await models_of(url) == before
        listed = run(tmp_path, "ledger", "list", "--json", "--vault", "file")
        (record,) = [one for one in map(json.loads, listed.stdout.splitlines()) if one["kind"] == "model"]
        assert (record["action"], record["model"], record["key"]) == ("failed", NAME, "operator")
        assert "ended before the update did" in record["note"]
    finally:
        await files.stop()
