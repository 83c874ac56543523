"""What an Ollama does that its documentation does not dwell on, and what a client of ours sees of it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp
import pytest

from app.ledger.outcomes import RequestOutcome
from app.simulator import Faults
from tests.gateway.conftest import MODEL, Build, House, chat

PATHS = ["/api/chat", "/api/generate", "/v1/chat/completions", "/v1/completions"]


def body(path: str, **more: Any) -> dict[str, Any]:
    """A body that each path takes."""
    asked: dict[str, Any] = {"model": MODEL}
    if path in ("/api/generate", "/v1/completions"):
        asked["prompt"] = "Hello"
    else:
        asked["messages"] = [{"role": "user", "content": "Hello"}]
    return asked | more


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", PATHS)
async def test_what_the_engine_refuses_is_a_refusal_and_costs_nothing(
    house: House, path: str, stream: bool
) -> None:
    house.simulator.faults = Faults(gone=MODEL)
    async with house.post(path, body(path, stream=stream)) as reply:
        assert reply.status == 404
        answer = await reply.json()
    assert answer["_gateway"]["outcome"] == "refused"
    assert answer["_gateway"]["estimated_cost_pico"] == "0"
    (row,) = await house.usage()
    assert (row.outcome, row.cost_pico, row.tok_src) == (RequestOutcome.REFUSED, 0, "none")
    money = house.gateway.snapshot().money
    assert (money.spent_pico, money.held_pico) == (0, 0)


async def test_a_model_removed_behind_our_back_leaves_our_list_with_the_first_request_that_misses_it(
    house: House,
) -> None:
    watch = house.gateway.upstream.watch
    async with house.post("/api/chat", chat(stream=False)) as reply:
        assert reply.status == 200
    async with asyncio.timeout(2):  # it is seen to be loaded, so nothing else asks the engine soon
        while not watch.state.loaded:
            await asyncio.sleep(0.01)
    url = f"{house.simulator.url}/api/delete"
    async with house.session.delete(url, json={"model": MODEL}) as reply:
        assert reply.status == 200
    async with house.post("/api/chat", chat(stream=False)) as reply:
        assert reply.status == 404
    async with asyncio.timeout(2):  # the watch asks by itself far less often
        while any(model.name == MODEL for model in watch.state.models):
            await asyncio.sleep(0.01)


async def test_a_capability_that_the_model_lacks_is_the_clients_mistake(house: House) -> None:
    async with house.post("/api/chat", chat(think=True)) as reply:
        assert reply.status == 400
        assert json.loads(await reply.read())["error"] == f'"{MODEL}" does not support thinking'
    (row,) = await house.usage()
    assert (row.outcome, row.cost_pico) == ("refused", 0)


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize("more", [{}, {"messages": []}, {"prompt": ""}, {"stream": True}, {"stream": False}])
async def test_a_model_that_is_only_to_be_loaded_is_answered_as_ollama_does(
    house: House, path: str, more: dict[str, Any]
) -> None:
    async with house.post(path, {"model": MODEL, **more}) as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith("application/json")
        raw = await reply.read()
    answer = json.loads(raw)
    assert not raw.endswith(b"\n")
    assert (answer["done"], answer["done_reason"]) == (True, "load")
    assert answer["_gateway"]["outcome"] == "complete"
    (row,) = await house.usage()
    assert (row.outcome, row.tok_out) == ("complete", None)


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_an_answer_that_repeats_itself_ends_as_quietly_as_ollama_ends_it(
    house: House, path: str
) -> None:
    repeating = "[simulate: repeat after 3 tokens]"
    asked = body(path) | {"prompt": repeating, "messages": [{"role": "user", "content": repeating}]}
    async with house.post(path, asked) as reply:
        frames = [json.loads(line) async for line in reply.content]
    assert all("error" not in frame for frame in frames)
    assert [frame["done"] for frame in frames] == [False] * 3 + [True]
    assert frames[-1]["_gateway"]["outcome"] == "cut_off"
    async with house.post(path, asked | {"stream": False}) as reply:
        whole = await reply.json()
    assert (whole["done"], whole["_gateway"]["outcome"]) == (False, "cut_off")
    streamed, unstreamed = await house.usage()
    assert streamed.outcome == unstreamed.outcome == "cut_off"
    assert (streamed.tok_out, streamed.tok_src) == (3, "counted")


async def test_so_it_does_in_openais_dialect_and_a_failure_still_raises(house: House) -> None:
    def asked(words: str, *, stream: bool) -> dict[str, Any]:
        return {"model": MODEL, "messages": [{"role": "user", "content": words}], "stream": stream}

    repeating = "[simulate: repeat after 3 tokens]"
    async with house.post("/v1/chat/completions", asked(repeating, stream=True)) as reply:
        text = await reply.text()
    assert text.endswith("data: [DONE]\n\n")
    assert json.loads(text.split("data: ")[-2])["_gateway"]["outcome"] == "cut_off"
    async with house.post("/v1/chat/completions", asked(repeating, stream=False)) as reply:
        whole = await reply.json()
    assert (whole["choices"][0]["finish_reason"], whole["_gateway"]["outcome"]) == (None, "cut_off")
    failing = "[simulate: error after 3 tokens]"
    async with house.post("/v1/chat/completions", asked(failing, stream=True)) as reply:
        text = await reply.text()
    assert "error" in json.loads(text.split("data: ")[-1])
    assert [row.outcome for row in await house.usage()] == ["cut_off", "cut_off", "upstream_error"]


@pytest.mark.parametrize(
    "asked",
    [
        "tiny",
        "tiny:latest",
        "library/tiny",
        "registry.ollama.ai/library/tiny:latest",
        "Tiny",
        "Library/TINY:Latest",
    ],
)
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
    named = [json.loads(found) for found in re.findall(r'"model":("[^"]*")', text)]
    assert set(named) == {asked}
    (row,) = await house.usage()
    assert row.model == "tiny:latest"


@pytest.mark.parametrize(
    "asked", ["qwen2.5:3b", "QWEN2.5:3b", "library/qwen2.5:3B", "registry.ollama.ai/library/qwen2.5:3b"]
)
async def test_a_models_card_and_what_ends_early_name_it_as_the_client_did(house: House, asked: str) -> None:
    async with house.get(f"/v1/models/{asked}") as reply:
        assert reply.status == 200
        assert (await reply.json())["id"] == asked
    words = "[simulate: repeat after 3 tokens]"
    for path in ("/api/chat", "/v1/chat/completions"):
        sent = {"model": asked, "messages": [{"role": "user", "content": words}], "stream": True}
        async with house.post(path, sent) as reply:
            named = set(re.findall(r'"model":"([^"]*)"', await reply.text()))
        assert named == {asked}, path
    house.simulator.faults = Faults(gone=MODEL)
    for path in ("/api/show", "/api/generate"):
        async with house.post(
            path, {"model": asked, "prompt": "Hi"} if "gen" in path else {"model": asked}
        ) as reply:
            assert (await reply.json())["error"] == f"model '{asked}' not found"


@pytest.mark.parametrize("asked", [0, 0.5, -1, -2, 10**9, 1e300, None])
async def test_no_way_of_saying_without_end_makes_an_answer_longer_than_the_settings_allow(
    build: Build, asked: float | None
) -> None:
    house = await build(max_output_tokens=5)
    words = "[simulate: 50 tokens]"
    for path, length in (
        ("/api/chat", {"options": {"num_predict": asked}}),
        ("/api/generate", {"options": {"num_predict": asked}, "prompt": words}),
        ("/v1/chat/completions", {"max_tokens": asked}),
        ("/v1/chat/completions", {"max_completion_tokens": asked}),
        ("/v1/completions", {"max_tokens": asked, "prompt": words}),
    ):
        sent = {"model": MODEL, "messages": [{"role": "user", "content": words}], "stream": False, **length}
        async with house.post(path, sent) as reply:
            assert (await reply.json())["_gateway"]["completion_tokens"] == 5, (path, length)


async def test_a_field_that_is_not_known_does_not_pass_and_the_answer_says_so(build: Build) -> None:
    house = await build(extra_request_fields="top_a")
    sent = body(
        "/v1/chat/completions", n_predict=4000, min_tokens=9, lora=[], id_slot=3, top_a=1, n=1, seed=7
    )
    async with house.post("/v1/chat/completions", sent) as reply:
        assert reply.status == 200
        assert reply.headers["X-Ignored-Fields"] == "n_predict, min_tokens, lora, id_slot"
    async with house.post("/v1/chat/completions", body("/v1/chat/completions", stream=True)) as reply:
        assert "X-Ignored-Fields" not in reply.headers


@pytest.mark.parametrize("path", PATHS)
async def test_an_option_that_does_not_pass_is_named_too(house: House, path: str) -> None:
    sent = body(path, options={"num_ctx": 4096, "seed": 7, "odd one": 1, "invented": 1}, stream=False)
    async with house.post(path, sent) as reply:
        assert reply.status == 200
        named = reply.headers["X-Ignored-Fields"].split(", ")
    assert named == [
        "options.num_ctx", *(["options.seed"] if path.startswith("/v1") else []), "options.invented"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/v1/chat/completions", "n", 2),
        ("/v1/chat/completions", "best_of", 2),
        ("/v1/completions", "n", 2),
        ("/v1/completions", "prompt", ["one", "two"]),
        ("/v1/completions", "prompt", [[1, 2], [3]]),
    ],
)
async def test_several_answers_for_the_price_of_one_are_refused(
    house: House, path: str, name: str, value: object
) -> None:
    async with house.post(path, body(path, **{name: value})) as reply:
        assert reply.status == 400
        assert name in (await reply.json())["error"]["message"]


@pytest.mark.parametrize("keep_alive", [0, 0.0, -0.0, "0", "0s", "0m", "0h0m0.0s", "-0"])
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_a_client_neither_unloads_a_model_nor_loads_it_by_trying_to(
    house: House, path: str, keep_alive: object
) -> None:
    ask = {"model": MODEL, "keep_alive": keep_alive}
    async with house.post(path, ask) as reply:
        answer = await reply.json()
        assert (reply.status, answer["done"], answer["done_reason"]) == (200, True, "unload")
    assert "nothing was done" in answer["_gateway"]["note"]
    engine = house.gateway.upstream.engine
    assert await engine.loaded() == ()
    async with house.post(path, body(path)) as reply:
        await reply.read()
    async with house.post(path, ask) as reply:
        assert reply.status == 200
    assert [one.name for one in await engine.loaded()] == [MODEL]
    assert len(await house.usage()) == 1
