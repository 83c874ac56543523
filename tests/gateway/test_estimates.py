"""`POST /v1/estimate` says what a request would take by what the ledger knows, and nothing where it knows nothing."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.gateway.conftest import MODEL, Build, House, chat


async def estimate(house: House, body: Any, status: int = 200, **more: Any) -> dict[str, Any]:
    async with house.post("/v1/estimate", body, **more) as reply:
        assert reply.status == status, await reply.text()
        return dict(await reply.json())


async def test_a_model_that_nobody_has_asked_yet_is_not_guessed_at(house: House) -> None:
    told = await estimate(house, {"model": MODEL, "prompt_tokens": 10, "max_tokens": 100})
    assert (told["seconds"], told["energy_wh"], told["estimated_cost"], told["based_on_requests"]) == (
        None,
        None,
        None,
        0,
    )
    assert (told["prompt_tokens"], told["completion_tokens"], told["wait_seconds"]) == (10, 100, 0)


async def test_a_quote_comes_near_to_what_the_request_then_takes_and_costs(build: Build) -> None:
    house = await build(speed=5.0, carbon_intensity=400)
    for tokens in (50, 50, 100, 200, 300):
        async with house.post(
            "/api/chat", chat(f"[simulate: {tokens} tokens]", stream=False, tokens=tokens)
        ) as reply:
            assert reply.status == 200
    body = chat("[simulate: 150 tokens]", stream=False, tokens=150)
    told = await estimate(house, body)
    records = len(await house.usage())
    async with house.post("/api/chat", body) as reply:
        took = (await reply.json())["_gateway"]
    assert records == 5  # the quote itself is nothing that is recorded
    assert told["completion_tokens"] == 150
    assert told["seconds"] == pytest.approx(took["duration_seconds"], rel=0.5)
    assert told["energy_wh"] == pytest.approx(took["energy_wh"], rel=0.5)
    assert told["estimated_cost"] == pytest.approx(told["energy_wh"] / 1000 * 0.15, rel=1e-3)
    assert told["carbon_g"] == pytest.approx(told["energy_wh"] / 1000 * 400)


async def test_the_longest_answer_that_the_key_may_have_bounds_the_quote(build: Build) -> None:
    house = await build(max_output_tokens=64)
    assert (await estimate(house, {"model": MODEL, "max_tokens": 4000}))["completion_tokens"] == 64


async def test_texts_are_counted_however_they_are_nested(house: House) -> None:
    nested = {
        "model": MODEL,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 40}]}],
        "system": "y" * 4,
    }
    assert (await estimate(house, nested))["prompt_tokens"] == 11


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "model_required"),
        ({"model": 7}, 400, "model_required"),
        ({"model": "nothing:1b"}, 404, "model_not_found"),
        ({"model": MODEL, "max_tokens": -1}, 400, "invalid_value"),
        ({"model": MODEL, "max_tokens": True}, 400, "invalid_value"),
        ({"model": MODEL, "prompt_tokens": "many"}, 400, "invalid_value"),
        ([], 400, None),
    ],
)
async def test_what_cannot_be_quoted_is_refused_in_openais_words(
    house: House, body: Any, status: int, code: str | None
) -> None:
    told = await estimate(house, body, status)
    assert told["error"]["message"]
    if code is not None:
        assert told["error"]["code"] == code


async def test_nobody_gets_a_quote_without_a_key(house: House) -> None:
    await estimate(house, {"model": MODEL}, 401, key="mg_" + "0" * 43)


async def test_the_official_client_can_ask_for_one(house: House) -> None:
    client = openai.AsyncOpenAI(base_url=f"{house.gateway.address}/v1", api_key=house.key)
    told = await client.post("/estimate", body={"model": MODEL, "max_tokens": 5}, cast_to=dict[str, Any])
    assert told["object"] == "estimate"
    await client.close()
