"""The end of an engine's answer, odd but whole: the client hears it, and the record is what the engine said."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from tests.gateway.conftest import MODEL, Build, Scripted, chat

WORD = {
    "/api/chat": b'{"model":"m","message":{"role":"assistant","content":"Hi"},"done":false}\n',
    "/api/generate": b'{"model":"m","response":"Hi","done":false}\n',
    "/v1/chat/completions": b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n',
}
LAST = {
    "/api/chat": b'{"model":"m","message":{"role":"assistant","content":""},"done":true,"eval_count":7,'
    b'"prompt_eval_count":5}',
    "/api/generate": b'{"model":"m","response":"","done":true,"eval_count":7,"prompt_eval_count":5}',
    "/v1/chat/completions": b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\n'
    b"data: [DONE]",
}


@pytest.mark.parametrize("cut", [False, True], ids=["the answer ends", "the connection is cut"])
@pytest.mark.parametrize("path", LAST)
async def test_a_whole_last_frame_without_its_line_end_counts_with_its_tokens(
    build: Build, scripted: Scripted, path: str, cut: bool
) -> None:
    async def almost(response: web.StreamResponse) -> None:
        await response.write(WORD[path])
        await response.write(LAST[path])
        if cut:
            # The engine dies before it could say that this was all: whatever came has to be enough.
            await asyncio.sleep(0.2)
            raise ConnectionResetError

    house = await build(upstream=await scripted(almost))
    body = {**chat(), "prompt": "Hello"}
    async with house.post(path, body) as reply:
        text = await reply.text()
    assert "error" not in text
    line = text.removesuffix("data: [DONE]\n\n").strip().rpartition("\n")[2]
    told = json.loads(line.removeprefix("data: "))["_gateway"]
    assert (told["outcome"], told["prompt_tokens"], told["completion_tokens"]) == ("complete", 5, 7)
    (row,) = await house.usage()
    assert (row.outcome, row.tok_in, row.tok_out, row.tok_src) == ("complete", 5, 7, "engine")
    assert row.model == MODEL
