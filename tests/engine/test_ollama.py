"""What the gateway itself asks of Ollama, and what it makes of odd answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.engine.base import Engine, EngineBroken, EngineUnreachable, Loaded, Model
from app.engine.ollama import OllamaEngine
from app.simulator import VERSION, Simulator, SimulatorEngine

Serve = Callable[[Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]], Awaitable[str]]


def always(
    status: bytes, body: bytes
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """A server with one answer to everything."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    return answer


async def test_an_ollama_tells_its_version_models_and_what_is_loaded(
    simulator: Simulator, engine: SimulatorEngine
) -> None:
    ollama: Engine = OllamaEngine(f"{simulator.url}/")
    assert (ollama.name, ollama.kind, ollama.simulated, ollama.url) == (
        "Ollama",
        "ollama",
        False,
        simulator.url,
    )
    assert await ollama.version() == VERSION
    models = {model.name: model for model in await ollama.models()}
    llama = models["llama3.1:8b"]
    assert llama == Model("llama3.1:8b", llama.digest, 4_920_753_328, "llama", "8.0B", "Q4_K_M", remote=False)
    assert len(llama.digest) == 64
    assert await ollama.loaded() == ()
    await (await ollama.post("/api/generate", b'{"model":"llama3.1:8b"}')).read()
    (loaded,) = await ollama.loaded()
    assert loaded == Loaded(
        "llama3.1:8b", llama.digest, loaded.size_b, loaded.size_b, expires_at=loaded.expires_at
    )
    assert loaded.vram_b > llama.size_b
    assert loaded.expires_at.endswith("Z")
    await ollama.unload("llama3.1:8b")
    assert await ollama.loaded() == ()
    await ollama.close()


async def test_the_simulator_says_that_it_is_one(engine: SimulatorEngine) -> None:
    simulated: Engine = engine
    assert (simulated.name, simulated.kind, simulated.simulated) == ("Simulator", "simulator", True)


async def test_what_is_not_loaded_or_not_known_is_already_unloaded(engine: SimulatorEngine) -> None:
    await engine.unload("llama3.1:8b")
    await engine.unload("never heard of")


async def test_models_that_run_elsewhere_are_marked_and_gaps_stay_gaps(serve: Serve) -> None:
    body = (
        b'{"models":[{"name":"big:cloud","remote_model":"big","remote_host":"https://ollama.com","size":384},'
        b'{"name":"glm:Cloud"},{"name":"big:70B-CLOUD"},{"name":"my-cloud:latest"},'
        b'{"model":"odd","size":true,"details":7,"new_field":[]},"nonsense"]}'
    )
    engine = OllamaEngine(await serve(always(b"200 OK", body)))
    assert await engine.models() == (
        Model("big:cloud", "", 384, "", "", "", remote=True),
        Model("glm:Cloud", "", 0, "", "", "", remote=True),
        Model("big:70B-CLOUD", "", 0, "", "", "", remote=True),
        Model("my-cloud:latest", "", 0, "", "", "", remote=False),
        Model("odd", "", 0, "", "", "", remote=False),
    )
    await engine.close()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (b"200 OK", b"<html>", "status 200, not as Ollama does"),
        (b"200 OK", b"[]", "status 200, not as Ollama does"),
        (b"404 Not Found", b"404 page not found", "status 404, not as Ollama does"),
        (b"500 Oops", b'{"error":"disk full"}', "said «disk full»"),
    ],
)
async def test_what_does_not_answer_like_ollama_is_named_so(
    serve: Serve, status: bytes, body: bytes, words: str
) -> None:
    engine = OllamaEngine(await serve(always(status, body)))
    for question in (engine.version, engine.models, engine.loaded):
        with pytest.raises(EngineBroken, match=words):
            await question()
    await engine.close()


async def test_nobody_there_is_unreachable(simulator: Simulator) -> None:
    engine = OllamaEngine(simulator.url)
    await engine.version()
    await simulator.stop()
    with pytest.raises(EngineUnreachable, match="start the engine"):
        await engine.version()
    await engine.close()


async def test_an_engine_that_moved_is_asked_at_its_new_address(simulator: Simulator, serve: Serve) -> None:
    engine = OllamaEngine(await serve(always(b"200 OK", b'{"version":"old"}')))
    assert await engine.version() == "old"
    await engine.move_to(f"{simulator.url}/")
    assert engine.url == simulator.url
    assert await engine.version() == VERSION
    await engine.close()


async def test_moving_ends_the_requests_under_way_at_the_old_address(
    simulator: Simulator, serve: Serve
) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        asked.set()
        await reader.read()

    engine = OllamaEngine(await serve(silent))
    under_way = asyncio.ensure_future(engine.post("/api/generate", b"{}"))
    await asked.wait()
    await engine.move_to(simulator.url)
    with pytest.raises(EngineBroken):
        await under_way
    assert await engine.version() == VERSION
    await engine.close()


async def test_moving_to_where_it_is_ends_nothing(simulator: Simulator) -> None:
    engine = OllamaEngine(simulator.url)
    reply = await engine.post("/api/generate", b'{"model":"llama3.1:8b","prompt":"Hi"}')
    await engine.move_to(f"{simulator.url}/")
    assert b'"done":true' in await reply.read()
    await engine.close()


async def test_an_address_that_is_none_moves_nothing(simulator: Simulator) -> None:
    engine = OllamaEngine(simulator.url)
    with pytest.raises(ValueError, match="engine's address"):
        await engine.move_to("127.0.0.1:11434")
    assert await engine.version() == VERSION
    await engine.close()
