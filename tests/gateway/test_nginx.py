"""A real nginx with its defaults in front of a real gateway: streams pass as they come, and a leaving client counts."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.gateway.conftest import Build, House, chat

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="platform: nginx is tried on Linux"),
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
]

CONFIG = """
{user} daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off; client_max_body_size 64m;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {gateway}; {more} }} }}
}}
"""
MODERN = "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_request_buffering off;"


@pytest.fixture(params=["", MODERN], ids=["by default", "as its manual advises for streams"])
async def behind(
    request: pytest.FixtureRequest, build: Build, tmp_path: Path
) -> AsyncIterator[tuple[House, aiohttp.ClientSession]]:
    """A gateway that streams slowly, and a session through nginx."""
    house = await build(speed=1.0)
    assert NGINX is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "nginx.conf"
    config.write_text(
        CONFIG.format(
            folder=tmp_path,
            port=port,
            gateway=house.gateway.address,
            more=request.param,
            # Its workers would be another user, who may not write here.
            user="user root root;" if os.geteuid() == 0 else "",
        )
    )
    process = await asyncio.create_subprocess_exec(NGINX, "-c", str(config), stderr=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(20), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            while True:
                try:
                    async with session.get("/health") as reply:
                        assert reply.status == 200
                        break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.05)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield house, session
    finally:
        process.terminate()
        await process.wait()


async def test_a_stream_passes_frame_by_frame(behind: tuple[House, aiohttp.ClientSession]) -> None:
    house, session = behind
    headers = {"Authorization": f"Bearer {house.key}"}
    came: list[float] = []
    async with session.post(
        "/api/chat", json=chat("[simulate: 60 tokens]", tokens=60), headers=headers
    ) as reply:
        assert reply.status == 200
        async for line in reply.content:
            came.append(time.monotonic())
            last = json.loads(line)
    assert last["done"] is True
    assert "_gateway" in last
    gaps = sum(later - sooner > 0.002 for sooner, later in zip(came, came[1:], strict=False))
    assert gaps > 20, "the frames came in bursts"


async def test_a_client_that_leaves_nginx_leaves_us_too(behind: tuple[House, aiohttp.ClientSession]) -> None:
    house, session = behind
    headers = {"Authorization": f"Bearer {house.key}"}
    for stream in (True, False):
        before = len(await house.usage())
        asking = asyncio.ensure_future(
            session.post(
                "/api/chat", json=chat("[simulate: 4000 tokens]", tokens=4000, stream=stream), headers=headers
            )
        )
        async with asyncio.timeout(10):
            while not house.simulator.running:
                await asyncio.sleep(0.01)
        if stream:
            (await asking).close()
        else:
            asking.cancel()
        async with asyncio.timeout(5):
            while len(await house.usage()) == before or house.simulator.running:
                await asyncio.sleep(0.02)
        assert (await house.usage())[-1].outcome == "client_abort"


async def test_a_large_body_and_a_client_that_waits_for_100_continue_pass(
    behind: tuple[House, aiohttp.ClientSession],
) -> None:
    house, session = behind
    headers = {"Authorization": f"Bearer {house.key}"}
    body = json.dumps(chat(stream=False)).encode() + b" " * 2_000_000
    async with session.post("/api/chat", data=io.BytesIO(body), headers=headers, expect100=True) as reply:
        assert reply.status == 200
        assert "_gateway" in await reply.json()
