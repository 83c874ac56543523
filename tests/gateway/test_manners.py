"""Manners: what stands between a client and us does to a request and to an answer, and what we do about it.

The table is in `manners.py`: each line is one habit, spelled as bytes on the wire, with what must come back.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass

import pytest
from yarl import URL

from app import __version__
from tests.gateway.conftest import Build, House, chat
from tests.gateway.manners import CHAT, TABLE, Line, get, post


@pytest.fixture
async def house(build: Build) -> House:
    """The usual house, under the name that the table calls it by."""
    return await build(allowed_hosts="gateway.example")


@dataclass(frozen=True)
class Answer:
    """An answer as it stands on the wire."""

    version: str
    status: int
    headers: dict[str, str]
    body: bytes
    interim: tuple[int, ...] = ()
    """The statuses that came before."""
    stays: bool = False
    """The connection was left open."""


async def ask(house: House, said: str, body: bytes, *, keyed: bool = True, wait_s: float = 8.0) -> Answer:
    """Send one request as it stands, and read one answer as it stands."""
    url = URL(house.gateway.address)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        head = said.replace("\n", "\r\n")
        if keyed and "HTTP/" in said.split("\n\n")[-1].split("\n")[0]:
            head += f"\r\nAuthorization: Bearer {house.key}"
        writer.write(head.encode("latin-1") + b"\r\n\r\n" + body)
        async with asyncio.timeout(wait_s):
            return await answer(reader, bodiless=said.strip().startswith("HEAD "))
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader, *, bodiless: bool = False) -> Answer:
    """The next answer; the interim ones before it are counted."""
    interim: list[int] = []
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = head.strip().split("\r\n")
        version, status = first.split(" ")[0], int(first.split(" ")[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        assert len(headers) == len(rest), f"a header stands twice: {rest}"
        if status >= 200:
            break
        interim.append(status)
    body = b""
    if "chunked" in headers.get("transfer-encoding", ""):
        while size := int((await reader.readline()).strip(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    elif bodiless or status == 204:
        pass
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read()
    try:
        async with asyncio.timeout(0.2):
            stays = await reader.read(1) != b""
    except TimeoutError:
        stays = True
    except ConnectionError:
        stays = False
    return Answer(version, status, headers, body, tuple(interim), stays)


@pytest.mark.parametrize("line", TABLE, ids=lambda line: line.who)
async def test_a_habit_of_what_stands_in_front_of_us(house: House, line: Line) -> None:
    heard = await ask(house, line.said, line.body, keyed=line.keyed)
    assert heard.status == line.status, heard
    for name, value in line.has.items():
        assert heard.headers.get(name) == value, heard
    for name in line.lacks:
        assert name not in heard.headers, heard
    if line.stays is not None:
        assert heard.stays == line.stays, heard
    # What every answer has, and what none has.
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", heard.headers["date"])
    assert heard.headers["server"] == "Mortdecai-Gateway"
    assert "no-store" in heard.headers["cache-control"] or "no-cache" in heard.headers["cache-control"]
    assert not {"content-length", "transfer-encoding"} <= heard.headers.keys()
    assert not {"keep-alive", "proxy-connection", "upgrade", "te", "trailer", "via"} & heard.headers.keys()
    assert "aiohttp" not in str(heard.headers)
    assert __version__ not in str(heard.headers)
    # Nothing of it reached the engine but what is meant for it.
    assert house.simulator.asked == (line.status == 200 and "/api/chat" in line.said.split("\n")[0])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", chat(tokens=3)),
        (
            "/v1/chat/completions",
            {"model": "qwen2.5:3b", "messages": [{"role": "user", "content": "x"}], "stream": True},
        ),
    ],
)
async def test_a_stream_asks_every_proxy_to_hand_it_on_as_it_comes(
    house: House, path: str, body: object
) -> None:
    async with house.post(path, body) as reply:
        assert reply.headers["X-Accel-Buffering"] == "no"
        assert reply.headers["Cache-Control"] == "no-cache, no-store, no-transform"
        assert "Content-Length" not in reply.headers


async def test_a_client_that_waits_for_100_continue_hears_it_and_then_its_answer(house: House) -> None:
    body = json.dumps(chat("x" * (2 << 20), stream=False)).encode()
    url = URL(house.gateway.address)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    said = post("/api/chat", "Expect: 100-continue", f"Authorization: Bearer {house.key}", body=body)
    writer.write(said.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    async with asyncio.timeout(10):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await answer(reader)).status == 200
    writer.close()


@pytest.mark.parametrize(
    ("path", "lines", "size", "status"),
    [
        ("/api/chat", [], 2 << 20, 401),
        ("/api/chat", ["KEY"], 1 << 30, 413),
        ("/api/chat", ["KEY", "Content-Encoding: gzip"], 100, 415),
        ("/admin/pause", ["KEY"], 100, 403),
        ("/api/pull", ["KEY"], 100, 403),
        ("/nowhere", ["KEY"], 100, 404),
    ],
)
async def test_who_waits_for_100_continue_hears_a_refusal_without_sending_its_body(
    house: House, path: str, lines: list[str], size: int, status: int
) -> None:
    shown = [line.replace("KEY", f"Authorization: Bearer {house.key}") for line in lines]
    said = "\n".join(
        [
            f"POST {path} HTTP/1.1",
            "Host: 127.0.0.1",
            *shown,
            "Expect: 100-continue",
            f"Content-Length: {size}",
        ]
    )
    heard = await ask(house, said, b"", keyed=False)
    assert (heard.status, heard.interim) == (status, ())
    assert heard.headers["connection"] == "close"


async def test_requests_sent_ahead_are_answered_in_their_order(house: House) -> None:
    url = URL(house.gateway.address)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    one = (
        get("/api/version", f"Authorization: Bearer {house.key}").replace("\n", "\r\n").encode() + b"\r\n\r\n"
    )
    two = get("/nowhere").replace("\n", "\r\n").encode() + b"\r\n\r\n"
    writer.write((one + two) * 3)
    async with asyncio.timeout(5):
        heard = await reader.readuntil(b"There is no such endpoint here.")
        for _ in range(2):
            heard += await reader.readuntil(b"There is no such endpoint here.")
    writer.close()
    assert re.findall(rb"HTTP/1.1 (\d+)", heard) == [b"200", b"404"] * 3


async def test_trailers_after_a_chunked_body_are_read_and_mean_nothing(house: House) -> None:
    body = (
        f"{len(CHAT):x}\r\n".encode()
        + CHAT
        + b"\r\n0\r\nX-Checksum: abc\r\nAuthorization: Bearer mg_x\r\n\r\n"
    )
    said = "POST /api/chat HTTP/1.1\nHost: 127.0.0.1\nTransfer-Encoding: chunked\nTrailer: X-Checksum"
    heard = await ask(house, said, body)
    assert (heard.status, heard.stays) == (200, True)


async def test_nothing_of_the_clients_connection_travels_to_the_engine(house: House) -> None:
    said = post(
        "/api/chat",
        "X-Api-Key: other",
        "Cookie: a=b",
        "Via: 1.1 x",
        "TE: trailers",
        "X-Forwarded-For: 192.0.2.1",
    )
    assert (await ask(house, said, CHAT)).status == 200
    assert house.simulator.asked == 1
