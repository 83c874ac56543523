"""In front of an engine that is not Ollama, clients have `/v1` and a plain word about the rest."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from app.engine.endpoint import EndpointEngine
from app.gateway.assembly import running
from app.gateway.gateway import Gateway
from app.ledger.listing import LedgerRow
from app.power.sensors.base import NullSensor
from app.settings.folders import Folders
from app.settings.store import SettingsStore
from app.simulator import Simulator
from app.vault.memory import MemoryVault
from tests.engine import lookalikes as like

MODEL = "mistralai/Mistral-7B-Instruct-v0.3"
NATIVE_PATHS = [
    ("GET", "/api/version"),
    ("GET", "/api/tags"),
    ("GET", "/api/ps"),
    ("POST", "/api/show"),
    ("POST", "/api/chat"),
    ("POST", "/api/generate"),
    ("POST", "/api/embed"),
    ("POST", "/api/embeddings"),
]


@dataclass
class House:
    gateway: Gateway
    session: aiohttp.ClientSession

    async def usage(self) -> list[LedgerRow]:
        page = await self.gateway.ledger.page(None, 100)
        return [row for row in page.rows if row.kind == "usage"]


Build = Callable[..., Awaitable[House]]


@pytest.fixture
async def build(tmp_path: Path) -> AsyncIterator[Build]:
    async with AsyncExitStack() as stack:

        async def make(url: str, **settings: Any) -> House:
            folders = Folders.for_profile("default", tmp_path)
            store = SettingsStore.load(
                cli={"port": 0, "vault": "memory", **settings}, env={}, file=folders.settings_file
            )
            gateway = await stack.enter_async_context(
                running(store, folders, MemoryVault(), EndpointEngine(url), NullSensor(), contribute=True)
            )
            key = await gateway.keys.plain()
            session = aiohttp.ClientSession(gateway.address, headers={"Authorization": f"Bearer {key}"})
            return House(gateway, await stack.enter_async_context(session))

        yield make


async def completions(request: web.BaseRequest) -> web.StreamResponse:
    """POST /v1/chat/completions as vLLM answers it."""
    call = await request.json()
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    head = {"id": "chatcmpl-1", "created": 1767225600, "model": call["model"]}
    if not call.get("stream"):
        message = {"role": "assistant", "content": "Hi there"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
        for text in ("Hi", " there")
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if call.get("stream_options", {}).get("include_usage"):
        chunks.append({"choices": [], "usage": usage})
    for chunk in chunks:
        line = json.dumps({**head, "object": "chat.completion.chunk", **chunk})
        await response.write(f"data: {line}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def chat(model: str = MODEL, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], **more}


@pytest.fixture
async def engine() -> AsyncIterator[like.LookAlike]:
    server = like.vllm()
    server.pages["/v1/chat/completions"] = completions
    async with like.serving(server) as running:
        yield running


async def test_ollamas_own_paths_say_what_to_use_and_reach_neither_engine_nor_ledger(
    build: Build, engine: like.LookAlike
) -> None:
    house = await build(engine.url)
    before = len(engine.asked)
    for method, path in NATIVE_PATHS:
        async with house.session.request(method, path, json=chat() if method == "POST" else None) as reply:
            assert reply.status == 501
            assert reply.headers["X-Request-Id"]
            assert await reply.json() == {
                "error": "This gateway's engine speaks the OpenAI dialect only: "
                "ask below /v1, as in /v1/chat/completions."
            }
    # The gateway itself may look at its engine meanwhile; none of the clients' own questions came through.
    assert {(method, path) for method, path, _ in engine.asked[before:]} <= {("GET", "/v1/models")}
    assert await house.usage() == []


async def test_without_a_key_nothing_is_said_about_the_engine(build: Build, engine: like.LookAlike) -> None:
    house = await build(engine.url)
    async with aiohttp.ClientSession(house.gateway.address) as stranger:
        for method, path in NATIVE_PATHS:
            async with stranger.request(method, path) as reply:
                assert reply.status == 401


async def test_a_chat_passes_and_is_counted_by_the_engines_own_figures(
    build: Build, engine: like.LookAlike
) -> None:
    house = await build(engine.url)
    async with house.session.post("/v1/chat/completions", json=chat()) as reply:
        assert reply.status == 200
        answer = await reply.json()
    assert answer["choices"][0]["message"]["content"] == "Hi there"
    assert answer["_gateway"]["outcome"] == "complete"
    (row,) = await house.usage()
    assert (row.tok_in, row.tok_out, row.model) == (7, 2, MODEL)
    assert engine.asked[-1][2]["model"] == MODEL


async def test_a_streamed_chat_asks_for_usage_and_keeps_it_from_a_client_who_did_not(
    build: Build, engine: like.LookAlike
) -> None:
    house = await build(engine.url)
    async with house.session.post("/v1/chat/completions", json=chat(stream=True)) as reply:
        body = await reply.text()
    assert engine.asked[-1][2]["stream_options"] == {"include_usage": True}
    assert body.endswith("data: [DONE]\n\n")
    chunks = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    assert (
        "".join(choice["delta"].get("content", "") for one in chunks for choice in one["choices"])
        == "Hi there"
    )
    assert all("usage" not in one for one in chunks)
    assert chunks[-1]["_gateway"]["outcome"] == "complete"
    (row,) = await house.usage()
    assert (row.tok_in, row.tok_out) == (7, 2)


async def test_names_are_taken_exactly_as_the_engine_spells_them(
    build: Build, engine: like.LookAlike
) -> None:
    house = await build(engine.url)
    for wrong in (MODEL.lower(), MODEL + ":latest", "Mistral-7B-Instruct-v0.3"):
        async with house.session.post("/v1/chat/completions", json=chat(wrong)) as reply:
            assert reply.status == 404
    async with house.session.get(f"/v1/models/{MODEL}") as reply:
        assert (await reply.json())["id"] == MODEL


async def test_only_shared_models_are_listed_and_served(build: Build, engine: like.LookAlike) -> None:
    house = await build(engine.url, allowed_models=MODEL)
    async with house.session.get("/v1/models") as reply:
        listed = await reply.json()
    assert [one["id"] for one in listed["data"]] == [MODEL]
    async with house.session.post("/v1/chat/completions", json=chat("my-lora")) as reply:
        assert reply.status == 404


@pytest.mark.parametrize("server", [like.vllm, like.llama_server, like.llama_router, like.lm_studio])
async def test_a_list_of_models_tells_nothing_of_the_machine_it_runs_on(
    build: Build, server: Callable[[], like.LookAlike]
) -> None:
    async with like.serving(server()) as running:
        house = await build(running.url)
        async with house.session.get("/v1/models") as reply:
            text = await reply.text()
        assert json.loads(text)["data"]
        assert json.loads(text).keys() == {"object", "data"}
        assert "/home/" not in text
        assert "args" not in text


async def test_an_ollama_behind_the_same_engine_keeps_both_dialects(
    build: Build, simulator: Simulator
) -> None:
    house = await build(simulator.url)
    async with house.session.get("/api/tags") as reply:
        assert reply.status == 200
    body = chat("qwen2.5:3b", max_tokens=5)
    async with house.session.post("/v1/chat/completions", json=body) as reply:
        assert reply.status == 200
    async with house.session.post("/api/chat", json=chat("QWEN2.5:3b", stream=False)) as reply:
        assert reply.status == 200
    assert len(await house.usage()) == 2


async def test_a_gateway_that_found_its_engine_late_serves_it_then(build: Build) -> None:
    loading = like.llama_server(loading=True)
    async with like.serving(loading) as running:
        house = await build(running.url)
        body = chat("Qwen3-8B-Q4_K_M.gguf")
        async with house.session.post("/v1/chat/completions", json=body) as reply:
            assert reply.status == 503
        running.pages = {**like.llama_server().pages, "/v1/chat/completions": completions}
        async with asyncio.timeout(10):
            while True:
                async with house.session.post("/v1/chat/completions", json=body) as reply:
                    if reply.status == 200:
                        break
                await asyncio.sleep(0.05)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    simulator = Simulator(speed=10_000)
    await simulator.start()
    yield simulator
    await simulator.stop()


async def test_a_whole_response_that_failed_is_the_engines_failure_and_no_early_end(
    build: Build, engine: like.LookAlike
) -> None:
    failed = {"status": "failed", "error": {"code": "server_error", "message": "out of memory"}, "output": []}
    engine.pages["/v1/responses"] = (200, {}, failed)
    house = await build(engine.url)
    async with house.session.post("/v1/responses", json={"model": MODEL, "input": "Hi"}) as reply:
        assert (await reply.json())["error"]["message"] == "out of memory"
    (row,) = await house.usage()
    assert row.outcome == "upstream_error"
