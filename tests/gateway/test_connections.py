"""The running gateway against clients that misbehave on the wire: silent ones, half-closed ones, malformed ones."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.gateway.conftest import Build, House, chat
from tests.gateway.processes import gateway

pytestmark = pytest.mark.both_loops

MARK = "MARKED-PROMPT"


async def wire(house: House, *pieces: bytes, pause_s: float = 0.1, half_close: bool = False) -> bytes:
    """Send `pieces` one by one; everything that comes back until the connection ends or says nothing for a while."""
    url = URL(house.gateway.address)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    heard = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause_s)
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(5):
            while data := await reader.read(65536):
                heard += data
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return heard


def head(house: House, *lines: str, path: str = "/api/chat") -> bytes:
    """The head of a POST with the key."""
    said = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {house.key}", *lines)
    return ("\r\n".join(said) + "\r\n\r\n").encode()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_half_closes_gets_its_whole_answer(build: Build, stream: bool) -> None:
    house = await build(speed=20.0)
    body = json.dumps(chat(stream=stream)).encode()
    said = head(house, f"Content-Length: {len(body)}") + body
    # Its half is closed long before the answer is there.
    heard = await wire(house, said, pause_s=0.0, half_close=True)
    assert b'"done":true' in heard.replace(b" ", b"")
    (row,) = await house.usage()
    assert row.outcome == "complete"


async def test_a_wrong_chunk_in_a_body_is_400_and_the_log_has_none_of_it(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for path in ("/api/chat", "/api/show"):
        heard = await wire(
            house,
            head(house, "Transfer-Encoding: chunked", path=path),
            b"3\r\nabc\r\n",
            f"{MARK}\r\n".encode(),
        )
        assert b" 400 " in heard, heard
        assert MARK.encode() not in heard
    assert MARK not in caplog.text
    assert "Traceback" not in caplog.text


async def test_what_came_before_a_wrong_chunk_is_no_request_though_it_reads_as_a_whole_one(
    house: House,
) -> None:
    body = json.dumps(chat(stream=False)).encode()
    heard = await wire(
        house, head(house, "Transfer-Encoding: chunked"), b"%x\r\n%b\r\n" % (len(body), body), b"no size\r\n"
    )
    assert b" 400 " in heard, heard
    assert house.simulator.asked == 0
    assert await house.usage() == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "' + MARK.encode() + b'"}',
        b'{"' + MARK.encode() + b'": 1, "' + MARK.encode() + b'": 2}',
        b'{"model": ' + MARK.encode() + b"}",
        b'{"model": "qwen2.5:3b", "messages": "' + MARK.encode() + b'"}',
        b'{"model": "qwen2.5:3b", "messages": [{"role": "user", "content": "' + MARK.encode() + b'"}]}',
        b'{"model": "qwen2.5:3b", "messages": [{"role": "user", "content": "'
        + MARK.encode()
        + b'\\ud800"}]}',
        b'{"model": "qwen2.5:3b", "options": {"num_predict": 1e999}, "x": "' + MARK.encode() + b'"}',
        b'{"model": "' + MARK.encode() + b'\\u0000"}',
    ],
)
async def test_no_body_is_logged_and_none_is_a_fault_of_ours(
    house: House, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    for path in ("/api/chat", "/v1/chat/completions", "/api/show"):
        headers = {"Authorization": f"Bearer {house.key}", "X-Request-Id": MARK, "User-Agent": MARK}
        async with house.session.post(f"{path}?a={MARK}", data=body, headers=headers) as reply:
            assert reply.status < 500
            await reply.read()
    assert MARK not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("path", ["/v1/models/%ED%A0%80", "/v1/models/\udcff", "/\udcff", "/v1/models/%00"])
async def test_a_path_that_is_no_text_is_404(house: House, path: str) -> None:
    said = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer {house.key}\r\n\r\n"
    heard = await wire(house, said.encode("utf-8", "surrogateescape"))
    assert heard[:13] in (b"HTTP/1.1 404 ", b"HTTP/1.0 400 "), heard


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip"])
@pytest.mark.parametrize("path", ["/api/chat", "/api/show", "/config", "/admin/pause", "/admin/models/show"])
async def test_a_body_with_a_content_encoding_is_415_everywhere(
    house: House, path: str, encoding: str
) -> None:
    async with house.session.post(
        path,
        data=b"\x1f\x8bnothing that unpacks",
        headers={"Authorization": f"Bearer {house.operator}", "Content-Encoding": encoding},
    ) as reply:
        assert reply.status == 415
    assert house.gateway.snapshot().blocker is None


async def test_many_unfinished_bodies_of_one_key_leave_room_for_others(build: Build) -> None:
    house = await build(max_body_mb=16)
    other = str((await house.gateway.keys.create("another", None))["key"])
    url = URL(house.gateway.address)
    piece = b" " * (1 << 20)
    open_ones = [await asyncio.open_connection(url.host, url.port) for _ in range(12)]
    heard: list[bytes] = []

    async def fill(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head(house, f"Content-Length: {16 << 20}"))
        try:
            for _ in range(15):
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            return
        try:
            async with asyncio.timeout(2):
                heard.append(await reader.readuntil(b"\r\n\r\n"))
        except (TimeoutError, ConnectionError):
            return

    async with asyncio.timeout(40):
        await asyncio.gather(*(fill(*each) for each in open_ones))
    refused = [answer for answer in heard if answer.startswith(b"HTTP/1.1 429")]
    assert refused, "somebody must have been refused"
    assert all(b"Retry-After: 5" in answer for answer in refused)
    assert len(refused) >= len(open_ones) - 2, "two of them hold what one key may hold"
    async with house.post("/api/chat", chat("x" * 300_000, stream=False), key=other) as reply:
        assert reply.status == 200
    for _, writer in open_ones:
        writer.close()
    async with asyncio.timeout(10):
        while True:
            whole = io.BytesIO(json.dumps(chat("x" * (14 << 20), stream=False)).encode())
            async with house.session.post(
                "/api/chat", data=whole, headers={"Authorization": f"Bearer {house.key}"}
            ) as reply:
                if reply.status != 429:
                    break
    assert reply.status == 200


async def test_a_small_endpoint_refuses_a_large_body_also_in_chunks(house: House) -> None:
    async def pieces() -> Any:
        for _ in range(4):
            yield b" " * 32768

    for path in ("/api/show", "/config", "/admin/pause", "/admin/models/show"):
        headers = {"Authorization": f"Bearer {house.operator}"}
        async with house.session.post(path, data=pieces(), headers=headers) as reply:
            assert reply.status == 413
            assert "0 MB" not in await reply.text()


@pytest.mark.parametrize(("beyond", "status"), [(0, 200), (1, 413)])
async def test_a_body_that_is_still_coming_while_it_is_read_has_the_same_limit(
    house: House, beyond: int, status: int
) -> None:
    url, body = URL(house.gateway.address), b"{}" + b" " * (4096 - 2 + beyond)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    said = head(house, "Transfer-Encoding: chunked", "Expect: 100-continue", path="/admin/pause")
    writer.write(said.replace(house.key.encode(), house.operator.encode()))
    async with asyncio.timeout(10):
        # Whoever hears this is being read from, and nothing of the body has come.
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for at in range(0, len(body), 1000):
            part = body[at : at + 1000]
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        writer.write(b"0\r\n\r\n")
        assert (await reader.readuntil(b"\r\n")).split()[1] == str(status).encode()
    writer.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(
    house: House, chunked: bool
) -> None:
    limit = 4096

    async def pieces(body: bytes) -> Any:
        yield body[:1000]
        yield body[1000:]

    for size, status in ((limit, 200), (limit + 1, 413)):
        body = b"{}" + b" " * (size - 2)
        async with house.session.post(
            "/admin/pause",
            data=pieces(body) if chunked else body,
            headers={"Authorization": f"Bearer {house.operator}"},
        ) as reply:
            assert reply.status == status


@pytest.mark.skipif(sys.platform == "win32", reason="platform: no limit on descriptors")
async def test_a_crowd_without_a_key_shuts_nobody_out_of_a_process_with_few_descriptors(
    tmp_path: Path,
) -> None:
    """From outside: the whole program, three hundred descriptors, and twice as many silent connections."""
    few = ("sh", "-c", 'ulimit -n 300; exec "$@"', "sh")
    with gateway(tmp_path, "--simulate", through=few) as process:
        await _crowd(process.connection["url"], process.connection["api_key"])
    said = (tmp_path / "stderr.txt").read_text()
    assert "Traceback" not in said
    assert len(said.splitlines()) < 20, said[:4000]


async def _crowd(address: str, key: str) -> None:
    url = URL(address)
    silent = []
    for _ in range(600):
        with contextlib.suppress(OSError):
            silent.append(await asyncio.open_connection(url.host, url.port))
    try:
        async with asyncio.timeout(10), aiohttp.ClientSession(address) as session:
            for _ in range(3):
                headers = {"Authorization": f"Bearer {key}"}
                async with session.post("/api/chat", json=chat(stream=False), headers=headers) as reply:
                    assert reply.status == 200
            async with session.get("/health") as reply:
                assert (await reply.json())["accepting"] is True
    finally:
        for _, writer in silent:
            writer.close()
