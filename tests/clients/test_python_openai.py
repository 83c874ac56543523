"""OpenAI's own Python client through the gateway."""

from __future__ import annotations

import asyncio
import json
import warnings
from typing import Any

import openai
import pydantic
import pytest

from tests.clients.conftest import CALL, MODEL, PICTURE, PLAIN, SCHEMA, VECTORS, settle
from tests.gateway.conftest import Build, House

ASK: list[Any] = [{"role": "user", "content": "Who are you?"}]
FUNCTION = {"name": "weather", "description": "How it is outside.", "parameters": SCHEMA}
TOOLS: list[Any] = [{"type": "function", "function": FUNCTION}]


class Weather(pydantic.BaseModel):
    city: str
    days: int


def client(house: House, key: str | None = None, **more: Any) -> openai.AsyncOpenAI:
    url = f"{house.gateway.address}/v1"
    return openai.AsyncOpenAI(
        base_url=url, api_key=house.key if key is None else key, **{"max_retries": 0, **more}
    )


def told(answer: pydantic.BaseModel) -> dict[str, Any]:
    return (answer.model_extra or {})["_gateway"]


@pytest.fixture
async def ai(seeing: House) -> Any:
    async with client(seeing) as made:
        yield made


async def test_models_are_listed_and_described(ai: openai.AsyncOpenAI) -> None:
    assert {PLAIN, MODEL} <= {model.id async for model in ai.models.list()}
    assert (await ai.models.retrieve(PLAIN)).id == PLAIN


async def test_a_chat_with_a_tool_a_picture_and_probabilities(ai: openai.AsyncOpenAI) -> None:
    ask: list[Any] = [{"role": "user", "content": CALL}]
    answer = await ai.chat.completions.create(model=PLAIN, messages=ask, tools=TOOLS)
    (call,) = answer.choices[0].message.tool_calls or []
    assert answer.choices[0].finish_reason == "tool_calls"
    assert json.loads(call.function.arguments) == {"city": "simulated", "days": 1}  # type: ignore[union-attr]
    stream = await ai.chat.completions.create(model=PLAIN, messages=ask, tools=TOOLS, stream=True)
    chunks = [chunk async for chunk in stream]
    assert any(chunk.choices[0].delta.tool_calls for chunk in chunks)
    talk = [*ask, answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "Rain."}]
    assert (
        (await ai.chat.completions.create(model=PLAIN, messages=talk, tools=TOOLS)).choices[0].message.content
    )
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    seen: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]
    answer = await ai.chat.completions.create(
        model=MODEL, messages=seen, logprobs=True, top_logprobs=2, reasoning_effort="low"
    )
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 768
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.content
    assert (answer.choices[0].message.model_extra or {})["reasoning"]


async def test_an_answer_of_a_given_form_is_parsed(ai: openai.AsyncOpenAI) -> None:
    answer = await ai.chat.completions.parse(model=PLAIN, messages=ASK, response_format=Weather)
    assert answer.choices[0].message.parsed == Weather(city="simulated", days=1)
    response = await ai.responses.parse(model=PLAIN, input="How is it?", text_format=Weather)
    assert response.output_parsed == Weather(city="simulated", days=1)


async def test_the_helper_that_streams_a_chat_gathers_and_parses_it(ai: openai.AsyncOpenAI) -> None:
    async with ai.chat.completions.stream(model=PLAIN, messages=ASK, response_format=Weather) as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.parsed == Weather(city="simulated", days=1)


async def test_the_beta_surface_is_the_same_endpoint(ai: openai.AsyncOpenAI) -> None:
    chat: dict[str, Any] = {"model": PLAIN, "messages": ASK, "max_tokens": 8}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        answer = await ai.beta.chat.completions.create(**chat)
        assert told(answer)["completion_tokens"] == 8
        # The helper raises where the answer was cut off at its largest length, so here there is none.
        async with ai.beta.chat.completions.stream(model=PLAIN, messages=ASK) as stream:
            final = await stream.get_final_completion()
        assert (final.choices[0].message.content or "").startswith(answer.choices[0].message.content or "?")
        parsed = await ai.beta.chat.completions.parse(model=PLAIN, messages=ASK, response_format=Weather)
        assert parsed.choices[0].message.parsed == Weather(city="simulated", days=1)
        response = await ai.beta.responses.create(model=PLAIN, input="Hello", max_output_tokens=8)
    assert told(response)["completion_tokens"] == 8


async def test_raw_and_streaming_responses_show_the_headers_and_the_body(ai: openai.AsyncOpenAI) -> None:
    raw = await ai.chat.completions.with_raw_response.create(model=PLAIN, messages=ASK, max_tokens=8)
    assert raw.headers["x-request-id"] == told(raw.parse())["request_id"]
    streaming = ai.responses.with_streaming_response.create(model=PLAIN, input="Hello", max_output_tokens=8)
    async with streaming as response:
        assert (await response.parse()).output_text
    listed = await ai.models.with_raw_response.list()
    assert listed.http_response.json()["object"] == "list"


async def test_completions_whole_and_streamed(ai: openai.AsyncOpenAI) -> None:
    answer = await ai.completions.create(model=PLAIN, prompt="Hello", max_tokens=8)
    assert answer.choices[0].text
    assert (answer.usage and answer.usage.completion_tokens, told(answer)["completion_tokens"]) == (8, 8)
    for usage in (True, False):
        more: dict[str, Any] = {"stream_options": {"include_usage": True}} if usage else {}
        stream = await ai.completions.create(model=PLAIN, prompt="Hello", max_tokens=8, stream=True, **more)
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == answer.choices[0].text
        assert (chunks[-1].usage is not None) is usage
        assert told(chunks[-1])["completion_tokens"] == 8


async def test_embeddings_are_the_same_in_either_encoding(ai: openai.AsyncOpenAI) -> None:
    plain = await ai.embeddings.create(model=VECTORS, input=["one", "two"], encoding_format="float")
    packed = await ai.embeddings.create(model=VECTORS, input=["one", "two"])  # base64 underneath
    assert [len(one.embedding) for one in plain.data] == [768, 768]
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding)
    assert told(plain)["prompt_tokens"] == plain.usage.prompt_tokens
    assert len((await ai.embeddings.create(model=VECTORS, input="x", dimensions=64)).data[0].embedding) == 64


async def test_a_response_whole_and_streamed(ai: openai.AsyncOpenAI) -> None:
    asked: dict[str, Any] = {
        "model": PLAIN,
        "input": "Hello",
        "instructions": "Be brief.",
        "max_output_tokens": 8,
    }
    answer = await ai.responses.create(**asked)
    assert answer.output_text
    assert answer.usage is not None
    assert (answer.usage.output_tokens, told(answer)["completion_tokens"]) == (8, 8)
    events = [event async for event in await ai.responses.create(**asked, stream=True)]
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    assert told(events[-1])["completion_tokens"] == 8
    async with ai.responses.stream(**asked) as stream:
        final = await stream.get_final_response()
    assert final.output_text == answer.output_text


async def test_a_response_reasons_sees_and_calls_tools(ai: openai.AsyncOpenAI) -> None:
    tools: list[Any] = [{"type": "function", "strict": False, **FUNCTION}]
    answer = await ai.responses.create(model=PLAIN, input=CALL, tools=tools)
    (call,) = answer.output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"city": "simulated", "days": 1}
    async with ai.responses.stream(model=PLAIN, input=CALL, tools=tools) as stream:
        final = await stream.get_final_response()
    assert [item.type for item in final.output] == ["function_call"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Rain."}
    talk: list[Any] = [{"role": "user", "content": CALL}, call, result]
    assert (await ai.responses.create(model=PLAIN, input=talk, tools=tools)).output_text
    picture = {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PICTURE}"}
    seen: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "What is it?"}, picture]}]
    answer = await ai.responses.create(model=MODEL, input=seen, reasoning={"effort": "low"})
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        await ai.responses.create(model=PLAIN, input="And?", previous_response_id=answer.id)


async def test_the_plain_client_works_as_the_async_one(seeing: House) -> None:
    def ask() -> list[int]:
        with openai.OpenAI(base_url=f"{seeing.gateway.address}/v1", api_key=seeing.key) as plain:
            with plain.chat.completions.create(
                model=PLAIN, messages=ASK, max_tokens=8, stream=True
            ) as stream:
                chunks = len(list(stream))
            with plain.responses.stream(model=PLAIN, input="Hello", max_output_tokens=8) as events:
                usage = events.get_final_response().usage
            return [chunks, usage.output_tokens if usage else 0]

    assert await asyncio.to_thread(ask) == [9, 8]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, openai.AuthenticationError),
        (402, openai.APIStatusError),
        (404, openai.NotFoundError),
        (413, openai.APIStatusError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("path", ["chat", "completions", "responses", "embeddings"])
async def test_what_goes_wrong_is_raised_as_its_own_error(
    build: Build, status: int, error: type[openai.APIStatusError], path: str
) -> None:
    house = await build(max_body_mb=1)
    await settle(house, status)
    model = PLAIN if status != 404 else "no-such-model"
    text = "Hi" * (1_000_000 if status == 413 else 1)
    async with client(house, "mg_wrong" if status == 401 else None) as ai:
        asks: dict[str, Any] = {
            "chat": lambda: ai.chat.completions.create(
                model=model, messages=[{"role": "user", "content": text}]
            ),
            "completions": lambda: ai.completions.create(model=model, prompt=text),
            "responses": lambda: ai.responses.create(model=model, input=text),
            "embeddings": lambda: ai.embeddings.create(model=model, input=text),
        }
        with pytest.raises(error) as caught:
            await asks[path]()
    assert caught.value.status_code == status
    assert caught.value.code


async def test_a_response_that_breaks_off_says_that_it_failed(ai: openai.AsyncOpenAI) -> None:
    stream = await ai.responses.create(model=PLAIN, input="[simulate: close after 3 tokens]", stream=True)
    events = [event async for event in stream]
    last: Any = events[-1]
    assert (last.type, last.response.status) == ("response.failed", "failed")
    assert last.response.error.code == "server_error"
    assert told(last)["outcome"] == "upstream_error"
