"""The official SDKs against the tray process: what they stream and complete, and the types they see."""

from __future__ import annotations

from collections.abc import Iterator

import ollama
import openai
import pytest

from tests.gateway.conftest import MODEL
from tests.gateway.processes import Process, gateway

ASK = [{"role": "user", "content": "Who are you?"}]


@pytest.fixture(scope="module")
def tray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with gateway(tmp_path_factory.mktemp("tray"), "--simulate", command="tray") as process:
        yield process


@pytest.fixture
def native(tray: Process) -> Iterator[ollama.Client]:
    client = ollama.Client(
        tray.connection["url"], headers={"Authorization": f"Bearer {tray.connection['api_key']}"}
    )
    yield client
    client._client.close()


@pytest.fixture
def compatible(tray: Process) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=tray.connection["url"] + "/v1", api_key=tray.connection["api_key"]) as client:
        yield client


def test_ollama_completes_a_chat(native: ollama.Client) -> None:
    answer = native.chat(MODEL, ASK, options={"num_predict": 8})
    assert isinstance(answer, ollama.ChatResponse)
    assert answer.message.content
    assert answer.done
    assert answer.eval_count == 8


def test_ollama_streams_a_chat(native: ollama.Client) -> None:
    parts = list(native.chat(MODEL, ASK, stream=True, options={"num_predict": 8}))
    assert all(isinstance(part, ollama.ChatResponse) for part in parts)
    assert "".join(part.message.content or "" for part in parts)
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count == 8


def test_ollama_generates_and_lists(native: ollama.Client) -> None:
    assert native.generate(MODEL, "Hello", options={"num_predict": 4}).response
    parts = list(native.generate(MODEL, "Hello", stream=True, options={"num_predict": 4}))
    assert parts[-1].done
    assert MODEL in [model.model for model in native.list().models]
    assert native.show(MODEL).details is not None
    assert isinstance(native.ps(), ollama.ProcessResponse)


def test_ollama_raises_its_own_errors(tray: Process, native: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        native.chat("no-such-model", ASK)
    assert caught.value.status_code == 404
    stranger = ollama.Client(tray.connection["url"], headers={"Authorization": "Bearer mg_wrong"})
    with pytest.raises(ollama.ResponseError) as caught:
        stranger.chat(MODEL, ASK)
    stranger._client.close()
    assert caught.value.status_code == 401
    with pytest.raises(ollama.ResponseError):
        list(
            native.chat(MODEL, [{"role": "user", "content": "[simulate: error after 2 tokens]"}], stream=True)
        )


def test_openai_completes_a_chat(compatible: openai.OpenAI) -> None:
    answer = compatible.chat.completions.create(model=MODEL, messages=ASK, max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    assert (answer.model_extra or {})["_gateway"]["completion_tokens"] == 8


@pytest.mark.parametrize("usage", [True, False])
def test_openai_streams_a_chat(compatible: openai.OpenAI, usage: bool) -> None:
    more = {"stream_options": {"include_usage": True}} if usage else {}
    stream = compatible.chat.completions.create(model=MODEL, messages=ASK, max_tokens=8, stream=True, **more)
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert (chunks[-1].usage is not None) is usage
    assert (chunks[-1].model_extra or {})["_gateway"]["completion_tokens"] == 8


def test_openai_raises_its_own_errors(tray: Process, compatible: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        compatible.chat.completions.create(model="no-such-model", messages=ASK)
    url = tray.connection["url"] + "/v1"
    with (
        openai.OpenAI(base_url=url, api_key="mg_wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.chat.completions.create(model=MODEL, messages=ASK)
    ask = [{"role": "user", "content": "[simulate: close after 2 tokens]"}]
    with pytest.raises(openai.APIError):
        list(compatible.chat.completions.create(model=MODEL, messages=ask, stream=True))
