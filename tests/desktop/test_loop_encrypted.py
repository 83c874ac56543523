"""Encrypted connections on the desktop's loop, which has no encryption of its own."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, TCPConnector, web

from app.access.certificate import load_pair, own_pair
from app.basics.door import Door
from app.proxy.server import Server
from tests.desktop.looping import play


def test_a_gateway_in_the_tray_streams_over_tls_and_stops(loop: Any, tmp_path: Path) -> None:
    pair = own_pair(tmp_path, ("localhost",))
    served = load_pair(*pair)

    async def stream(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(200):
            await response.write(b"%d\n" % number * 200)
        await response.write_eof()
        return response

    async def story() -> tuple[list[int], bytes]:
        server = Server({"/stream": {"GET": stream}}, lambda: 1 << 20, tls=lambda: served.context)
        door = await Door.take("127.0.0.1", 0, "https")
        await server.start(door)
        trust = ssl.create_default_context(cafile=str(pair[0]))
        try:
            silent, writer = await asyncio.open_connection("127.0.0.1", door.port)
            async with ClientSession(connector=TCPConnector(ssl=trust)) as session:
                sizes = []
                for _ in range(4):
                    async with session.get(f"https://localhost:{door.port}/stream") as reply:
                        sizes.append(len(await reply.read()))
        finally:
            await server.stop_listening()
            await server.stop()
        try:
            rest = await silent.read()
        except ConnectionError:
            rest = b""
        writer.close()
        return sizes, rest

    whole = sum(len(b"%d\n" % number) * 200 for number in range(200))
    assert play(loop, story) == ([whole] * 4, b"")
