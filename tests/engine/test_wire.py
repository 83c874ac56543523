"""How requests travel to an engine: once, bare, on kept connections, and no further than somebody waits."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable

import pytest

from app.engine.base import EngineBroken, EngineTimeout, EngineUnreachable
from app.engine.line import Line
from app.engine.wire import Wire

Serve = Callable[[Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]], Awaitable[str]]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


async def take_request(reader: asyncio.StreamReader) -> bytes:
    """One request, head and body; b"" where the connection ended instead."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    _, _, length = head.partition(b"Content-Length: ")
    return head + await reader.readexactly(int(length.partition(b"\r\n")[0] or 0))


class Engine:
    """A server that answers every request with the same bytes and remembers what it saw."""

    def __init__(self, answer: bytes = OK) -> None:
        self.answer = answer
        self.connections = 0
        self.requests: list[bytes] = []
        self.gone = asyncio.Event()
        """A connection was closed by the other side."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while request := await take_request(reader):
            self.requests.append(request)
            writer.write(self.answer)
        self.gone.set()


async def test_nothing_goes_to_the_engine_but_what_http_needs(serve: Serve) -> None:
    engine = Engine()
    url = await serve(engine)
    wire = Wire(f"{url}/base/")
    await (await wire.post("/api/chat", b'{"a": 1}')).read()
    await (await wire.get("/api/tags")).read()
    await wire.close()
    host = url.removeprefix("http://").encode()
    assert engine.requests == [
        b"POST /base/api/chat HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\n"
        b'Content-Length: 8\r\n\r\n{"a": 1}' % host,
        b"GET /base/api/tags HTTP/1.1\r\nHost: %b\r\n\r\n" % host,
    ]


async def test_a_path_cannot_smuggle_a_header(serve: Serve) -> None:
    engine = Engine()
    wire = Wire(await serve(engine))
    await (await wire.get("/v1/models/x HTTP/1.1\r\nAuthorization: Bearer y\r\n\r\né")).read()
    await wire.close()
    assert engine.requests[0].startswith(
        b"GET /v1/models/x%20HTTP/1.1%0D%0AAuthorization:%20Bearer%20y%0D%0A"
    )


async def test_a_connection_serves_one_request_after_the_other(serve: Serve) -> None:
    engine = Engine()
    wire = Wire(await serve(engine))
    for _ in range(5):
        reply = await wire.post("/api/chat", b"{}")
        assert (reply.status, reply.content_type, await reply.read()) == (200, "application/json", b"{}")
        reply.release()
    await wire.close()
    assert (engine.connections, len(engine.requests)) == (1, 5)


async def test_requests_at_the_same_time_have_a_connection_each(serve: Serve) -> None:
    both_here = asyncio.Barrier(2)

    async def answer_both_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take_request(reader)
        await both_here.wait()
        writer.write(OK)
        await reader.read()

    wire = Wire(await serve(answer_both_at_once))
    replies = await asyncio.gather(wire.post("/", b"1"), wire.post("/", b"2"))
    assert [await reply.read() for reply in replies] == [b"{}", b"{}"]
    await wire.close()


async def test_redirects_are_answers_and_not_followed(serve: Serve) -> None:
    engine = Engine(b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    wire = Wire(await serve(engine))
    reply = await wire.post("/api/chat", b"{}")
    assert (reply.status, await reply.read()) == (307, b"")
    await wire.close()
    assert len(engine.requests) == 1


async def test_chunks_come_as_they_are_sent_and_unchanged(serve: Serve) -> None:
    go_on = asyncio.Event()

    async def one_by_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take_request(reader)
        writer.write(STREAM)
        for piece in (b'{"n":1}\n', b'{"n":2}\n', b'{"n":3}\n'):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await go_on.wait()
            go_on.clear()
        writer.write(b"0\r\n\r\n")
        await reader.read()

    wire = Wire(await serve(one_by_one))
    reply = await wire.post("/api/chat", b"{}")
    assert reply.content_type == "application/x-ndjson"
    received = []
    async for chunk in reply.chunks():
        received.append(chunk)
        go_on.set()
    assert received == [b'{"n":1}\n', b'{"n":2}\n', b'{"n":3}\n']
    await wire.close()


async def test_a_connection_that_the_engine_closed_while_idle_is_not_used(serve: Serve) -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take_request(reader)
        writer.write(OK)

    wire = Wire(await serve(answer_once))
    for _ in range(3):
        assert await (await wire.post("/", b"{}")).read() == b"{}"
    await wire.close()


async def test_a_connection_is_found_closed_even_before_the_loop_has_noticed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen: list[bytes] = []
        close_now, closed = threading.Event(), threading.Event()

        def serve_two_connections() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    seen.append(connection.recv(65536))
                    connection.sendall(OK)
                    close_now.wait(10)
                closed.set()

        thread = threading.Thread(target=serve_two_connections)
        thread.start()
        wire = Wire(f"http://127.0.0.1:{listener.getsockname()[1]}")
        await (await wire.post("/", b"1")).read()
        # The loop stands still until the engine's FIN is in our kernel: it cannot have read it.
        close_now.set()
        assert closed.wait(10)
        assert await (await wire.post("/", b"2")).read() == b"{}"
        await wire.close()
        thread.join(10)
    assert [request[-1:] for request in seen] == [b"1", b"2"]


async def test_where_the_kernel_takes_nothing_another_connection_is_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine()
    wire = Wire(await serve(engine))
    await (await wire.post("/", b"1")).read()
    # The race that cannot be staged: the line dies between the last look at it and the first byte.
    monkeypatch.setattr(Line, "is_fresh", lambda line: line.transport.abort() or True)
    assert await (await wire.post("/", b"2")).read() == b"{}"
    await wire.close()
    assert [request[-1:] for request in engine.requests] == [b"1", b"2"]
    assert engine.connections == 2


@pytest.mark.parametrize("kept", [False, True])
async def test_a_request_that_the_engine_may_have_seen_is_never_sent_again(serve: Serve, kept: bool) -> None:
    requests = 0

    async def die_of_the_last(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while await take_request(reader):
            requests += 1
            if requests > kept:
                return
            writer.write(OK)

    wire = Wire(await serve(die_of_the_last))
    if kept:
        await (await wire.post("/", b"{}")).read()
    with pytest.raises(EngineBroken, match="closed the connection without an answer"):
        await wire.post("/", b"{}")
    assert requests == 1 + kept
    await wire.close()


async def test_an_answer_that_breaks_off_gives_what_there_was_and_then_says_so(serve: Serve) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take_request(reader)
        writer.write(STREAM + b"5\r\nhello\r\n9\r\nwor")

    wire = Wire(await serve(break_off))
    reply = await wire.post("/", b"{}")
    chunks = reply.chunks()
    received = b""
    while len(received) < 8:
        received += await anext(chunks)
    assert received == b"hellowor"
    with pytest.raises(EngineBroken, match="in the middle of its answer"):
        await anext(chunks)
    with pytest.raises(EngineBroken, match="in the middle of its answer"):
        await (await wire.post("/", b"{}")).read()
    await wire.close()


async def test_what_is_not_http_is_said_to_be_so(serve: Serve) -> None:
    wire = Wire(await serve(Engine(b"220 mail.example ESMTP\r\n")))
    with pytest.raises(EngineBroken, match="does not speak HTTP/1"):
        await wire.post("/", b"{}")
    await wire.close()


@pytest.mark.parametrize("where", ["head", "read", "chunks"])
async def test_giving_up_closes_the_connection_so_that_the_engine_stops(serve: Serve, where: str) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def generate_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take_request(reader)
        if where != "head":
            writer.write(STREAM + b"5\r\nhello\r\n")
        asked.set()
        await reader.read()
        gone.set()

    wire = Wire(await serve(generate_for_ever))
    waiting_for_more = asyncio.Event()

    async def client() -> None:
        reply = await wire.post("/", b"{}")
        if where == "read":
            waiting_for_more.set()
            await reply.read()
        async for _ in reply.chunks():
            waiting_for_more.set()

    task = asyncio.create_task(client())
    await (asked if where == "head" else waiting_for_more).wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        await gone.wait()
    await wire.close()


async def test_releasing_an_unfinished_answer_closes_its_connection(serve: Serve) -> None:
    engine = Engine(STREAM + b"5\r\nhello\r\n")
    wire = Wire(await serve(engine))
    reply = await wire.post("/", b"{}")
    reply.release()
    reply.release()
    async with asyncio.timeout(5):
        await engine.gone.wait()
    with pytest.raises(EngineBroken, match="given up"):
        await reply.read()
    await wire.close()


async def test_releasing_a_finished_answer_late_does_not_touch_the_next_one(serve: Serve) -> None:
    engine = Engine()
    wire = Wire(await serve(engine))
    first = await wire.post("/", b"{}")
    await first.read()
    second = await wire.post("/", b"{}")
    first.release()
    assert await second.read() == b"{}"
    await wire.close()
    assert engine.connections == 1


async def test_an_engine_that_goes_silent_is_given_up(serve: Serve) -> None:
    answers = [b"", STREAM + b"5\r\nhello\r\n"]
    gone = asyncio.Event()

    async def fall_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take_request(reader)
        writer.write(answers.pop(0))
        await reader.read()
        gone.set()

    wire = Wire(await serve(fall_silent), silence_s=0.05)
    with pytest.raises(EngineTimeout, match=r"has said nothing for 0\.05 s"):
        await wire.post("/", b"{}")
    reply = await wire.post("/", b"{}")
    with pytest.raises(EngineTimeout):
        await reply.read()
    async with asyncio.timeout(5):
        await gone.wait()
    await wire.close()


async def test_a_slow_reader_makes_the_engine_wait_and_not_us_remember(serve: Serve) -> None:
    piece = b"x" * 50_000
    count = 400
    sent = 0

    async def send_fast(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await take_request(reader)
        writer.write(STREAM)
        for _ in range(count):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            sent += 1
        writer.write(b"0\r\n\r\n")
        await reader.read()

    wire = Wire(await serve(send_fast), silence_s=0.2)
    reply = await wire.post("/", b"{}")
    # Nobody reads, for longer than the engine may be silent: it is we who keep it waiting.
    while True:
        before = sent
        await asyncio.sleep(0.1)
        if sent == before:
            break
    await asyncio.sleep(0.3)
    assert sent < count, "the sockets' buffers alone hold a few MB, not all of it"
    assert sum(map(len, reply.parts)) < 2**20
    assert sum([len(chunk) async for chunk in reply.chunks()]) == len(piece) * count
    await wire.close()


async def test_unused_connections_are_closed_before_the_engine_would(serve: Serve) -> None:
    engine = Engine()
    wire = Wire(await serve(engine), keep_s=0.02)
    await (await wire.post("/", b"{}")).read()
    async with asyncio.timeout(5):
        await engine.gone.wait()
    await wire.close()


async def test_an_engine_that_asks_to_close_gets_its_way(serve: Serve) -> None:
    engine = Engine(OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
    wire = Wire(await serve(engine))
    assert await (await wire.post("/", b"{}")).read() == b"{}"
    async with asyncio.timeout(5):
        await engine.gone.wait()
    assert await (await wire.post("/", b"{}")).read() == b"{}"
    await wire.close()
    assert engine.connections == 2


async def test_bytes_that_nobody_asked_for_cost_the_connection(serve: Serve) -> None:
    engine = Engine(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    wire = Wire(await serve(engine))
    for _ in range(2):
        assert await (await wire.post("/", b"{}")).read() == b"{}"
    await wire.close()
    assert engine.connections == 2


async def test_closing_ends_what_is_under_way_and_refuses_what_comes(serve: Serve) -> None:
    wire = Wire(await serve(Engine(STREAM + b"5\r\nhello\r\n")))
    reply = await wire.post("/", b"{}")
    reading = asyncio.create_task(reply.read())
    await asyncio.sleep(0)
    await wire.close()
    with pytest.raises(EngineBroken, match="closed its connections"):
        await reading
    with pytest.raises(EngineUnreachable, match="has closed its connections"):
        await wire.post("/", b"{}")
    await wire.close()
