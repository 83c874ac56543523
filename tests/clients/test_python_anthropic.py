"""Anthropic's own Python client through the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pydantic
import pytest

from tests.clients.conftest import CALL, MODEL, PICTURE, PLAIN, SCHEMA, settle
from tests.gateway.conftest import Build, House

ASK: list[Any] = [{"role": "user", "content": "Who are you?"}]
TOOLS: list[Any] = [{"name": "weather", "description": "How it is outside.", "input_schema": SCHEMA}]


class Weather(pydantic.BaseModel):
    city: str
    days: int


def client(house: House, key: str | None = None, **more: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        base_url=house.gateway.address,
        api_key=house.key if key is None else key,
        **{"max_retries": 0, **more},
    )


@pytest.fixture
async def claude(seeing: House) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with client(seeing) as made:
        yield made


async def test_a_message_comes_whole_with_usage_and_what_it_took(claude: anthropic.AsyncAnthropic) -> None:
    answer = await claude.messages.create(model=PLAIN, max_tokens=8, messages=ASK, system="Be brief.")
    assert answer.content[0].type == "text"
    assert answer.content[0].text
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 8)
    assert (answer.model_extra or {})["_gateway"]["completion_tokens"] == 8


async def test_a_message_streams_and_its_last_event_says_what_it_took(
    claude: anthropic.AsyncAnthropic,
) -> None:
    async with claude.messages.stream(model=PLAIN, max_tokens=8, messages=ASK) as stream:
        final = await stream.get_final_message()
    assert final.usage.output_tokens == 8
    assert final.stop_reason == "max_tokens"
    raw = [
        one
        async for one in await claude.messages.create(model=PLAIN, max_tokens=8, messages=ASK, stream=True)
    ]
    assert [raw[0].type, raw[-1].type] == ["message_start", "message_stop"]
    # The helper above makes events of its own from those that come; these are the ones that came.
    assert (raw[-1].model_extra or {})["_gateway"]["completion_tokens"] == 8


async def test_a_model_thinks_and_says_so(claude: anthropic.AsyncAnthropic) -> None:
    asked: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 2048,
        "messages": ASK,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    answer = await claude.messages.create(**asked)
    assert [block.type for block in answer.content] == ["thinking", "text"]
    async with claude.messages.stream(**asked) as stream:
        final = await stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]
    quiet = await claude.messages.create(**asked | {"thinking": {"type": "disabled"}})
    assert [block.type for block in quiet.content] == ["text"]


async def test_a_tool_is_called_and_its_result_answered(claude: anthropic.AsyncAnthropic) -> None:
    ask: list[Any] = [{"role": "user", "content": CALL}]
    answer = await claude.messages.create(model=PLAIN, max_tokens=256, messages=ask, tools=TOOLS)
    (call,) = [block for block in answer.content if block.type == "tool_use"]
    assert (answer.stop_reason, call.name, call.input) == (
        "tool_use",
        "weather",
        {"city": "simulated", "days": 1},
    )
    async with claude.messages.stream(model=PLAIN, max_tokens=256, messages=ask, tools=TOOLS) as stream:
        final = await stream.get_final_message()
    assert [block.input for block in final.content if block.type == "tool_use"] == [call.input]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Rain."}
    talk = [*ask, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    answer = await claude.messages.create(model=PLAIN, max_tokens=256, messages=talk, tools=TOOLS)
    assert [block.type for block in answer.content] == ["text"]


async def test_a_picture_and_a_stop_sequence_pass(claude: anthropic.AsyncAnthropic) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
    content: list[Any] = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
    seen: list[Any] = [{"role": "user", "content": content}]
    answer = await claude.messages.create(model=MODEL, max_tokens=64, messages=seen)
    assert answer.usage.input_tokens > 768
    answer = await claude.messages.create(
        model=PLAIN, max_tokens=64, messages=ASK, stop_sequences=[" no model"]
    )
    assert answer.content[0].text == "This is a simulated answer:"  # type: ignore[union-attr]


async def test_models_are_listed_and_described(claude: anthropic.AsyncAnthropic) -> None:
    models = {model.id: model async for model in claude.models.list()}
    assert {PLAIN, MODEL} <= models.keys()
    one = await claude.models.retrieve(PLAIN)
    assert one == models[PLAIN]
    assert (one.type, one.display_name, one.created_at.year >= 2024) == ("model", PLAIN, True)
    assert [model.id async for model in claude.beta.models.list(limit=1)] == list(models), (
        "on one page, all of them"
    )
    assert (await claude.beta.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(anthropic.NotFoundError):
        await claude.models.retrieve("no-such-model")


@pytest.mark.parametrize("beta", [False, True])
async def test_a_form_is_passed_on_but_ollama_does_not_keep_it(
    claude: anthropic.AsyncAnthropic, beta: bool
) -> None:
    """Of `output_config` it knows the effort alone (its `anthropic/anthropic.go`); the client says that prose came."""
    asked: dict[str, Any] = {"model": PLAIN, "max_tokens": 64, "messages": ASK, "output_format": Weather}
    with pytest.raises(pydantic.ValidationError):
        await (claude.beta.messages.parse(**asked) if beta else claude.messages.parse(**asked))


async def test_the_beta_surface_is_the_same_endpoint(claude: anthropic.AsyncAnthropic) -> None:
    answer = await claude.beta.messages.create(model=PLAIN, max_tokens=8, messages=ASK, betas=["some-beta"])
    assert answer.usage.output_tokens == 8
    async with claude.beta.messages.stream(model=PLAIN, max_tokens=8, messages=ASK) as stream:
        final = await stream.get_final_message()
    assert final.usage.output_tokens == 8
    with pytest.raises(anthropic.APIStatusError) as caught:
        await claude.beta.messages.count_tokens(model=PLAIN, messages=ASK)
    assert caught.value.status_code == 501


async def test_the_tool_runner_runs_the_clients_tools(claude: anthropic.AsyncAnthropic) -> None:
    asked: list[tuple[str, int]] = []

    @anthropic.beta_async_tool
    async def weather(city: str, days: int) -> str:
        """How it is outside."""
        asked.append((city, days))
        return "Rain."

    ask: list[Any] = [{"role": "user", "content": CALL}]
    runner = claude.beta.messages.tool_runner(model=PLAIN, max_tokens=256, messages=ask, tools=[weather])
    answer = await runner.until_done()
    assert asked == [("simulated", 1)]
    assert [block.type for block in answer.content] == ["text"]


async def test_raw_responses_show_the_headers_and_the_body(claude: anthropic.AsyncAnthropic) -> None:
    raw = await claude.messages.with_raw_response.create(model=PLAIN, max_tokens=8, messages=ASK)
    assert raw.headers["x-request-id"] == ((await raw.parse()).model_extra or {})["_gateway"]["request_id"]


async def test_the_plain_client_works_as_the_async_one(seeing: House) -> None:
    def ask() -> tuple[str, int]:
        with anthropic.Anthropic(base_url=seeing.gateway.address, api_key=seeing.key) as plain:
            with plain.messages.stream(model=PLAIN, max_tokens=8, messages=ASK) as stream:
                text = "".join(stream.text_stream)
            return text, plain.messages.create(model=PLAIN, max_tokens=8, messages=ASK).usage.output_tokens

    text, count = await asyncio.to_thread(ask)
    assert text.startswith("This is a simulated answer")
    assert count == 8


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, anthropic.AuthenticationError),
        (402, anthropic.APIStatusError),
        (404, anthropic.NotFoundError),
        (413, anthropic.APIStatusError),
        (503, anthropic.APIStatusError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_goes_wrong_is_raised_as_its_own_error(
    build: Build, status: int, error: type[anthropic.APIStatusError], stream: bool
) -> None:
    house = await build(max_body_mb=1)
    await settle(house, status)
    asked: dict[str, Any] = {"model": PLAIN if status != 404 else "no-such-model", "max_tokens": 8}
    asked["messages"] = [{"role": "user", "content": "Hi" * (1_000_000 if status == 413 else 1)}]
    async with client(house, "mg_wrong" if status == 401 else None) as claude:
        with pytest.raises(error) as caught:
            await claude.messages.create(**asked, stream=stream)
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["code"]


async def test_tokens_are_counted_by_the_engine_or_not_at_all(claude: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        await claude.messages.count_tokens(model=PLAIN, messages=ASK)
    assert caught.value.status_code == 501  # Ollama has no such endpoint


async def test_a_stream_that_breaks_raises(claude: anthropic.AsyncAnthropic) -> None:
    for words in ("[simulate: error after 3 tokens]", "[simulate: close after 3 tokens]"):
        ask: list[Any] = [{"role": "user", "content": words}]
        async with claude.messages.stream(model=PLAIN, max_tokens=64, messages=ask) as stream:
            with pytest.raises(anthropic.APIError):
                await stream.until_done()
