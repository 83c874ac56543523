"""Ollama's own Python client through the gateway."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import ollama
import pytest

from tests.clients.conftest import CALL, MODEL, PICTURE, PLAIN, SCHEMA, VECTORS, settle
from tests.gateway.conftest import Build, House

ASK: list[Any] = [{"role": "user", "content": "Who are you?"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]


def client(house: House, key: str | None = None) -> ollama.AsyncClient:
    held = house.key if key is None else key
    return ollama.AsyncClient(house.gateway.address, headers={"Authorization": f"Bearer {held}"})


@pytest.fixture
async def llama(seeing: House) -> Any:
    made = client(seeing)
    yield made
    await made._client.aclose()


async def test_models_are_listed_shown_and_seen_to_be_loaded(llama: ollama.AsyncClient) -> None:
    assert {PLAIN, MODEL} <= {model.model for model in (await llama.list()).models}
    assert (await llama.show(MODEL)).capabilities == ["completion", "vision", "tools", "thinking"]
    await llama.generate(PLAIN, "Hello", options={"num_predict": 2})
    assert [model.model for model in (await llama.ps()).models] == [PLAIN]


async def test_a_chat_thinks_and_its_probabilities_are_told(llama: ollama.AsyncClient) -> None:
    answer = await llama.chat(MODEL, ASK, think=True, logprobs=True, top_logprobs=2)
    assert answer.message.thinking
    assert answer.message.content
    assert answer.logprobs
    assert answer.logprobs[0].token in answer.message.content
    parts = [part async for part in await llama.chat(MODEL, ASK, think=True, logprobs=True, stream=True)]
    assert "".join(part.message.thinking or "" for part in parts) == answer.message.thinking
    assert "".join(part.message.content or "" for part in parts) == answer.message.content
    assert all(part.logprobs for part in parts[:-1])
    quiet = await llama.chat(MODEL, ASK, think=False)
    assert quiet.message.thinking is None


async def test_a_tool_is_called_and_its_result_answered(llama: ollama.AsyncClient) -> None:
    ask: list[Any] = [{"role": "user", "content": CALL}]
    answer = await llama.chat(PLAIN, ask, tools=TOOLS)
    (call,) = answer.message.tool_calls or []
    assert (call.function.name, call.function.arguments) == ("weather", {"city": "simulated", "days": 1})
    parts = [part async for part in await llama.chat(PLAIN, ask, tools=TOOLS, stream=True)]
    assert [one.function.name for part in parts for one in part.message.tool_calls or []] == ["weather"]
    talk = [*ask, answer.message, {"role": "tool", "tool_name": "weather", "content": "Rain."}]
    assert (await llama.chat(PLAIN, talk, tools=TOOLS)).message.content


async def test_an_answer_has_the_form_it_was_given(llama: ollama.AsyncClient) -> None:
    answer = await llama.chat(PLAIN, ASK, format=SCHEMA)
    assert json.loads(answer.message.content or "") == {"city": "simulated", "days": 1}
    written = await llama.generate(PLAIN, "Hello", format="json")
    assert json.loads(written.response)["simulated"] is True


async def test_a_picture_passes(llama: ollama.AsyncClient) -> None:
    answer = await llama.chat(MODEL, [{"role": "user", "content": "What is it?", "images": [PICTURE]}])
    assert (answer.prompt_eval_count or 0) > 768
    written = await llama.generate(MODEL, "What is it?", images=[PICTURE])
    assert (written.prompt_eval_count or 0) > 768


async def test_vectors_come_in_the_new_way_and_in_the_old(llama: ollama.AsyncClient) -> None:
    new = await llama.embed(VECTORS, ["one", "two"], dimensions=64)
    assert [len(vector) for vector in new.embeddings] == [64, 64]
    assert new.prompt_eval_count == 6
    old = await llama.embeddings(VECTORS, "one")
    assert len(old.embedding) == 768


async def test_the_plain_client_works_as_the_async_one(seeing: House) -> None:
    def ask() -> tuple[str, int]:
        headers = {"Authorization": f"Bearer {seeing.key}"}
        plain = ollama.Client(seeing.gateway.address, headers=headers)
        text = "".join(part.response for part in plain.generate(PLAIN, "Hello", stream=True))
        count = len(plain.embed(VECTORS, "one").embeddings)
        plain._client.close()
        return text, count

    text, count = await asyncio.to_thread(ask)
    assert text.startswith("This is a simulated answer")
    assert count == 1


async def test_what_the_gateway_keeps_to_itself_is_refused_in_words(llama: ollama.AsyncClient) -> None:
    for asked in (
        llama.pull(PLAIN),
        llama.delete(PLAIN),
        llama.copy(PLAIN, "mine"),
        llama.create("mine", from_=PLAIN),
    ):
        with pytest.raises(ollama.ResponseError) as caught:
            await asked
        assert caught.value.status_code == 403


async def test_a_model_that_judges_is_not_shared(llama: ollama.AsyncClient) -> None:
    question = {"type": "noul", "instructions": "Is it so?"}
    with pytest.raises(ollama.ResponseError, match="There is no such endpoint here") as caught:
        await llama.systemone(PLAIN, "x", {"so": question})
    assert caught.value.status_code == 404


async def test_the_web_is_searched_elsewhere_with_the_same_header(house: House) -> None:
    """docs/clients.md warns of it: whatever key the client has goes to ollama.com."""
    went: list[tuple[str, str]] = []

    async def stop(request: httpx.Request) -> None:
        went.append((str(request.url), request.headers["authorization"]))
        raise httpx.ConnectError("stopped by the test")

    llama = client(house)
    llama._client.event_hooks = {"request": [stop], "response": []}
    for asked in (llama.web_search("x"), llama.web_fetch("https://example.org")):
        with pytest.raises(ConnectionError):
            await asked
    await llama._client.aclose()
    held = f"Bearer {house.key}"
    assert went == [("https://ollama.com/api/web_search", held), ("https://ollama.com/api/web_fetch", held)]


@pytest.mark.parametrize("status", [401, 402, 404, 413, 503])
@pytest.mark.parametrize("path", ["chat", "generate", "embed", "embeddings"])
async def test_what_goes_wrong_is_raised_with_its_status(build: Build, status: int, path: str) -> None:
    house = await build(max_body_mb=1)
    await settle(house, status)
    model = PLAIN if status != 404 else "no-such-model"
    text = "Hi" * (1_000_000 if status == 413 else 1)
    llama = client(house, "mg_wrong" if status == 401 else None)
    asks: dict[str, Any] = {
        "chat": lambda: llama.chat(model, [{"role": "user", "content": text}]),
        "generate": lambda: llama.generate(model, text),
        "embed": lambda: llama.embed(model, text),
        "embeddings": lambda: llama.embeddings(model, text),
    }
    with pytest.raises(ollama.ResponseError) as caught:
        await asks[path]()
    await llama._client.aclose()
    assert caught.value.status_code == status
    assert caught.value.error


async def test_a_stream_that_breaks_raises(llama: ollama.AsyncClient) -> None:
    for words in ("[simulate: error after 3 tokens]", "[simulate: close after 3 tokens]"):
        stream = await llama.chat(PLAIN, [{"role": "user", "content": words}], stream=True)
        with pytest.raises(ollama.ResponseError):
            [part async for part in stream]
