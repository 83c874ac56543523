"""The simulator, asked by Ollama's own Python package."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import AsyncIterator, Iterator

import ollama
import pytest

from app.simulator import Simulator

HELLO = [{"role": "user", "content": "hello"}]
MODEL = "llama3.1:8b"


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[ollama.AsyncClient]:
    client = ollama.AsyncClient(host=simulator.url)
    yield client
    await client._client.aclose()


@pytest.fixture
def sync_client(simulator: Simulator) -> Iterator[ollama.Client]:
    client = ollama.Client(host=simulator.url)
    yield client
    client._client.close()


async def test_a_chat_is_answered_whole(client: ollama.AsyncClient) -> None:
    answer = await client.chat(MODEL, messages=HELLO)
    assert answer.message.role == "assistant"
    assert answer.message.content is not None
    assert answer.message.content.startswith("This is a simulated answer")
    assert (answer.done, answer.done_reason, answer.model) == (True, "stop", MODEL)
    for duration in (answer.load_duration, answer.prompt_eval_duration, answer.eval_duration):
        assert duration is not None
        assert 0 < duration <= (answer.total_duration or 0)
    assert answer.prompt_eval_count == 13
    assert answer.eval_count == len(answer.message.content.split())


async def test_a_streamed_chat_adds_up_to_the_same_answer(client: ollama.AsyncClient) -> None:
    whole = await client.chat(MODEL, messages=HELLO)
    parts = [part async for part in await client.chat(MODEL, messages=HELLO, stream=True)]
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count == whole.eval_count == len(parts) - 1
    assert parts[-1].message.content == ""


async def test_the_synchronous_client_streams_too(simulator: Simulator, sync_client: ollama.Client) -> None:
    def stream() -> str:
        return "".join(part.response or "" for part in sync_client.generate(MODEL, "hello", stream=True))

    assert (await asyncio.to_thread(stream)).startswith("This is a simulated answer")


async def test_num_predict_is_honoured(client: ollama.AsyncClient) -> None:
    answer = await client.generate(MODEL, "hello", options={"num_predict": 3})
    assert (answer.response, answer.eval_count, answer.done_reason) == ("This is a", 3, "length")
    unlimited = await client.generate(MODEL, "hello", options={"num_predict": -1})
    assert unlimited.done_reason == "stop"
    assert (unlimited.eval_count or 0) >= 28


async def test_a_stop_sequence_ends_the_answer_before_it(client: ollama.AsyncClient) -> None:
    answer = await client.generate(MODEL, "hello", options={"stop": ["no model", "absent"]})
    assert (answer.response, answer.done_reason) == ("This is a simulated answer: ", "stop")


async def test_structured_output_fits_its_schema(client: ollama.AsyncClient) -> None:
    schema = {
        "type": "object",
        "$defs": {"Size": {"enum": ["small", "large"]}},
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer"},
            "sizes": {"type": "array", "items": {"$ref": "#/$defs/Size"}},
        },
    }
    answer = await client.chat(MODEL, messages=HELLO, format=schema)
    assert json.loads(answer.message.content or "") == {"name": "simulated", "age": 1, "sizes": ["small"]}
    free = await client.chat(MODEL, messages=HELLO, format="json")
    assert json.loads(free.message.content or "")["simulated"] is True


async def test_embeddings_are_unit_vectors_that_depend_on_the_text(client: ollama.AsyncClient) -> None:
    answer = await client.embed("nomic-embed-text", input=["one", "two", "one"])
    first, second, third = answer.embeddings
    assert len(first) == 768
    assert sum(value * value for value in first) == pytest.approx(1, abs=1e-4)
    assert list(first) == list(third) != list(second)
    assert answer.prompt_eval_count == 9
    assert (answer.total_duration or 0) > 0
    short = await client.embed("nomic-embed-text", input="one", dimensions=64)
    assert len(short.embeddings[0]) == 64
    old = await client.embeddings("nomic-embed-text", prompt="one")
    assert list(old.embedding) == list(first)


async def test_list_show_and_ps_agree(client: ollama.AsyncClient) -> None:
    listed = {model.model: model for model in (await client.list()).models}
    assert set(listed) == {"llama3.1:8b", "qwen2.5:3b", "mortdecai:0.5.0", "nomic-embed-text:latest"}
    assert (await client.ps()).models == []
    await client.generate(MODEL, "hello", keep_alive="10m")
    (loaded,) = (await client.ps()).models
    assert (loaded.model, loaded.name, loaded.digest) == (MODEL, MODEL, listed[MODEL].digest)
    assert loaded.size == loaded.size_vram
    assert (loaded.size or 0) > (listed[MODEL].size or 0)
    assert loaded.expires_at is not None
    left = loaded.expires_at - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(minutes=9) < left <= datetime.timedelta(minutes=10)
    shown = await client.show(MODEL)
    assert shown.details == listed[MODEL].details == loaded.details
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo is not None
    assert shown.modelinfo["general.architecture"] == "llama"
    assert "simulated" in (shown.modelfile or "")


async def test_a_model_can_be_loaded_and_unloaded_without_a_prompt(client: ollama.AsyncClient) -> None:
    assert (await client.generate(MODEL)).done_reason == "load"
    assert [model.model for model in (await client.ps()).models] == [MODEL]
    assert (await client.generate(MODEL, keep_alive=0)).done_reason == "unload"
    assert (await client.ps()).models == []
    assert (await client.chat(MODEL, messages=[])).done_reason == "load"
    assert (await client.chat(MODEL, messages=[], keep_alive="0s")).done_reason == "unload"
    assert (await client.ps()).models == []


async def test_keep_alive_zero_unloads_after_the_answer_and_a_negative_one_never(
    client: ollama.AsyncClient,
) -> None:
    await client.generate(MODEL, "hello", keep_alive=0)
    assert (await client.ps()).models == []
    await client.generate(MODEL, "hello", keep_alive=-1)
    (loaded,) = (await client.ps()).models
    assert loaded.expires_at is not None
    assert loaded.expires_at.year > 2200


async def chat_to_the_end(client: ollama.AsyncClient, name: str, *, stream: bool) -> None:
    if stream:
        async for _ in await client.chat(name, messages=HELLO, stream=True):
            pass
    else:
        await client.chat(name, messages=HELLO)


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("absent", 404, "model 'absent' not found"),
        ("llama3.1", 404, "model 'llama3.1' not found"),
        ("nomic-embed-text", 400, '"nomic-embed-text" does not support chat'),
    ],
)
async def test_refusals_are_in_ollamas_words(
    client: ollama.AsyncClient, name: str, status: int, words: str
) -> None:
    for stream in (False, True):
        with pytest.raises(ollama.ResponseError) as refused:
            await chat_to_the_end(client, name, stream=stream)
        assert (refused.value.status_code, refused.value.error) == (status, words)


@pytest.mark.parametrize(
    "name", ["registry.ollama.ai/library/llama3.1:8b", "LLAMA3.1:8B", "library/llama3.1:8b"]
)
async def test_a_model_answers_to_every_name_that_ollama_takes_for_it(
    client: ollama.AsyncClient, name: str
) -> None:
    answer = await client.chat(name, messages=HELLO)
    assert answer.model == name


async def test_thinking_is_refused_by_models_that_do_not(client: ollama.AsyncClient) -> None:
    with pytest.raises(ollama.ResponseError, match="does not support thinking"):
        await client.chat(MODEL, messages=HELLO, think=True)


async def test_an_error_in_the_middle_of_a_stream_raises_there(client: ollama.AsyncClient) -> None:
    parts: list[str | None] = []
    message = [{"role": "user", "content": "[simulate: error after 3 tokens]"}]
    stream = await client.chat(MODEL, messages=message, stream=True)
    with pytest.raises(ollama.ResponseError, match="an error was encountered while running the model"):
        parts.extend([part.message.content async for part in stream])
    whole = client.chat(MODEL, messages=message)
    with pytest.raises(ollama.ResponseError) as failed:
        await whole
    assert failed.value.status_code == 500


async def test_what_cannot_be_loaded_is_an_internal_error(client: ollama.AsyncClient) -> None:
    with pytest.raises(ollama.ResponseError, match="out of memory") as failed:
        await client.generate(MODEL, "[simulate: out of memory]")
    assert failed.value.status_code == 500
    assert (await client.ps()).models == []
