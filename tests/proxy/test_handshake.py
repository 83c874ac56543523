"""Encrypted connections on a real server: bounded from their first byte on, and whole once they are encrypted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.access.certificate import load_pair, own_pair
from app.basics.door import Door
from app.proxy import handshake
from app.proxy.bodies import read_body
from app.proxy.connection import Connection
from app.proxy.connections import Bounds
from app.proxy.server import Server

pytestmark = pytest.mark.both_loops

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
USUAL = Bounds(total=20, per_address=5, kept_local=4)


class Encrypted:
    """A server with a certificate of its own, and clients that trust that one alone."""

    def __init__(self, folder: Path) -> None:
        self.pairs = [own_pair(folder / name, ("localhost",)) for name in ("old", "new")]
        self.served = load_pair(*self.pairs[0])
        self.hold = asyncio.Event()
        self.reading = asyncio.Event()
        self.port = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.server = Server(
            {
                "/health": {"GET": self.health},
                "/slow": {"GET": self.slow},
                "/size": {"POST": self.size},
                "/reads": {"POST": self.reads},
            },
            lambda: 1 << 24,
            bounds=lambda: self.bounds,
            tls=lambda: self.served.context,
        )
        self.bounds = USUAL

    async def health(self, request: web.BaseRequest) -> web.Response:
        return web.Response(text="well")

    async def slow(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun ")
        await self.hold.wait()
        await response.write(b"ended")
        await response.write_eof()
        return response

    async def size(self, request: web.BaseRequest) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    async def reads(self, request: web.BaseRequest) -> web.Response:
        self.reading.set()
        return web.Response(body=await read_body(request, 1 << 20))

    def trust(self, pair: int = 0) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.pairs[pair][0]))

    async def connect(self, pair: int = 0, **more: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        opened = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=more.pop("ssl", self.trust(pair)), server_hostname="localhost", **more
        )
        self.writers.append(opened[1])
        return opened

    async def bare(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        opened = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(opened[1])
        return opened


@pytest.fixture
async def encrypted(tmp_path: Path) -> AsyncIterator[Any]:
    async with contextlib.AsyncExitStack() as stack:

        async def make(bounds: Bounds = USUAL) -> Encrypted:
            made = await asyncio.to_thread(Encrypted, tmp_path)
            made.bounds = bounds
            door = await Door.take("127.0.0.1", 0, "https")
            await made.server.start(door)
            made.port = door.port
            stack.push_async_callback(made.server.stop)
            stack.push_async_callback(made.server.stop_listening)
            stack.callback(lambda: [writer.transport.abort() for writer in made.writers])
            stack.callback(made.hold.set)
            return made

        yield make


async def hear(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    return await reader.readexactly(length)


async def test_a_client_that_trusts_the_certificate_is_answered_again_and_again(encrypted: Any) -> None:
    house = await encrypted()
    reader, writer = await house.connect()
    for _ in range(3):
        writer.write(GET)
        assert await hear(reader) == b"well"
    assert writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
    with pytest.raises(ssl.SSLCertVerificationError):
        await house.connect(1)


async def test_bodies_larger_than_any_buffer_pass(encrypted: Any) -> None:
    house = await encrypted()
    reader, writer = await house.connect()
    body = bytes(5_000_000)
    writer.write(b"POST /size HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert await hear(reader) == b"5000000"


async def test_an_idle_one_is_closed_after_its_time_and_is_told_goodbye(encrypted: Any) -> None:
    house = await encrypted(replace(USUAL, idle_s=0.1))
    reader, writer = await house.connect()
    writer.write(GET)
    assert await hear(reader) == b"well"
    async with asyncio.timeout(10):
        assert await reader.read() == b"", "the end, and no reset"


async def test_whoever_does_not_say_goodbye_is_not_waited_for(
    encrypted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "GOODBYE_S", 0.2)
    lost, of_old = asyncio.Event(), Connection.connection_lost

    def noted(self: Connection, exc: BaseException | None) -> None:
        of_old(self, exc)
        lost.set()

    monkeypatch.setattr(Connection, "connection_lost", noted)
    house = await encrypted(replace(USUAL, idle_s=0.1))
    reader, writer = await house.connect()
    writer.write(GET)
    assert await hear(reader) == b"well"
    writer.transport.pause_reading()  # the goodbye is not heard, so none is answered
    async with asyncio.timeout(10):
        await lost.wait()


async def test_tls_1_1_is_not_spoken(encrypted: Any) -> None:
    house = await encrypted()
    old = house.trust()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await house.connect(ssl=old)
    reader, writer = await house.connect()
    writer.write(GET)
    assert await hear(reader) == b"well"


async def test_connections_that_never_begin_their_handshake_shut_nobody_out(encrypted: Any) -> None:
    house = await encrypted()
    silent = [await house.bare() for _ in range(60)]
    reader, writer = await house.connect()
    writer.write(GET)
    assert await hear(reader) == b"well"
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            assert await silent[0][0].read() == b""


@pytest.mark.parametrize(
    "said",
    [b"", b"\x16\x03\x01\x02\x00\x01", b"get / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(500)],
)
async def test_what_is_no_handshake_is_closed_in_time(encrypted: Any, said: bytes) -> None:
    house = await encrypted(replace(USUAL, head_s=0.2))
    reader, writer = await house.bare()
    writer.write(said)
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            heard = await reader.read()
            assert b"HTTP" not in heard
    assert len(house.server._connections) == 0


@pytest.mark.parametrize("cut", [1, 5, 200])
async def test_whoever_speaks_plain_http_is_told_in_plain_http_that_https_is_spoken_here(
    encrypted: Any, caplog: pytest.LogCaptureFixture, cut: int
) -> None:
    caplog.set_level(logging.DEBUG)
    house = await encrypted()
    body = bytes(1 << 20)
    whole = (
        b"POST /size HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer mg_secret\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    reader, writer = await house.bare()
    async with asyncio.timeout(10):
        for piece in (whole[:cut], whole[cut:]):
            writer.write(piece)
            await writer.drain()  # all of it is taken: a reset in place of the end would hide the answer
        heard = await reader.read()
    head, _, said = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert said == b'{"error":"This port speaks HTTPS: use https:// in place of http://."}'
    assert int(head.lower().partition(b"content-length:")[2].split()[0]) == len(said)
    assert b"location" not in head.lower(), (
        "whoever follows would send the key once more, and think that all is well"
    )
    writer.close()
    async with asyncio.timeout(5):
        while len(house.server._connections):
            await asyncio.sleep(0.01)
    assert "mg_secret" not in caplog.text


async def test_whoever_speaks_plain_http_and_goes_on_is_not_listened_to_for_long(encrypted: Any) -> None:
    house = await encrypted(replace(USUAL, body_s=0.2))
    reader, writer = await house.bare()
    writer.write(GET)
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            while not writer.transport.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        while len(house.server._connections):
            await asyncio.sleep(0.01)


class Halves:
    """A client's side of TLS that closes its half and still listens, which no library's streams can."""

    def __init__(self, house: Encrypted, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = house.trust().wrap_bio(self._in, self._out, server_hostname="localhost")

    async def _until_done(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._writer.write(self._out.read())
                data = await self._reader.read(65_536)
                self._in.write(data) if data else self._in.write_eof()
            finally:
                self._writer.write(self._out.read())

    async def say(self, data: bytes) -> None:
        await self._until_done(self._tls.do_handshake)
        await self._until_done(lambda: self._tls.write(data))

    def goodbye(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        self._writer.write(self._out.read())

    async def hear(self) -> bytes:
        heard = b""
        with contextlib.suppress(ConnectionError, ssl.SSLZeroReturnError):  # the latter is their goodbye
            while data := await self._until_done(lambda: self._tls.read(65_536)):
                heard += data
        return heard


@pytest.mark.parametrize("later", [False, True])
async def test_a_goodbye_amid_a_body_is_answered_before_ours(encrypted: Any, later: bool) -> None:
    house = await encrypted()
    client = Halves(house, *await house.bare())
    async with asyncio.timeout(10):
        await client.say(b"POST /reads HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{}")
        if later:
            await house.reading.wait()
        client.goodbye()
        heard = await client.hear()
    assert heard.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 "))
    assert b"ended before it was whole" in heard


async def test_a_goodbye_behind_a_whole_request_ends_it(
    encrypted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is how most clients go, and nothing else would tell that nobody listens to an answer that costs money."""
    house = await encrypted()
    client = Halves(house, *await house.bare())
    async with asyncio.timeout(10):
        await client.say(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        client.goodbye()
        heard = await client.hear()
    assert b"ended" not in heard
    assert not caplog.text, "who goes makes no fault of ours"


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"])
async def test_a_client_that_leaves_amid_its_handshake_is_counted_out(encrypted: Any, said: bytes) -> None:
    house = await encrypted()
    for leave in ("close", "abort"):
        _, writer = await house.bare()
        writer.write(said)
        await writer.drain()
        getattr(writer.transport, leave)()
    async with asyncio.timeout(5):
        while len(house.server._connections):
            await asyncio.sleep(0.01)


async def test_a_new_certificate_is_for_new_connections_and_old_ones_go_on(encrypted: Any) -> None:
    house = await encrypted()
    reader, writer = await house.connect()
    writer.write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"begun ")
    house.served = await asyncio.to_thread(load_pair, *house.pairs[1])
    later, asking = await house.connect(1)
    asking.write(GET)
    assert await hear(later) == b"well"
    with pytest.raises(ssl.SSLCertVerificationError):
        await house.connect(0)
    house.hold.set()
    await reader.readuntil(b"ended")


async def test_stopping_closes_those_that_are_not_encrypted_yet(encrypted: Any) -> None:
    house = await encrypted()
    reader, _ = await house.bare()
    await house.connect()
    await house.server.stop_listening()
    await house.server.stop()
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
