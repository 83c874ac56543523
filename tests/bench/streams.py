"""How much later each streamed chunk arrives through the tray process, with its window open, than without it.

    python -m tests.bench.streams              measures and prints
    python -m tests.bench.streams --engine     the engine: NDJSON lines that carry the monotonic clock

Sixteen streams of a hundred lines a second each run at once. Every line says when it left the engine; the reader, in a
process of its own, compares that with its own clock, which on one machine is the same one.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from tests.bench.tools import CHAT, MODEL, TAGS, first_line, gateway, started

STREAMS = 16
LINES = 200
EVERY_S = 0.01
_STAMP = re.compile(rb"@(\d+)@")


def measure(rounds: int = 3) -> dict[str, Any]:
    """`p50_ms` and `p99_ms`: added latency of a chunk, the gateway's quantile less the engine's own."""
    command = [sys.executable, "-m", "tests.bench.streams", "--engine"]
    with tempfile.TemporaryDirectory() as name, started(command) as engine:
        url = first_line(engine)
        with gateway(Path(name), "--upstream", url, "--set", "engine_parallel=16", command="tray") as (
            _,
            line,
        ):
            direct: list[float] = []
            through: list[float] = []
            for _ in range(rounds):
                direct += uvloop.run(_read_all(url, "none"))
                through += uvloop.run(_read_all(line["url"], line["api_key"]))
    quantiles = [statistics.quantiles(values, n=100) for values in (direct, through)]
    return {
        "p50_ms": quantiles[1][49] - quantiles[0][49],
        "p99_ms": quantiles[1][98] - quantiles[0][98],
        "engine_p50_ms": quantiles[0][49],
        "engine_p99_ms": quantiles[0][98],
        "chunks": len(through),
    }


async def _read_all(url: str, key: str) -> list[float]:
    return [
        delay
        for delays in await asyncio.gather(*(read(url, key) for _ in range(STREAMS)))
        for delay in delays
    ]


async def read(url: str, key: str) -> list[float]:
    """Milliseconds that each chunk of one stream took to arrive."""
    where = urlsplit(url)
    body = json.dumps({**CHAT, "stream": True}).encode()
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(
        b"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b" % (key.encode(), len(body), body)
    )
    delays = []
    while data := await reader.read(65536):
        now = time.monotonic_ns()
        delays += [(now - int(stamp)) / 1e6 for stamp in _STAMP.findall(data)]
    writer.close()
    assert len(delays) == LINES, f"{len(delays)} of {LINES} chunks arrived"
    return delays


async def _engine() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            path = head.split(b" ", 2)[1]
            if path == b"/api/chat":
                await _stream(writer.write, writer.drain)
                if b"Connection: close" in head:
                    break
                continue
            known = {b"/api/version": {"version": "0.12.0"}, b"/api/tags": TAGS, b"/api/ps": {"models": []}}
            reply = json.dumps(known.get(path, {})).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(reply), reply)
            )
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _stream(write: Callable[[bytes], None], drain: Callable[[], Awaitable[None]]) -> None:
    write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(LINES):
        stamped = {"role": "assistant", "content": f"@{time.monotonic_ns()}@"}
        frame = json.dumps({"model": MODEL, "message": stamped, "done": False}).encode() + b"\n"
        write(b"%x\r\n%b\r\n" % (len(frame), frame))
        await drain()
        await asyncio.sleep(EVERY_S)
    last = (
        json.dumps({"model": MODEL, "message": {"role": "assistant", "content": ""}, "done": True}).encode()
        + b"\n"
    )
    write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))
    await drain()


if __name__ == "__main__":
    if "--engine" in sys.argv:
        uvloop.run(_engine())
    else:
        print(measure())
