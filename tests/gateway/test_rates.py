"""Keys with rates, as their clients meet them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import openai
import pytest
from anthropic import AsyncAnthropic, RateLimitError

from app.access.limits import Limits
from tests.gateway.conftest import MODEL, Build, House, chat


async def limited(house: House, **limits: Any) -> str:
    return str((await house.gateway.keys.create("laptop", None, Limits(**limits)))["key"])


async def asked(house: House, key: str, **body: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
    async with house.post("/api/chat", chat(stream=False, **body), key=key) as reply:
        return reply.status, dict(reply.headers), await reply.json(content_type=None)


async def capped(house: House, cap: int) -> None:
    async with house.post("/config", {"SPENDING_CAP": cap}, key=house.operator) as reply:
        assert reply.status == 200


async def test_too_many_a_minute_are_429_in_words_that_every_sdk_understands(house: House) -> None:
    key = await limited(house, requests_per_minute=2)
    for left in ("1", "0"):
        status, headers, _ = await asked(house, key)
        assert (status, headers["X-RateLimit-Remaining-Requests"]) == (200, left)
        assert headers["X-RateLimit-Limit-Requests"] == "2"
    status, headers, answer = await asked(house, key)
    assert (status, headers["X-RateLimit-Remaining-Requests"]) == (429, "0")
    assert 0 < int(headers["Retry-After"]) <= 30
    assert "This key may ask 2 times a minute" in answer["error"]
    client = openai.AsyncOpenAI(base_url=house.gateway.address + "/v1", api_key=key, max_retries=0)
    async with client:
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(
                model="qwen2.5:3b", messages=[{"role": "user", "content": "Hi"}]
            )
    assert caught.value.code == "rate_limited"
    assert caught.value.response.headers["x-ratelimit-limit-requests"] == "2"
    assert (await asked(house, house.key))[0] == 200  # others do not notice


async def test_what_is_refused_before_the_engine_takes_nothing_of_the_rate(house: House) -> None:
    key = await limited(house, requests_per_minute=1)
    for _ in range(3):
        assert (await asked(house, key, model="no-such-model"))[0] == 404
    await capped(house, 0)
    for _ in range(3):
        assert (await asked(house, key))[0] == 402
    await capped(house, 10)
    assert (await asked(house, key))[0] == 200
    assert (await asked(house, key))[0] == 429


async def test_tokens_count_as_the_engine_counted_them(house: House) -> None:
    key = await limited(house, tokens_per_minute=10_000)
    _, first, answer = await asked(house, key)
    used = answer["prompt_eval_count"] + answer["eval_count"]
    _, second, _ = await asked(house, key)
    guess = 10_000 - int(first["X-RateLimit-Remaining-Tokens"])
    # What a second or so brings back is not known, only that it is no more than a minute's.
    assert int(second["X-RateLimit-Remaining-Tokens"]) >= 10_000 - used - guess
    key = await limited(house, tokens_per_minute=5)
    assert (await asked(house, key))[0] == 200
    status, headers, answer = await asked(house, key)
    assert (status, "5 tokens a minute" in answer["error"]) == (429, True)
    assert int(headers["Retry-After"]) > 60


async def test_so_many_at_once_and_whoever_leaves_makes_room(build: Build) -> None:
    house = await build(speed=1.0)
    key = await limited(house, concurrent=1)
    async with house.post("/api/chat", chat(tokens=4000), key=key) as running:
        assert running.status == 200
        await running.content.readline()
        status, headers, answer = await asked(house, key)
        assert (status, headers["Retry-After"]) == (429, "2")
        assert "one request running at a time" in answer["error"]
        running.close()
    async with asyncio.timeout(20):
        while True:
            async with house.post("/api/chat", chat(tokens=2), key=key) as reply:
                if reply.status == 200:
                    break
                assert reply.status == 429


async def test_an_address_of_the_keys_own_has_the_keys_own_rate(house: House) -> None:
    made = await house.gateway.keys.create("phone", None, Limits(requests_per_minute=1))
    own = await house.gateway.keys.create_address(made["id"])
    async with aiohttp.ClientSession() as session:
        url = house.gateway.address + own["path"].rstrip("/") + "/api/chat"
        async with session.post(url, json=chat(stream=False)) as reply:
            assert reply.status == 200
    assert (await asked(house, made["key"]))[0] == 429


async def test_anthropics_clients_hear_of_rates_in_the_names_that_they_know(house: House) -> None:
    key = await limited(house, requests_per_minute=2, tokens_per_minute=10_000)
    before = datetime.now(UTC)
    async with AsyncAnthropic(base_url=house.gateway.address, api_key=key, max_retries=0) as client:
        messages = client.messages.with_raw_response
        said: Any = {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
        first = await messages.create(**said)
        assert first.headers["anthropic-ratelimit-requests-limit"] == "2"
        assert first.headers["anthropic-ratelimit-requests-remaining"] == "1"
        assert first.headers["anthropic-ratelimit-tokens-limit"] == "10000"
        assert 0 < int(first.headers["anthropic-ratelimit-tokens-remaining"]) < 10_000
        reset = datetime.fromisoformat(first.headers["anthropic-ratelimit-requests-reset"])
        assert before < reset < before + timedelta(minutes=2)
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        async with client.messages.stream(**said) as stream:
            assert stream.response.headers["anthropic-ratelimit-requests-remaining"] == "0"
            await stream.get_final_message()
        with pytest.raises(RateLimitError) as caught:
            await messages.create(**said)
    refused = caught.value.response.headers
    assert 0 < int(refused["retry-after"]) <= 30
    assert refused["anthropic-ratelimit-requests-remaining"] == "0"
    assert datetime.fromisoformat(refused["anthropic-ratelimit-requests-reset"]) > before
    _, headers, _ = await asked(house, key)
    assert not [name for name in headers if name.lower().startswith("anthropic-")]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_a_stream_that_is_told_its_place_hears_of_rates_as_well(build: Build, path: str) -> None:
    house = await build(speed=20.0, parallel=1, engine_parallel=1)
    key = await limited(house, requests_per_minute=9)
    said = {"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with house.post("/api/chat", chat(tokens=60)) as running:
        await running.content.readline()
        async with house.post(path, said, key=key, headers={"X-Queue-Updates": "1"}) as reply:
            assert reply.headers["X-Queue-Position"] == "1"
            assert reply.headers["X-RateLimit-Remaining-Requests"] == "8"
            known = reply.headers.get("Anthropic-RateLimit-Requests-Remaining")
            assert known == ("8" if path == "/v1/messages" else None)
            await reply.read()


async def test_no_key_without_rates_hears_of_any(house: House) -> None:
    said = {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
    async with house.post("/v1/messages", said) as reply:
        assert reply.status == 200
        assert not [name for name in reply.headers if "ratelimit" in name.lower()]
