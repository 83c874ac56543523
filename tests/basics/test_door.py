"""The address is taken before anything is opened behind it, and nobody is let in before it is listened on."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from app.basics.door import Door, DoorTaken, port_is_free
from app.proxy.server import Server


async def hello(_: web.BaseRequest) -> web.Response:
    return web.Response(text="hello")


async def test_a_door_that_is_only_taken_lets_nobody_in_and_is_nobody_elses() -> None:
    door = await Door.take("127.0.0.1", 0)
    try:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", door.port)
        server = Server({"/": {"GET": hello}}, lambda: 1024)
        await server.start(door)
        async with aiohttp.ClientSession() as session, session.get(door.url) as reply:
            assert await reply.text() == "hello"
        await server.stop_listening()
        await server.stop()
    finally:
        door.close()
    assert port_is_free("127.0.0.1", door.port)


async def test_a_door_that_somebody_listens_at_is_refused_in_a_sentence() -> None:
    door = await Door.take("127.0.0.1", 0)
    server = Server({}, lambda: 1024)
    await server.start(door)
    try:
        with pytest.raises(DoorTaken, match=f"Port {door.port} is already in use by .* with --port"):
            await Door.take("127.0.0.1", door.port)
    finally:
        await server.stop()
        door.close()


async def test_whoever_was_quicker_to_listen_has_it() -> None:
    first = await Door.take("127.0.0.1", 0)
    second = await Door.take("127.0.0.1", first.port)
    quick, slow = Server({}, lambda: 1024), Server({}, lambda: 1024)
    await quick.start(first)
    try:
        with pytest.raises(DoorTaken, match="already in use"):
            await slow.start(second)
        await slow.stop()
    finally:
        await quick.stop()
        first.close()
        second.close()


@pytest.mark.parametrize(
    ("host", "sentence"), [("192.0.2.1", "no address 192.0.2.1"), ("no.such.invalid", "failed")]
)
async def test_an_address_that_is_not_ours_is_refused_in_a_sentence(host: str, sentence: str) -> None:
    with pytest.raises(DoorTaken, match=sentence):
        await Door.take(host, 0)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8434"),
        ("0.0.0.0", "http://127.0.0.1:8434"),
        ("::1", "http://[::1]:8434"),
    ],
)
def test_the_url_is_one_that_this_machine_can_use(host: str, url: str) -> None:
    assert Door(host, 8434, ()).url == url
