"""Waiting until an engine answers ends when it does, also where a first question never comes back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from app.containers.base import Container
from app.managed.upbringing import wait_until_it_answers
from tests.managed.test_small_parts import ENDED


async def test_a_question_that_was_lost_on_its_way_is_asked_again_soon() -> None:
    asked = 0
    silent: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        if asked == 1:
            silent.append(writer)
            return
        body = b'{"version":"1"}'
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
        )
        await writer.drain()
        writer.close()

    async def look() -> Container:
        return replace(ENDED, status="running")

    async def log() -> str:
        raise AssertionError("nobody needs it: it runs")

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    began = time.monotonic()
    async with server:
        await wait_until_it_answers(f"http://127.0.0.1:{port}", look=look, log=log, limit_s=30)
    assert asked == 2
    assert time.monotonic() - began < 10
    for writer in silent:
        writer.close()
