"""What many requests cost a gateway in memory, and whether many streams at once all come to their end."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from tests.bench import streams
from tests.bench.tools import BenchFailed, first_line, gateway, nginx, rss_mb, started, wrk

WARM = 5000
"""Requests after which a process has what it needs: code, caches, its pools of memory."""


def measure(requests: int = 20_000, at_once: int = 256) -> dict[str, Any]:
    """`grown_mb`: resident memory after `requests` more than WARM, over what it was then, of a process that answered
    them 32 at a time; `failed`: how many of `at_once` streams did not arrive whole."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "nginx").mkdir()
        (folder / "whole").mkdir()
        (folder / "streamed").mkdir()
        with (
            nginx(folder / "nginx") as engine,
            gateway(folder / "whole", "--upstream", engine) as (process, line),
        ):

            def ask(count: int) -> int:
                asked = 0
                while asked < count:
                    asked += int(
                        wrk(line["url"] + "/api/chat", line["api_key"], folder, connections=32, seconds=2)[
                            "count"
                        ]
                    )
                return asked

            ask(WARM)
            before = rss_mb(process.pid)
            asked = ask(requests)
            grown = rss_mb(process.pid) - before
        return {
            "requests": asked,
            "grown_mb": grown,
            "streams": at_once,
            "failed": _streams(folder / "streamed", at_once),
        }


def _streams(folder: Path, at_once: int) -> int:
    command = [sys.executable, "-m", "tests.bench.streams", "--engine"]
    with started(command) as engine:
        wide = ("--set", "engine_parallel=64")
        with gateway(folder, "--upstream", first_line(engine), *wide) as (_, line):
            return uvloop.run(_failed(line["url"], line["api_key"], at_once))


async def _failed(url: str, key: str, at_once: int) -> int:
    try:
        async with asyncio.timeout(300):
            reading = (streams.read(url, key) for _ in range(at_once))
            ends = await asyncio.gather(*reading, return_exceptions=True)
    except TimeoutError:
        raise BenchFailed(f"{at_once} streams did not end within five minutes.") from None
    return sum(isinstance(end, BaseException) for end in ends)


if __name__ == "__main__":
    print(measure())
