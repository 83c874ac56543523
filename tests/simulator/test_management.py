"""The simulator as a keeper of models: what Ollama's management endpoints do, in its words."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import ollama
import pytest

from app.simulator import Faults, Library, Simulator

GGUF = b"GGUF\x03\x00\x00\x00" + b"weights" * 5000
DIGEST = "sha256:" + hashlib.sha256(GGUF).hexdigest()


class Asked:
    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session

    async def lines(self, path: str, body: Any) -> list[dict[str, Any]]:
        async with self.session.post(path, json=body) as reply:
            return [json.loads(line) for line in (await reply.read()).splitlines()]

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with self.session.request(method, path, json=body) as reply:
            raw = await reply.read()
            return reply.status, json.loads(raw) if raw else None

    async def push(self, digest: str = DIGEST, content: bytes = GGUF) -> int:
        async with self.session.post(f"/api/blobs/{digest}", data=content) as reply:
            return reply.status

    async def names(self) -> list[str]:
        return [model["name"] for model in (await self.ask("GET", "/api/tags"))[1]["models"]]


Start = Callable[..., Awaitable[Asked]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def make(library: Library | None = None, speed: float = 10_000, **faults: Any) -> Asked:
            simulator = Simulator(speed=speed, library=library, faults=Faults(**faults))
            await simulator.start()
            stack.push_async_callback(simulator.stop)
            session = await stack.enter_async_context(aiohttp.ClientSession(simulator.url))
            return Asked(simulator, session)

        yield make


async def test_a_pull_tells_its_layers_as_ollama_does(start: Start) -> None:
    asked = await start(Library(empty=True))
    lines = await asked.lines("/api/pull", {"model": "qwen3:0.6b"})
    assert lines[0] == {"status": "pulling manifest"}
    assert [line["status"] for line in lines[-3:]] == [
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    totals = {line["digest"]: line["total"] for line in lines if "digest" in line}
    assert len(totals) == 5
    assert sum(totals.values()) == 523_000_000
    for digest, total in totals.items():
        seen = [line.get("completed", 0) for line in lines if line.get("digest") == digest]
        assert seen == sorted(seen)
        assert seen[-1] == total
    assert await asked.names() == ["qwen3:0.6b"]


async def test_ollamas_own_client_understands_it(start: Start) -> None:
    asked = await start(Library(empty=True))
    client = ollama.AsyncClient(asked.simulator.url)
    last = [line async for line in await client.pull("qwen3:0.6b", stream=True)][-1]
    assert last.status == "success"
    await client.copy("qwen3:0.6b", "mine")
    assert {model.model for model in (await client.list()).models} == {"qwen3:0.6b", "mine:latest"}
    assert (await client.show("mine")).modelinfo["qwen3.block_count"] == 28
    assert (await client.delete("mine")).status == "success"
    assert (await client.generate("qwen3:0.6b", "hello")).response.startswith("This is a simulated answer")
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        [line async for line in await client.pull("no-such-model", stream=True)]


async def test_what_is_not_in_the_library_is_an_error_in_band(start: Start) -> None:
    asked = await start()
    assert await asked.lines("/api/pull", {"model": "no-such:model"}) == [
        {"status": "pulling manifest"},
        {"error": "pull model manifest: file does not exist"},
    ]
    assert await asked.ask("POST", "/api/pull", {"model": "no-such:model", "stream": False}) == (
        500,
        {"error": "pull model manifest: file does not exist"},
    )
    assert await asked.ask("POST", "/api/pull", {"model": "../etc"}) == (400, {"error": "invalid model name"})


async def test_a_pull_that_breaks_off_goes_on_where_it_was_even_after_a_restart(
    start: Start, tmp_path: Path
) -> None:
    asked = await start(Library(tmp_path), pull_breaks_after_b=200_000_000)
    lines = await asked.lines("/api/pull", {"model": "qwen3:0.6b"})
    assert lines[-1] == {"error": "max retries exceeded: unexpected EOF"}
    assert await asked.names() == []
    again = await start(Library(tmp_path))
    lines = await again.lines("/api/pull", {"model": "qwen3:0.6b"})
    assert lines[1]["completed"] == 200_000_000
    assert lines[-1] == {"status": "success"}


async def test_a_client_that_goes_away_leaves_what_has_come(start: Start, tmp_path: Path) -> None:
    asked = await start(Library(tmp_path), speed=20)
    async with asked.session.post("/api/pull", json={"model": "qwen3:0.6b"}) as reply:
        while b'"completed"' not in await reply.content.readline():
            pass
    asked.simulator.faults = Faults()
    library = Library(tmp_path)
    async with asyncio.timeout(5):
        while not any(library.partial.values()):
            await asyncio.sleep(0.01)
            library = Library(tmp_path)
    assert library.models() == ()


async def test_models_and_files_survive_a_restart_and_unused_files_do_not(
    start: Start, tmp_path: Path
) -> None:
    asked = await start(Library(tmp_path))
    assert await asked.push() == 201
    assert await asked.push() == 200
    other = b"GGUF" + b"x" * 100
    await asked.push("sha256:" + hashlib.sha256(other).hexdigest(), other)
    lines = await asked.lines("/api/create", {"model": "mine", "files": {"m.gguf": DIGEST}})
    assert lines[-1] == {"status": "success"}
    await asked.simulator.stop()
    again = await start(Library(tmp_path))
    (model,) = (await again.ask("GET", "/api/tags"))[1]["models"]
    assert (model["name"], model["size"]) == ("mine:latest", len(GGUF))
    assert [path.name for path in (tmp_path / "blobs").iterdir()] == [DIGEST.replace(":", "-")]
    assert (await again.ask("DELETE", "/api/delete", {"model": "mine"}))[0] == 200
    assert list((tmp_path / "blobs").iterdir()) == []
    assert (await again.ask("DELETE", "/api/delete", {"model": "mine"})) == (
        404,
        {"error": "model 'mine' not found"},
    )


async def test_a_file_is_taken_only_under_its_own_digest(start: Start, tmp_path: Path) -> None:
    asked = await start(Library(tmp_path))
    wrong = "sha256:" + "0" * 64
    status, answer = await asked.ask("POST", f"/api/blobs/{wrong}", {})
    assert status == 400
    assert "digest mismatch" in answer["error"]
    assert (await asked.ask("HEAD", f"/api/blobs/{wrong}"))[0] == 404
    assert (await asked.ask("HEAD", "/api/blobs/sha256:zz"))[0] == 400
    assert list((tmp_path / "blobs").iterdir()) == []


async def test_a_model_is_made_of_a_gguf_file_that_is_here_and_of_nothing_else(start: Start) -> None:
    asked = await start()
    assert (await asked.ask("POST", "/api/create", {"model": "m", "files": {"m.gguf": DIGEST}}))[0] == 400
    assert (await asked.ask("POST", "/api/create", {"model": "m"}))[0] == 400
    text = b"hello, I am a text"
    digest = "sha256:" + hashlib.sha256(text).hexdigest()
    await asked.push(digest, text)
    lines = await asked.lines("/api/create", {"model": "m", "files": {"m.gguf": digest}})
    assert lines[-1] == {"error": "supplied file was not in GGUF format"}
    await asked.push()
    asked.simulator.faults = Faults(create_fails=True)
    assert "error" in (await asked.lines("/api/create", {"model": "m", "files": {"m.gguf": DIGEST}}))[-1]
    asked.simulator.faults = Faults()
    await asked.lines("/api/create", {"model": "m", "files": {"m.gguf": DIGEST}})
    status, answer = await asked.ask("POST", "/api/generate", {"model": "m", "prompt": "hi", "stream": False})
    assert status == 200
    assert answer["eval_count"] > 0


async def test_a_copy_is_the_same_model_and_replaces_what_had_the_name(start: Start) -> None:
    asked = await start()
    await asked.ask("POST", "/api/copy", {"source": "llama3.1:8b", "destination": "qwen2.5:3b"})
    tags = {model["name"]: model for model in (await asked.ask("GET", "/api/tags"))[1]["models"]}
    assert tags["qwen2.5:3b"]["digest"] == tags["llama3.1:8b"]["digest"]
    assert await asked.ask("POST", "/api/copy", {"source": "no", "destination": "m"}) == (
        404,
        {"error": 'model "no" not found'},
    )


async def test_a_loaded_model_that_is_replaced_is_loaded_anew(start: Start) -> None:
    asked = await start()
    body = {"model": "qwen2.5:3b", "prompt": "hi", "stream": False}
    await asked.ask("POST", "/api/generate", body)
    await asked.ask("POST", "/api/copy", {"source": "llama3.1:8b", "destination": "qwen2.5:3b"})
    await asked.ask("POST", "/api/generate", body)
    (loaded,) = (await asked.ask("GET", "/api/ps"))[1]["models"]
    assert loaded["size_vram"] > 5_000_000_000
    assert asked.simulator.gpu_state().memory_used_b > 5_000_000_000


async def test_a_model_can_be_made_to_fail_when_it_is_asked(start: Start) -> None:
    asked = await start(fails_to_generate="qwen")
    for model, status in (("qwen2.5:3b", 500), ("llama3.1:8b", 200)):
        body = {"model": model, "prompt": "hi", "stream": False}
        assert (await asked.ask("POST", "/api/generate", body))[0] == status


async def test_on_the_processor_nothing_lies_in_the_gpus_memory(start: Start) -> None:
    asked = await start(cpu_only=True)
    empty_b = asked.simulator.gpu_state().memory_used_b
    await asked.ask("POST", "/api/generate", {"model": "llama3.1:8b"})
    (loaded,) = (await asked.ask("GET", "/api/ps"))[1]["models"]
    assert loaded["size_vram"] == 0
    assert loaded["size"] > 0
    assert asked.simulator.gpu_state().memory_used_b == empty_b


async def test_what_the_card_cannot_hold_lies_in_main_memory_in_part(start: Start) -> None:
    asked = await start(Library(empty=True), speed=1_000_000)
    await asked.lines("/api/pull", {"model": "qwen3:32b"})
    await asked.ask("POST", "/api/generate", {"model": "qwen3:32b"})
    (loaded,) = (await asked.ask("GET", "/api/ps"))[1]["models"]
    assert 0 < loaded["size_vram"] < loaded["size"]
    state = asked.simulator.gpu_state()
    assert state.memory_used_b <= state.memory_total_b


def test_a_state_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    (tmp_path / "simulator.json").write_text('{"models":[{"name":"x"}],"partial":{}}')
    with pytest.raises(ValueError, match="is not a simulator's"):
        Library(tmp_path)
