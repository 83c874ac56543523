"""`/v1/messages` and `/v1/responses` through a whole gateway: what holds for every dialect holds for them."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp
import pytest

from app.simulator import Faults
from tests.gateway.conftest import MODEL, Build, House

PATHS = ["/v1/messages", "/v1/responses"]
LENGTH = {"/v1/messages": "max_tokens", "/v1/responses": "max_output_tokens"}


def body(path: str, words: str = "Hello", **more: Any) -> dict[str, Any]:
    asked = {"messages": [{"role": "user", "content": words}]} if path == "/v1/messages" else {"input": words}
    return {"model": MODEL, LENGTH[path]: 20, **asked, **more}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", PATHS)
async def test_what_the_engine_refuses_costs_nothing(house: House, path: str, stream: bool) -> None:
    house.simulator.faults = Faults(gone=MODEL)
    async with house.post(path, body(path, stream=stream)) as reply:
        assert reply.status == 404
        answer = await reply.json()
    assert answer["_gateway"]["outcome"] == "refused"
    (row,) = await house.usage()
    assert (row.outcome, row.cost_pico, row.tok_src) == ("refused", 0, "none")


@pytest.mark.parametrize("asked", ["tiny", "Tiny:latest", "registry.ollama.ai/library/tiny:latest"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", PATHS)
async def test_answers_name_the_model_as_the_client_did_and_records_as_the_engine_does(
    build: Build, path: str, stream: bool, asked: str
) -> None:
    house = await build(allowed_models="tiny:latest")
    async with (
        aiohttp.ClientSession(house.simulator.url) as engine,
        engine.post("/api/copy", json={"source": MODEL, "destination": "tiny"}) as reply,
    ):
        assert reply.status == 200
    async with house.post(path, body(path, model=asked, stream=stream)) as reply:
        assert reply.status == 200
        text = await reply.text()
    assert {json.loads(found) for found in re.findall(r'"model":("[^"]*")', text)} == {asked}
    (row,) = await house.usage()
    assert (row.model, row.endpoint, row.tok_src) == ("tiny:latest", path, "engine")


@pytest.mark.parametrize("asked", [0, -1, 10**9, 1e300, None])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", PATHS)
async def test_no_way_of_saying_without_end_makes_an_answer_longer_than_the_settings_allow(
    build: Build, path: str, stream: bool, asked: float | None
) -> None:
    house = await build(max_output_tokens=5)
    sent = body(path, "[simulate: 50 tokens]", stream=stream) | {LENGTH[path]: asked}
    async with house.post(path, sent) as reply:
        assert reply.status == 200
        text = await reply.text()
    assert '"completion_tokens":5' in text


@pytest.mark.parametrize("path", PATHS)
async def test_what_does_not_pass_is_named(house: House, path: str) -> None:
    tools = [{"type": "web_search", "name": "web_search"}, {"type": "web_search_20250305", "name": "x"}]
    async with house.post(path, body(path, tools=tools, keep_alive=0, options={"num_ctx": 9})) as reply:
        assert reply.status == 200
        named = reply.headers["X-Ignored-Fields"].split(", ")
    assert {"tools.web_search", "tools.web_search_20250305", "keep_alive", "options"} <= set(named)
    assert [one.name for one in await house.gateway.upstream.engine.loaded()] == [MODEL]


@pytest.mark.parametrize("path", PATHS)
async def test_only_the_last_event_differs_from_what_the_engine_sent(house: House, path: str) -> None:
    sent = body(path, stream=True)
    async with house.session.post(house.simulator.url + path, json=sent) as reply:
        told = (await reply.text()).split("\n\n")
    async with house.post(path, sent) as reply:
        assert reply.headers["Content-Type"] == "text/event-stream"
        heard = (await reply.text()).split("\n\n")
    assert len(told) == len(heard)
    unlike = [
        at for at, (one, other) in enumerate(zip(told, heard, strict=True)) if _plain(one) != _plain(other)
    ]
    assert unlike == [len(told) - 2]  # the text ends in a blank line
    last = json.loads(heard[-2].partition("\ndata: ")[2])
    gateway = last.pop("_gateway")
    assert gateway["outcome"] == "complete"
    assert _plain(json.dumps(last)) == _plain(json.dumps(json.loads(told[-2].partition("\ndata: ")[2])))


def _plain(event: str) -> str:
    """Without what differs from answer to answer: its name, the time, and that nothing is kept."""
    return re.sub(r"(msg|resp)_[0-9a-f]+(_\d+)?|_at\": ?\d+", "…", event)
