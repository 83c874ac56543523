"""An engine whose answer has no end in sight: the client gets a well-formed end, the ledger one record."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from types import FrameType
from typing import Any

import pytest
from aiohttp import web

from app.engine.line import MOST_WHOLE_B
from app.proxy.admission import PARSE_IN_THREAD_B
from app.proxy.dialects.base import MOST_UNFINISHED_B
from tests.gateway.conftest import MODEL, Build, chat

PIECE = b"x" * 65_536
Endless = Callable[[Callable[[web.StreamResponse], Awaitable[None]]], Awaitable[str]]


@pytest.fixture
async def endless() -> AsyncIterator[Endless]:
    """An engine that is Ollama until it is asked to think: then it does what the test says."""
    runners: list[web.AppRunner] = []

    async def start(answer: Callable[[web.StreamResponse], Awaitable[None]]) -> str:
        async def ask(request: web.Request) -> web.StreamResponse:
            kind = "text/event-stream" if request.path.startswith("/v1") else "application/x-ndjson"
            if not (await request.json()).get("stream"):
                kind = "application/json"
            response = web.StreamResponse(headers={"Content-Type": kind})
            await response.prepare(request)
            await answer(response)
            return response

        async def told(request: web.Request) -> web.Response:
            return web.json_response(
                {
                    "/": {},
                    "/api/version": {"version": "0.32.0-simulated"},
                    "/api/tags": {"models": [{"name": MODEL, "model": MODEL, "digest": "0" * 64}]},
                    "/api/ps": {"models": []},
                }.get(request.path, {})
            )

        app = web.Application()
        app.router.add_post("/{path:api/chat|api/generate|v1/chat/completions}", ask)
        app.router.add_route("*", "/{path:.*}", told)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return site.name

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_a_line_without_end_ends_in_the_clients_dialect(
    build: Build, endless: Endless, path: str
) -> None:
    sent_b = 0

    async def never_ends(response: web.StreamResponse) -> None:
        nonlocal sent_b
        await response.write(b"data: " if path.startswith("/v1") else b"")
        while sent_b < 8 * MOST_UNFINISHED_B:
            await response.write(PIECE)
            sent_b += len(PIECE)

    house = await build(upstream=await endless(never_ends))
    async with house.post(path, chat(stream=True)) as reply:
        last = (await reply.read()).removeprefix(b"data: ")
    assert "a line of more than 8 MB" in str(json.loads(last)["error"])
    assert json.loads(last)["_gateway"]["outcome"] == "upstream_error"
    assert sent_b < 4 * MOST_UNFINISHED_B, "the connection is closed, which tells the engine to stop"
    (row,) = await house.usage()
    assert row.outcome == "upstream_error"


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_a_whole_answer_without_end_is_502(build: Build, endless: Endless, path: str) -> None:
    async def never_ends(response: web.StreamResponse) -> None:
        for _ in range(4 * MOST_WHOLE_B // len(PIECE)):
            await response.write(PIECE)

    house = await build(upstream=await endless(never_ends))
    async with house.post(path, chat(stream=False)) as reply:
        assert reply.status == 502
        assert "longer than 32 MB" in await reply.text()
    (row,) = await house.usage()
    assert row.outcome == "upstream_error"


@pytest.mark.parametrize("chained", [False, True])
async def test_a_large_whole_answer_is_not_read_on_the_loop(
    build: Build, endless: Endless, chained: bool
) -> None:
    answer: dict[str, Any] = {"model": MODEL, "message": {"role": "assistant", "content": "x" * 600_000}}
    answer |= {"done": True, "prompt_eval_count": 3, "eval_count": 4}
    if chained:
        answer["_gateway"] = {"request_id": "another gateway's"}

    async def large(response: web.StreamResponse) -> None:
        await response.write(json.dumps(answer).encode())

    house = await build(upstream=await endless(large))
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
