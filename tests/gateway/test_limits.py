"""How much a request may hold and how long each of its parts may take, in every dialect, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from tests.gateway.conftest import Build, House, Scripted
from tests.gateway.rough import of_tls
from tests.gateway.speaking import ASKED, STREAMED, body, last_frame, piece, refusal


def crowded(path: str) -> dict[str, Any]:
    """Four messages or texts where a path takes several; elsewhere as many pictures."""
    asked = body(path)
    for name in ("messages", "input"):
        if name in asked:
            one = {"role": "user", "content": "Hello"} if "embed" not in path else "Hello"
            return asked | {name: [one] * 4}
    return asked | {"images": ["aaaa"] * 4}


async def test_a_request_with_more_messages_or_pictures_than_the_settings_allow_is_refused(
    build: Build,
) -> None:
    house = await build(max_messages=3, max_images=3)
    several = [path for path in ASKED if "prompt" not in ASKED[path]]
    for path in several:
        async with house.post(path, crowded(path)) as reply:
            assert reply.status == 400
            assert "at most 3 here" in refusal(path, await reply.json())
    async with house.post("/api/generate", crowded("/api/generate")) as reply:
        assert reply.status == 400
        assert "holds 4 pictures" in refusal("/api/generate", await reply.json())
    async with house.post("/v1/messages/count_tokens", crowded("/v1/messages")) as reply:
        assert reply.status == 400
    assert house.simulator.asked == 0
    async with house.post("/config", {"max_messages": 4}, key=house.operator) as reply:
        assert reply.status == 200
    for path in several:
        async with house.post(path, crowded(path)) as reply:
            assert reply.status == 200


@contextlib.asynccontextmanager
async def connected(house: House) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    url = URL(house.gateway.address)
    tls = of_tls(url.scheme == "https")
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=2**16, ssl=tls)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def head(house: House, path: str, length: int) -> bytes:
    """The head of a POST whose body has `length` bytes."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {house.key}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


async def answered(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    """The status and the JSON of a whole answer, without waiting for the connection's end."""
    said = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"Content-Length: (\d+)", said)
    assert length is not None
    return int(said.split()[1]), json.loads(await reader.readexactly(int(length[1])))


@pytest.mark.both_loops
async def test_headers_that_do_not_come_in_time_end_the_connection_with_408(build: Build) -> None:
    house = await build(header_seconds=1)
    async with connected(house) as (reader, writer):
        writer.write(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.both_loops
async def test_a_body_that_does_not_come_in_time_is_408_in_the_dialect_of_its_path(build: Build) -> None:
    house = await build(body_seconds=1)

    async def trickle(path: str) -> None:
        async with connected(house) as (reader, writer):
            writer.write(head(house, path, 1000) + b'{"model":')
            status, answer = await asyncio.wait_for(answered(reader), 20)
        assert status == 408
        assert "did not arrive within 1 s" in refusal(path, answer)

    await asyncio.gather(*(trickle(path) for path in [*ASKED, "/v1/messages/count_tokens"]))
    assert house.simulator.asked == 0


@pytest.mark.parametrize("path", STREAMED)
async def test_an_answer_that_does_not_begin_in_time_is_504_and_recorded(
    build: Build, scripted: Scripted, path: str
) -> None:
    gone = asyncio.Event()

    async def says_nothing(response: web.StreamResponse) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    house = await build(upstream=await scripted(says_nothing), first_token_seconds=1)
    async with house.post(path, body(path)) as reply:
        assert reply.status == 504
        assert "did not begin to answer in time" in refusal(path, await reply.json())
    (row,) = await house.usage()
    assert row.outcome == "timeout"


@pytest.mark.parametrize("path", STREAMED)
async def test_an_answer_that_falls_silent_ends_with_a_sentence_in_its_dialect(
    build: Build, scripted: Scripted, path: str
) -> None:
    async def falls_silent(response: web.StreamResponse) -> None:
        await response.write(piece(path))
        await asyncio.Event().wait()

    house = await build(upstream=await scripted(falls_silent), idle_stream_seconds=1, first_token_seconds=300)
    async with house.post(path, body(path)) as reply:
        assert reply.status == 200
        stream = await reply.read()
    assert stream.startswith(piece(path))
    last = last_frame(path, stream)
    assert "fell silent in the middle of its answer" in json.dumps(last)
    assert last["_gateway"]["outcome"] == "timeout"
    assert b"[DONE]" not in stream
    (row,) = await house.usage()
    assert (row.outcome, row.tok_out, row.tok_src) == ("timeout", 1, "counted")


@pytest.mark.both_loops
@pytest.mark.parametrize("tls", ["off", "own"])
async def test_a_bare_connection_hears_of_an_engine_that_does_not_begin_and_of_one_that_falls_silent(
    build: Build, scripted: Scripted, tls: str
) -> None:
    path = "/api/chat"

    async def falls_silent(response: web.StreamResponse) -> None:
        for part in first:
            await response.write(part)
        await asyncio.Event().wait()

    first: list[bytes] = []
    house = await build(
        upstream=await scripted(falls_silent), first_token_seconds=1, idle_stream_seconds=1, tls=tls
    )
    asked = json.dumps(body(path)).encode()
    for sentence in (b"did not begin to answer in time", b"fell silent in the middle"):
        async with connected(house) as (reader, writer):
            writer.write(head(house, path, len(asked)) + asked)
            await asyncio.wait_for(reader.readuntil(sentence), 20)
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asyncio.wait_for(reader.readuntil(b"HTTP/1.1 200 "), 20)
        first.append(piece(path))
    assert [row.outcome for row in await house.usage()] == ["timeout", "timeout"]


@pytest.mark.both_loops
@pytest.mark.parametrize(("path", "tls"), [*((path, "off") for path in STREAMED), ("/api/chat", "own")])
async def test_a_reader_that_does_not_read_stops_the_engine_and_is_given_up(
    build: Build, scripted: Scripted, path: str, tls: str
) -> None:
    sent_b = 0
    gone = asyncio.Event()
    frame = piece(path, "x" * 8192)

    async def without_end(response: web.StreamResponse) -> None:
        nonlocal sent_b
        try:
            while sent_b < 2**30:
                await response.write(frame)
                sent_b += len(frame)
        finally:
            gone.set()

    house = await build(
        upstream=await scripted(without_end), unread_seconds=1, idle_stream_seconds=1, tls=tls
    )
    asked = json.dumps(body(path)).encode()
    async with connected(house) as (reader, writer):
        writer.write(head(house, path, len(asked)) + asked)
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.wait_for(gone.wait(), 30)
    # What the kernel's buffers of two connections take, and ours between them; not the gigabyte that was on its way.
    assert sent_b < 64 * 2**20
    async with asyncio.timeout(20):
        while not (rows := await house.usage()):
            await asyncio.sleep(0.01)
    assert [row.outcome for row in rows] == ["client_abort"], "the client's fault, not the engine's"
