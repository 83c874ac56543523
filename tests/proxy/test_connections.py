"""Connections: how many, how long they may keep us waiting, and what the log says of them. Over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from app.basics.descriptors import WANTED
from app.basics.door import Door
from app.basics.traces import where
from app.proxy.bodies import read_body
from app.proxy.connection import Connection
from app.proxy.connections import KEPT_FOR_US, Bounds, Connections
from app.proxy.mishaps import Mishaps
from app.proxy.server import Server

GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
USUAL = Bounds(total=20, per_address=5, kept_local=4)


class Client:
    """A bare connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self) -> bytes:
        """The head of an answer and its body; what came where the connection ended."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as ended:
            return ended.partial
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return head + await self.reader.readexactly(int(line.split(b":")[1]))
        return head

    async def closed(self, within_s: float = 5.0) -> bytes:
        """What was said until the end of the connection."""
        async with asyncio.timeout(within_s):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
            return b""


class Stand:
    """A server and its clients."""

    def __init__(self) -> None:
        self.port = 0
        self.hold = asyncio.Event()
        self.reading = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.opened: list[Client] = []
        self.server: Server | None = None

    async def health(self, request: web.BaseRequest) -> web.Response:
        return web.Response(text="well")

    async def slow(self, request: web.BaseRequest) -> web.Response:
        try:
            await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return web.Response(text="at last")

    async def fails(self, request: web.BaseRequest) -> web.Response:
        raise KeyError((await request.read()).decode())

    async def reads(self, request: web.BaseRequest) -> web.Response:
        self.reading.set()
        return web.Response(body=await read_body(request, 1 << 20))

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.opened.append(client)
        return client


@pytest.fixture
async def stand() -> AsyncIterator[Any]:
    """`await stand(bounds)` listens."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(bounds: Bounds = USUAL) -> Stand:
            made = Stand()
            table = {
                "/health": {"GET": made.health},
                "/slow": {"GET": made.slow, "POST": made.slow},
                "/fails": {"POST": made.fails},
                "/reads": {"POST": made.reads},
            }
            server = Server(table, lambda: 1 << 20, bounds=lambda: bounds)
            door = await Door.take("127.0.0.1", 0)
            await server.start(door)
            made.port, made.server = door.port, server
            stack.push_async_callback(server.stop)
            stack.push_async_callback(server.stop_listening)
            stack.callback(made.hold.set)
            stack.callback(lambda: [client.writer.close() for client in made.opened])
            return made

        yield make


async def test_silent_connections_shut_nobody_out(stand: Any) -> None:
    house = await stand()
    silent = [await house.connect() for _ in range(60)]
    asking = await house.connect()
    await asking.say(GET)
    assert (await asking.hear()).startswith(b"HTTP/1.1 200")
    assert await silent[0].closed() == b""


async def test_one_that_has_asked_is_kept_longer_than_one_that_never_has(stand: Any) -> None:
    house = await stand()
    known = await house.connect()
    await known.say(GET)
    await known.hear()
    for _ in range(60):
        await house.connect()
    await known.say(GET)
    assert (await known.hear()).endswith(b"well")


async def test_a_newcomer_hears_503_where_everybody_is_being_answered(stand: Any) -> None:
    house = await stand(replace(USUAL, total=3))
    for _ in range(3):
        await (await house.connect()).say(GET.replace(b"health", b"slow"))
    newcomer = await house.connect()
    answer = await newcomer.closed()
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 5" in answer
    house.hold.set()
    assert (await house.opened[0].hear()).endswith(b"at last")


@pytest.mark.both_loops
@pytest.mark.parametrize("said", [b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: x\r\n"])
async def test_a_first_request_that_does_not_come_ends_the_connection(stand: Any, said: bytes) -> None:
    house = await stand(replace(USUAL, head_s=0.2))
    client = await house.connect()
    await client.say(said)
    answer = await client.closed()
    assert answer.startswith(b"HTTP/1.1 408") if said else answer == b""


@pytest.mark.both_loops
async def test_headers_that_trickle_end_the_connection_however_regularly_they_come(stand: Any) -> None:
    house = await stand(replace(USUAL, head_s=0.5))
    for first in (False, True):
        client = await house.connect()
        if first:
            await client.say(GET)
            await client.hear()
        began = time.monotonic()
        await client.say(b"GET /health HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            while not client.reader.at_eof() and time.monotonic() - began < 8:
                await client.say(b"A: b\r\n")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await client.reader.read(1)
        assert time.monotonic() - began < 5


@pytest.mark.both_loops
async def test_an_idle_connection_is_closed_after_its_time_and_not_before(stand: Any) -> None:
    house = await stand(replace(USUAL, head_s=0.1, idle_s=2.5))
    client = await house.connect()
    await client.say(GET)
    await client.hear()
    began = time.monotonic()
    assert await client.closed() == b""
    assert 2.4 <= time.monotonic() - began < 5


@pytest.mark.both_loops
async def test_an_answer_that_takes_long_outlives_every_time_of_waiting(stand: Any) -> None:
    house = await stand(replace(USUAL, head_s=0.1, idle_s=0.1))
    client = await house.connect()
    await client.say(GET.replace(b"health", b"slow"))
    await asyncio.sleep(2.5)  # two looks at who keeps us waiting
    house.hold.set()
    assert (await client.hear()).endswith(b"at last")


class Guest:
    """A connection as it is counted."""

    def __init__(self, address: str, *, since: float = 0.0, asked: bool = False, proxy: bool = False) -> None:
        self.address = address
        self.local = address == "127.0.0.1"
        self.proxy = proxy
        self.asked = asked
        self.partial = False
        self.since = since
        self.stuck_since = float("inf")
        self.dismissed = False

    def dismiss(self) -> None:
        self.dismissed = True


@pytest.fixture
async def counted() -> AsyncIterator[Connections]:
    connections = Connections(USUAL, Mishaps(), asyncio.get_running_loop())
    yield connections
    connections.close()


async def test_a_proxy_that_is_believed_brings_as_many_as_there_are(counted: Connections) -> None:
    assert all(counted.admit(Guest("10.0.0.9", since=1.0, proxy=True)) for _ in range(USUAL.per_address + 1))
    mine = [Guest("10.0.0.2", since=2.0) for _ in range(USUAL.per_address + 1)]
    assert all(map(counted.admit, mine))
    assert [guest.dismissed for guest in mine].count(True) == 1, "whoever is none stays within its own room"


async def test_an_address_makes_room_among_its_own(counted: Connections) -> None:
    other = Guest("10.0.0.1")
    assert counted.admit(other)
    mine = [Guest("10.0.0.2", since=number) for number in range(6)]
    assert all(map(counted.admit, mine))
    assert [guest.dismissed for guest in mine] == [True] + [False] * 5
    assert not other.dismissed
    assert len(counted) == 6


async def test_strangers_never_take_the_room_that_is_kept_for_this_machine(counted: Connections) -> None:
    ours = [Guest("127.0.0.1") for _ in range(4)]
    assert all(map(counted.admit, ours))
    busy = [Guest(f"10.0.0.{number}", since=float("inf")) for number in range(16)]
    assert all(map(counted.admit, busy))
    assert not counted.admit(Guest("10.0.1.1"))
    assert not any(guest.dismissed for guest in (*ours, *busy))
    for guest in ours:
        counted.gone(guest)
    assert not counted.admit(Guest("10.0.1.1"))
    assert counted.admit(Guest("127.0.0.1"))


async def test_who_is_gone_is_counted_out_once(counted: Connections) -> None:
    guest = Guest("10.0.0.1")
    counted.admit(guest)
    counted.gone(guest)
    counted.gone(guest)
    assert len(counted) == 0


def test_the_bounds_leave_descriptors_for_everything_else() -> None:
    bounds = Bounds.here()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 32 <= bounds.total <= max(32, soft // 2)
    assert bounds.kept_local >= 8
    assert bounds.per_address <= bounds.total


async def test_a_server_that_starts_may_have_more_files_open_than_its_shell_allowed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    few = min(512, most // 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    server = Server({}, lambda: 1 << 20)
    try:
        await server.start(await Door.take("127.0.0.1", 0))
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, hard)
        assert Bounds.here().total == min(4096, max(32, (most - KEPT_FOR_US) // 2))
    finally:
        await server.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_no_descriptor_left_costs_one_line_and_passes(
    stand: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    house = await stand(replace(USUAL, total=4000))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = [await house.connect() for _ in range(4)]
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(open("/dev/null", "rb"))  # noqa: SIM115
        taken.pop().close()
        late = await house.connect()
        await late.say(GET)
        await asyncio.sleep(2.5)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for file in taken:
            file.close()
    async with asyncio.timeout(5):
        assert (await late.hear()).startswith(b"HTTP/1.1 200")
    await clients[0].say(GET)
    assert (await clients[0].hear()).startswith(b"HTTP/1.1 200")
    said = [record.getMessage() for record in caplog.records if "files open" in record.getMessage()]
    assert len(said) == 1
    assert sum(len(record.getMessage().splitlines()) for record in caplog.records) < 10
    assert house.server is not None
    await house.server.stop()  # which tells what was counted since
    said = [record.getMessage() for record in caplog.records if "files open" in record.getMessage()]
    tried = sum(int(line.split()[3]) for line in said)
    assert tried < 10, "once a second or so, and not as often as the backlog is long"


def test_a_kind_of_mishap_is_told_at_once_and_then_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    mishaps = Mishaps(lambda: now[0])
    for _ in range(1000):
        mishaps.note("malformed requests")
    mishaps.tell()
    assert [record.getMessage() for record in caplog.records] == ["At the door: 1 malformed requests."]
    now[0] = 60.0
    mishaps.tell()
    assert caplog.records[-1].getMessage() == "At the door: 999 malformed requests."
    mishaps.note("others")
    assert len(caplog.records) == 3


def test_an_exception_in_the_log_says_type_and_place_and_not_its_words() -> None:
    try:
        try:
            raise KeyError("a prompt")
        except KeyError as first:
            raise ValueError("another prompt") from first
    except ValueError as error:
        said = where(error)
    assert "ValueError at test_connections.py:" in said
    assert "after KeyError" in said
    assert "prompt" not in said


async def test_a_client_that_closes_its_half_gets_its_answer(stand: Any) -> None:
    house = await stand()
    for request in (GET.replace(b"health", b"slow"), b"GET /slow HTTP/1.0\r\n\r\n"):
        house.hold.clear()
        client = await house.connect()
        await client.say(request)
        client.writer.write_eof()
        await asyncio.sleep(0.3)
        house.hold.set()
        answer = await client.closed()
        assert answer.endswith(b"at last")
        assert answer.count(b" 200 ") == 1
    assert not house.cancelled.is_set()


async def test_requests_sent_ahead_are_all_answered_after_the_half_is_closed(stand: Any) -> None:
    house = await stand()
    client = await house.connect()
    await client.say(GET * 3)
    client.writer.write_eof()
    assert (await client.closed()).count(b"well") == 3


async def test_a_client_that_closes_both_halves_is_noticed_within_a_second(stand: Any) -> None:
    house = await stand()
    for version in (b"1.1", b"1.0"):
        house.cancelled.clear()
        client = await house.connect()
        head = b"POST /slow HTTP/" + version + b"\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        await client.say(head)
        await asyncio.sleep(0.1)
        client.writer.close()
        async with asyncio.timeout(1.0):
            await house.cancelled.wait()


async def test_a_half_closed_before_the_headers_are_whole_ends_the_connection(stand: Any) -> None:
    house = await stand()
    for said in (b"", b"GET /hea"):
        client = await house.connect()
        await client.say(said)
        await asyncio.sleep(0.1)
        client.writer.write_eof()
        assert b" 200 " not in await client.closed()


@pytest.mark.both_loops
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize(
    "part",
    [
        b"Content-Length: 9\r\n\r\n",
        b"Content-Length: 9\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ],
)
async def test_a_half_that_is_closed_while_the_body_is_read_is_told_that_the_body_is_not_whole(
    stand: Any, version: bytes, part: bytes
) -> None:
    house = await stand()
    client = await house.connect()
    await client.say(b"POST /reads HTTP/" + version + b"\r\nHost: x\r\n" + part)
    async with asyncio.timeout(5):
        await house.reading.wait()
    client.writer.write_eof()
    heard = await client.closed()
    if b"chunked" in part and version == b"1.0":
        assert b" 400 " in heard
        return
    assert heard.count(b" 400 ") == 1
    assert b"ended before it was whole" in heard


async def test_a_half_that_is_closed_with_the_last_byte_of_half_a_body_is_told_so_at_once(stand: Any) -> None:
    house = await stand()
    for before in (b"", GET):
        client = await house.connect()
        # All lies there when the server looks: it takes the request up in the moment in which that can never be whole.
        client.writer.write(before + b"POST /reads HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{}")
        client.writer.write_eof()
        heard = await client.closed()
        assert b" 400 " in heard
        assert b"ended before it was whole" in heard
        assert heard.count(b"\r\n\r\nwell") == before.count(b"GET"), "what came before it was asked properly"


async def test_whoever_is_refused_and_owes_the_rest_of_a_body_is_not_waited_for(stand: Any) -> None:
    house = await stand(replace(USUAL, body_s=0.2))
    client = await house.connect()
    await client.say(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{}")
    assert b" 404 " in await client.hear()
    assert await client.closed() == b""


MARK = b"MARKED-PROMPT"
HEAD = b"POST /fails HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "said",
    [
        MARK + b"\r\n\r\n",
        b"GET /" + MARK + b"\x01 HTTP/1.1\r\n\r\n",
        b"GET http://[" + MARK + b"/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9." + MARK + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n" + MARK + b"\r\n\r\n",
        b"GET /" + MARK * 1000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + MARK + b" : 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + MARK + b"\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + MARK * 1000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + MARK + b"\r\n\r\n",
        HEAD + b"Content-Length: " + MARK + b"\r\n\r\n",
        HEAD + b"Transfer-Encoding: " + MARK + b"\r\n\r\n" + MARK,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + MARK + b"\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc" + MARK + b"\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;" + MARK * 2000 + b"\r\nabc\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + MARK + b"\r\n\r\n",
        HEAD + b"Content-Encoding: deflate\r\nContent-Length: 13\r\n\r\n" + MARK,
        HEAD + b"Content-Length: 13\r\n\r\n" + MARK,
        HEAD + b"Expect: " + MARK + b"\r\nContent-Length: 2\r\n\r\n{}",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + MARK,
    ],
)
async def test_nothing_that_a_client_sent_is_logged_at_any_level(
    stand: Any, caplog: pytest.LogCaptureFixture, said: bytes
) -> None:
    asyncio.get_running_loop().set_debug(True)
    caplog.set_level(logging.DEBUG)
    house = await stand()
    client = await house.connect()
    await client.say(said)
    client.writer.write_eof()
    answer = await client.closed(15)
    assert b" 200 " not in answer
    assert MARK not in answer
    text = "\n".join(logging.Formatter().format(record) for record in caplog.records)
    assert MARK.decode() not in text
    assert "Traceback" not in text


async def test_a_thousand_malformed_requests_cost_one_line(
    stand: Any, caplog: pytest.LogCaptureFixture
) -> None:
    house = await stand()
    for _ in range(100):
        client = await house.connect()
        await client.say(HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n")
        assert b" 400 " in await client.closed(15)
    assert len(caplog.records) == 1
    assert "malformed" in caplog.records[0].getMessage()


def test_what_of_aiohttp_we_count_on_is_there() -> None:
    for name in ("_request_count", "_messages", "_current_request", "_force_close", "_close", "_manager"):
        assert name in Connection.__mro__[1].__slots__
