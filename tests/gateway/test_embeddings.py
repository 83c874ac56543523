"""Embeddings in both dialects: whole answers, the engine's own count of the prompt, and nothing that moves a model."""

from __future__ import annotations

from typing import Any

import pytest

from app.simulator import Faults
from tests.gateway.conftest import Build, House

MODEL = "nomic-embed-text:latest"
ASKED: dict[str, dict[str, Any]] = {
    "/api/embed": {"model": MODEL, "input": ["one", "two"]},
    "/api/embeddings": {"model": MODEL, "prompt": "one"},
    "/v1/embeddings": {"model": MODEL, "input": ["one", "two"]},
}


def vectors(path: str, answer: dict[str, Any]) -> list[list[float]]:
    if path == "/v1/embeddings":
        return [one["embedding"] for one in answer["data"]]
    return answer["embeddings"] if path == "/api/embed" else [answer["embedding"]]


@pytest.mark.parametrize("path", ASKED)
async def test_vectors_come_with_what_they_took_and_are_counted_only_where_the_engine_counts(
    house: House, path: str
) -> None:
    async with house.post(path, ASKED[path]) as reply:
        assert reply.status == 200
        answer = await reply.json()
    assert {len(vector) for vector in vectors(path, answer)} == {768}
    counted = None if path == "/api/embeddings" else 6
    assert answer["_gateway"]["outcome"] == "complete"
    assert (answer["_gateway"]["prompt_tokens"], answer["_gateway"]["completion_tokens"]) == (counted, None)
    (row,) = await house.usage()
    assert (row.endpoint, row.tok_in, row.tok_out) == (path, counted, None)
    assert row.tok_src == ("none" if counted is None else "engine")


@pytest.mark.parametrize("path", ASKED)
async def test_only_the_bytes_of_gateway_are_added_to_the_engines_answer(house: House, path: str) -> None:
    async with house.session.post(house.simulator.url + path, json=ASKED[path]) as reply:
        told = await reply.json()
    async with house.post(path, ASKED[path]) as reply:
        answer = await reply.json()
    del answer["_gateway"]
    for measured in ("total_duration", "load_duration"):
        assert (measured in told) == (measured in answer)
        told.pop(measured, None)
        answer.pop(measured, None)
    assert answer == told


@pytest.mark.parametrize("path", ASKED)
async def test_what_would_pin_unload_or_reload_the_model_does_not_pass(house: House, path: str) -> None:
    await (await house.post(path, ASKED[path])).read()
    before = await house.gateway.upstream.engine.loaded()
    sent = ASKED[path] | {"keep_alive": 0, "options": {"num_ctx": 8192}, "lora": 1}
    async with house.post(path, sent) as reply:
        assert reply.status == 200
        assert reply.headers["X-Ignored-Fields"] == "options.num_ctx, lora"
    assert [one.name for one in await house.gateway.upstream.engine.loaded()] == [one.name for one in before]


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings"])
async def test_a_client_neither_unloads_a_model_nor_loads_it_by_trying_to(house: House, path: str) -> None:
    async with house.post(path, {"model": MODEL, "keep_alive": 0}) as reply:
        answer = await reply.json()
    assert "nothing was done" in answer["_gateway"]["note"]
    assert vectors(path, answer) in ([], [[]])
    assert await house.gateway.upstream.engine.loaded() == ()
    assert await house.usage() == []


@pytest.mark.parametrize("path", ASKED)
async def test_keys_of_another_case_are_refused(house: House, path: str) -> None:
    async with house.post(path, {**ASKED[path], "Keep_Alive": 0}) as reply:
        assert reply.status == 400


@pytest.mark.parametrize("path", ASKED)
async def test_a_failure_and_a_refusal_of_the_engine_keep_its_words(house: House, path: str) -> None:
    name = "input" if path == "/v1/embeddings" else "prompt" if path == "/api/embeddings" else "input"
    async with house.post(path, ASKED[path] | {name: "[simulate: error]"}) as reply:
        assert reply.status == 500
        assert "simulated failure" in str((await reply.json())["error"])
    async with house.post(path, ASKED[path] | {"model": "no-such-model"}) as reply:
        assert reply.status == 404
    house.simulator.faults = Faults(gone="nomic")
    if path != "/api/embeddings":
        async with house.post(path, ASKED[path]) as reply:
            assert reply.status == 404
            assert (await reply.json())["_gateway"]["outcome"] == "refused"
    assert [row.outcome for row in await house.usage()] == ["upstream_error", "refused"][
        : 1 + (path != "/api/embeddings")
    ]


@pytest.mark.parametrize("asked", ["NOMIC-embed-text", "library/nomic-embed-text:latest"])
@pytest.mark.parametrize("path", ["/api/embed", "/v1/embeddings"])
async def test_the_model_is_named_as_the_client_did(build: Build, path: str, asked: str) -> None:
    house = await build(allowed_models=MODEL)
    async with house.post(path, ASKED[path] | {"model": asked}) as reply:
        assert (await reply.json())["model"] == asked
    (row,) = await house.usage()
    assert row.model == MODEL
