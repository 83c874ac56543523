"""The simulator, asked by OpenAI's own Python package."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from app.simulator import Simulator

MODEL = "qwen2.5:3b"
HELLO: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{simulator.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


async def test_a_chat_is_answered_whole(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=MODEL, messages=HELLO)
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert (choice.message.content or "").startswith("This is a simulated answer")
    assert choice.finish_reason == "stop"
    assert answer.object == "chat.completion"
    assert answer.model == MODEL
    assert answer.system_fingerprint == "fp_ollama"
    assert answer.id.startswith("chatcmpl-")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens == len((choice.message.content or "").split())


async def test_a_streamed_chat_adds_up_and_tells_usage_only_when_asked(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model=MODEL, messages=HELLO)
    plain = [
        chunk
        async for chunk in await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    ]
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in plain) == whole.choices[0].message.content
    )
    assert plain[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in plain] == [None] * (len(plain) - 1) + ["stop"]
    assert all(chunk.usage is None for chunk in plain)
    assert len({(chunk.id, chunk.created) for chunk in plain}) == 1
    metered = await client.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = [chunk async for chunk in metered]
    assert len(chunks) == len(plain)
    assert last.choices == []
    assert last.usage == whole.usage


async def test_the_synchronous_client_streams_too(simulator: Simulator) -> None:
    def stream() -> str:
        with openai.OpenAI(base_url=f"{simulator.url}/v1", api_key="unused", max_retries=0) as client:
            chunks = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    assert (await asyncio.to_thread(stream)).startswith("This is a simulated answer")


async def test_max_tokens_and_stop_are_honoured(client: openai.AsyncOpenAI) -> None:
    short = await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=3)
    assert (short.choices[0].message.content, short.choices[0].finish_reason) == ("This is a", "length")
    stopped = await client.chat.completions.create(model=MODEL, messages=HELLO, stop="simulated")
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("This is a ", "stop")


async def test_content_in_parts_is_one_prompt(client: openai.AsyncOpenAI) -> None:
    parts: list[ChatCompletionUserMessageParam] = [
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
    ]
    whole = await client.chat.completions.create(model=MODEL, messages=HELLO)
    answer = await client.chat.completions.create(model=MODEL, messages=parts)
    assert answer.choices[0].message.content == whole.choices[0].message.content


async def test_a_class_can_be_had_for_an_answer(client: openai.AsyncOpenAI) -> None:
    class Step(pydantic.BaseModel):
        text: str
        certain: bool

    class Plan(pydantic.BaseModel):
        steps: list[Step]
        count: int

    answer = await client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Plan)
    assert answer.choices[0].message.parsed == Plan(steps=[Step(text="simulated", certain=True)], count=1)


async def test_completions_work_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    whole = await client.completions.create(model=MODEL, prompt="hello", max_tokens=5)
    assert (whole.choices[0].text, whole.choices[0].finish_reason) == (
        "This is a simulated answer:",
        "length",
    )
    stream = await client.completions.create(
        model=MODEL, prompt="hello", max_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == "length"
    assert last.choices == []
    assert last.usage == whole.usage


async def test_embeddings_are_the_same_in_both_encodings(client: openai.AsyncOpenAI) -> None:
    # Without a wish the package asks for base64 and decodes it itself.
    packed = await client.embeddings.create(model="nomic-embed-text", input=["one", "two"])
    plain = await client.embeddings.create(
        model="nomic-embed-text", input=["one", "two"], encoding_format="float"
    )
    assert [datum.index for datum in packed.data] == [0, 1]
    for ours, theirs in zip(packed.data, plain.data, strict=True):
        assert ours.embedding == pytest.approx(theirs.embedding, abs=1e-6)
    assert packed.usage.prompt_tokens == packed.usage.total_tokens == 6
    short = await client.embeddings.create(model="nomic-embed-text", input="one", dimensions=32)
    assert len(short.data[0].embedding) == 32


async def test_models_are_listed_and_found(client: openai.AsyncOpenAI) -> None:
    listed = [model.id async for model in client.models.list()]
    assert MODEL in listed
    found = await client.models.retrieve(MODEL)
    assert (found.id, found.object, found.owned_by) == (MODEL, "model", "library")
    with pytest.raises(openai.NotFoundError, match="model 'absent' not found"):
        await client.models.retrieve("absent")


async def test_refusals_are_the_packages_own_exceptions(client: openai.AsyncOpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.NotFoundError) as absent:
            await client.chat.completions.create(model="absent", messages=HELLO, stream=stream)
        assert absent.value.body == {
            "message": "model 'absent' not found",
            "type": "not_found_error",
            "param": None,
            "code": None,
        }
    with pytest.raises(openai.BadRequestError, match="is too short - 'messages'"):
        await client.chat.completions.create(model=MODEL, messages=[])
    with pytest.raises(openai.InternalServerError, match="out of memory"):
        await client.completions.create(model=MODEL, prompt="[simulate: out of memory]")
    with pytest.raises(openai.InternalServerError, match="while running the model"):
        await client.completions.create(model=MODEL, prompt="[simulate: error]", stream=True)


async def test_a_cut_connection_is_the_packages_own_exception(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.APIConnectionError):
        await client.completions.create(model=MODEL, prompt="[simulate: close]")
