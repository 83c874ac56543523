"""Whatever runs at the address is found out, and then treated as what it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from app.engine.base import CannotUnload, Engine, EngineBroken, EngineTimeout, EngineUnreachable
from app.engine.endpoint import EndpointEngine
from app.simulator import Simulator
from tests.engine import lookalikes as like
from tests.engine.conftest import Serve


def test_it_is_an_engine() -> None:
    async def make() -> Engine:
        return EndpointEngine("http://127.0.0.1:1")

    engine = asyncio.run(make())
    assert engine.native
    assert engine.url == "http://127.0.0.1:1"
    with pytest.raises(ValueError, match="not an engine's address"):
        EndpointEngine("nonsense")


async def test_an_ollama_behaves_as_with_its_own_client(simulator: Simulator) -> None:
    engine = EndpointEngine(simulator.url)
    try:
        assert (await engine.version()).endswith("-simulated")
        models = await engine.models()
        assert all(model.digest for model in models)
        assert (engine.kind, engine.simulated, engine.native, engine.frees_memory) == (
            "simulator",
            True,
            True,
            True,
        )
        (await engine.post("/api/generate", b'{"model":"qwen2.5:3b"}')).release()
        while not (loaded := await engine.loaded()):
            await asyncio.sleep(0.01)
        await engine.unload(loaded[0].name)
        assert await engine.loaded() == ()
    finally:
        await engine.close()


@pytest.mark.parametrize(
    ("server", "kind", "name", "models", "loaded", "frees"),
    [
        (
            like.llama_server,
            "llama-server",
            "llama-server",
            ["Qwen3-8B-Q4_K_M.gguf"],
            ["Qwen3-8B-Q4_K_M.gguf"],
            False,
        ),
        (
            like.llama_router,
            "llama-server",
            "llama-server",
            ["ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", "ggml-org/Qwen3-4B-GGUF"],
            ["ggml-org/gemma-3-4b-it-GGUF:Q4_K_M"],
            True,
        ),
        (
            like.vllm,
            "vllm",
            "vLLM",
            ["mistralai/Mistral-7B-Instruct-v0.3", "my-lora"],
            ["mistralai/Mistral-7B-Instruct-v0.3"],
            False,
        ),
        (
            like.lm_studio,
            "lm-studio",
            "LM Studio",
            ["qwen2-vl-7b", "meta-llama-3.1-8b"],
            ["meta-llama-3.1-8b"],
            True,
        ),
        (
            lambda: like.lm_studio(newer=False),
            "lm-studio",
            "LM Studio",
            ["qwen2-vl-7b", "meta-llama-3.1-8b"],
            ["meta-llama-3.1-8b"],
            False,
        ),
        (like.litellm, "litellm", "LiteLLM", ["gpt-4o", "claude"], [], False),
        (like.something_else, "openai", "OpenAI-compatible engine", ["org/Model-7B"], [], False),
    ],
)
async def test_each_kind_lists_its_models_and_what_is_loaded(
    server: Callable[[], like.LookAlike],
    kind: str,
    name: str,
    models: list[str],
    loaded: list[str],
    frees: bool,
) -> None:
    async with like.serving(server()) as running:
        engine = EndpointEngine(running.url)
        try:
            await engine.version()
            assert [model.name for model in await engine.models()] == models
            assert {model.digest for model in await engine.models()} == {""}
            assert [one.name for one in await engine.loaded()] == loaded
            assert (engine.kind, engine.name, engine.native, engine.frees_memory) == (
                kind,
                name,
                False,
                frees,
            )
            if not frees:
                with pytest.raises(CannotUnload, match=r"^[A-Z].*\.$|^llama-server|^vLLM"):
                    await engine.unload(models[0])
        finally:
            await engine.close()


async def test_lm_studio_unloads_every_instance_of_a_model() -> None:
    async with like.serving(like.lm_studio()) as running:
        engine = EndpointEngine(running.url)
        await engine.unload("meta-llama-3.1-8b")
        await engine.unload("qwen2-vl-7b")  # not loaded: unloaded already
        await engine.close()
    told = [body for method, path, body in running.asked if method == "POST"]
    assert told == [{"instance_id": "meta-llama-3.1-8b"}, {"instance_id": "meta-llama-3.1-8b:2"}]


async def test_a_llama_server_with_several_models_unloads_the_one_that_is_loaded() -> None:
    async with like.serving(like.llama_router()) as running:
        engine = EndpointEngine(running.url)
        await engine.unload("ggml-org/gemma-3-4b-it-GGUF:Q4_K_M")
        await engine.unload("ggml-org/Qwen3-4B-GGUF")
        await engine.close()
    told = [(path, body) for method, path, body in running.asked if method == "POST"]
    assert told == [("/models/unload", {"model": "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M"})]


async def test_the_software_is_asked_once_while_it_answers_and_again_after_it_was_gone() -> None:
    async with like.serving(like.vllm()) as running:
        engine = EndpointEngine(running.url)
        await engine.version()
        await engine.models()
        await engine.loaded()
        assert [path for _, path, _ in running.asked].count("/version") == 1
        port = urlsplit(running.url).port or 0
    with pytest.raises(EngineUnreachable):
        await engine.models()
    async with like.serving(like.ollama(), port):
        assert await engine.version() == "0.12.3"
        assert (engine.kind, engine.native) == ("ollama", True)
    await engine.close()


async def test_another_program_in_the_same_place_is_noticed_by_its_answers() -> None:
    async with like.serving(like.ollama()) as running:
        engine = EndpointEngine(running.url)
        await engine.version()
        other = like.llama_server()
        running.pages, running.otherwise, running.headers = other.pages, other.otherwise, other.headers
        with pytest.raises(EngineBroken):
            await engine.version()
        await engine.version()
        assert engine.kind == "llama-server"
        await engine.close()


async def test_at_another_address_it_finds_out_anew() -> None:
    async with like.serving(like.ollama()) as one, like.serving(like.vllm()) as other:
        engine = EndpointEngine(one.url)
        await engine.version()
        await engine.move_to(other.url)
        assert await engine.version() == "0.11.0"
        assert (engine.kind, engine.native, engine.url) == ("vllm", False, other.url)
        await engine.close()


async def test_a_model_that_is_still_loading_is_a_reason_to_wait() -> None:
    async with like.serving(like.llama_server(loading=True)) as running:
        engine = EndpointEngine(running.url)
        with pytest.raises(EngineUnreachable, match="loading"):
            await engine.models()
        running.pages = like.llama_server().pages
        assert len(await engine.models()) == 1
        await engine.close()


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (like.gateway, "is a Mortdecai Gateway, not an engine"),
        (lambda: like.vllm(key=True), "wants a key of its own"),
        (lambda: like.LookAlike({}), "no engine that is known here"),
    ],
)
async def test_what_cannot_be_used_is_said_in_a_sentence(
    server: Callable[[], like.LookAlike], words: str
) -> None:
    async with like.serving(server()) as running:
        engine = EndpointEngine(running.url)
        with pytest.raises(EngineBroken, match=words):
            await engine.version()
        await engine.close()


async def test_a_silent_program_does_not_hold_anybody_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    monkeypatch.setattr("app.engine.endpoint._QUESTION_S", 0.1)
    engine = EndpointEngine(await serve(silent))
    with pytest.raises(EngineTimeout, match="says nothing"):
        await engine.version()
    await engine.close()


async def test_requests_pass_without_any_frame_of_ours() -> None:
    engine = EndpointEngine("http://127.0.0.1:1")
    asking = engine.post("/v1/chat/completions", b"{}")
    assert asking.__qualname__ == "Wire.post"  # type: ignore[attr-defined]
    asking.close()
    await engine.close()


async def test_what_was_found_out_at_the_old_address_is_not_believed_of_the_new_one() -> None:
    asked, go = asyncio.Event(), asyncio.Event()
    one = like.ollama()
    front = one.pages["/"]

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        # The second time is the round of questions.
        if [path for _, path, _ in one.asked].count("/") == 2:
            asked.set()
            await go.wait()
        assert isinstance(front, tuple)
        return web.Response(status=front[0], body=str(front[2]))

    one.pages["/"] = slow
    async with like.serving(one), like.serving(like.llama_server()) as other:
        engine = EndpointEngine(one.url)
        finding = asyncio.create_task(engine.models())
        await asyncio.wait_for(asked.wait(), 10)
        await engine.move_to(other.url)
        go.set()
        await asyncio.gather(finding, return_exceptions=True)
        # It copies Ollama's list of models, so nothing would ever have failed.
        await engine.models()
        assert engine.kind == "llama-server"
        await engine.close()


async def test_an_unload_that_fails_makes_it_look_again_who_is_there() -> None:
    async with like.serving(like.lm_studio()) as running:
        engine = EndpointEngine(running.url)
        await engine.models()
        running.pages["/api/v1/models/unload"] = (500, {}, {"error": "no"})
        with pytest.raises(EngineBroken):
            await engine.unload("meta-llama-3.1-8b")
        other = like.vllm()
        running.pages, running.otherwise, running.headers = other.pages, other.otherwise, other.headers
        assert [model.name for model in await engine.models()]
        assert engine.kind == "vllm"
        await engine.close()
