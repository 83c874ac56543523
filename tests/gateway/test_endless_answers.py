"""An engine whose answer has no end in sight: the client gets a well-formed end, the ledger one record."""

from __future__ import annotations

import asyncio
import json
import sys
from types import FrameType
from typing import Any

import pytest
from aiohttp import web

from app.engine.line import MOST_WHOLE_B
from app.proxy.admission import PARSE_IN_THREAD_B
from app.proxy.dialects.base import MOST_UNFINISHED_B
from tests.gateway.conftest import MODEL, Build, Scripted, chat

PIECE = b"x" * 65_536


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_a_line_without_end_ends_in_the_clients_dialect(
    build: Build, scripted: Scripted, path: str
) -> None:
    sent_b = 0

    async def never_ends(response: web.StreamResponse) -> None:
        nonlocal sent_b
        await response.write(b"data: " if path.startswith("/v1") else b"")
        while sent_b < 8 * MOST_UNFINISHED_B:
            await response.write(PIECE)
            sent_b += len(PIECE)

    house = await build(upstream=await scripted(never_ends))
    async with house.post(path, chat(stream=True)) as reply:
        last = (await reply.read()).removeprefix(b"data: ")
    assert "a line of more than 8 MB" in str(json.loads(last)["error"])
    assert json.loads(last)["_gateway"]["outcome"] == "upstream_error"
    assert sent_b < 4 * MOST_UNFINISHED_B, "the connection is closed, which tells the engine to stop"
    (row,) = await house.usage()
    assert row.outcome == "upstream_error"


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_a_whole_answer_without_end_is_502(build: Build, scripted: Scripted, path: str) -> None:
    async def never_ends(response: web.StreamResponse) -> None:
        for _ in range(4 * MOST_WHOLE_B // len(PIECE)):
            await response.write(PIECE)

    house = await build(upstream=await scripted(never_ends))
    async with house.post(path, chat(stream=False)) as reply:
        assert reply.status == 502
        assert "longer than 32 MB" in await reply.text()
    (row,) = await house.usage()
    assert row.outcome == "upstream_error"


@pytest.mark.parametrize("chained", [False, True])
async def test_a_large_whole_answer_is_not_read_on_the_loop(
    build: Build, scripted: Scripted, chained: bool
) -> None:
    answer: dict[str, Any] = {"model": MODEL, "message": {"role": "assistant", "content": "x" * 600_000}}
    answer |= {"done": True, "prompt_eval_count": 3, "eval_count": 4}
    if chained:
        answer["_gateway"] = {"request_id": "another gateway's"}

    async def large(response: web.StreamResponse) -> None:
        await response.write(json.dumps(answer).encode())

    house = await build(upstream=await scripted(large))
    read_on_the_loop: list[int] = []

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "raw_decode":
            read_on_the_loop.append(len(frame.f_locals["s"]))

    profile = sys.getprofile()
    sys.setprofile(watch)
    try:
        async with house.post("/api/chat", chat(stream=False)) as reply:
            got = await reply.read()
    finally:
        sys.setprofile(profile)
    assert read_on_the_loop, "the request itself is read there"
    assert max(read_on_the_loop) < PARSE_IN_THREAD_B
    figures = json.loads(got).pop("_gateway")
    assert (figures["outcome"], figures["completion_tokens"]) == ("complete", 4)
    await asyncio.sleep(0)
