"""Giving the GPU back: what is said must be what the GPU's own memory figure shows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from app.engine.base import EngineUnreachable, Loaded
from app.engine.endpoint import EndpointEngine
from app.gateway.release import release
from app.simulator import Simulator, SimulatorEngine
from tests.engine import lookalikes

MODELS = ("qwen2.5:3b", "llama3.1:8b")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    simulator = Simulator(speed=1000.0)
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
async def engine(simulator: Simulator) -> AsyncIterator[SimulatorEngine]:
    engine = SimulatorEngine(simulator.url)
    yield engine
    await engine.close()


def figure(simulator: Simulator) -> Callable[[], Awaitable[int | None]]:
    async def memory_used() -> int | None:
        return simulator.gpu_state().memory_used_b

    return memory_used


async def nobody_knows() -> int | None:
    return None


async def load(engine: SimulatorEngine, *names: str) -> int:
    """Load models; the bytes that they hold."""
    for name in names:
        reply = await engine.post("/api/generate", json.dumps({"model": name}).encode())
        await reply.read()
        reply.release()
    return sum(model.vram_b for model in await engine.loaded())


async def test_every_model_goes_and_the_gpus_own_figure_is_what_is_reported(
    simulator: Simulator, engine: SimulatorEngine
) -> None:
    held_b = await load(engine, *MODELS)
    came = await release(engine, figure(simulator))  # type: ignore[arg-type]
    assert set(came.models) == set(MODELS)
    assert (came.freed_b, came.confirmed, came.left) == (held_b, True, ())
    assert came.sentence == f"Released {held_b / 1e9:.1f} GB of the GPU's memory."
    assert not await engine.loaded()


async def test_what_somebody_else_loaded_is_left_alone_and_named(
    simulator: Simulator, engine: SimulatorEngine
) -> None:
    await load(engine, *MODELS)
    sizes = {model.name: model.vram_b for model in await engine.loaded()}
    ours, theirs = (sizes[name] for name in MODELS)
    came = await release(engine, figure(simulator), lambda name: name == MODELS[0])  # type: ignore[arg-type]
    assert (came.models, came.left, came.others) == ((MODELS[0],), (), (MODELS[1],))
    assert (came.freed_b, came.confirmed) == (ours, True)
    assert came.sentence == (
        f"Released {ours / 1e9:.1f} GB of the GPU's memory. "
        f"{MODELS[1]} ({theirs / 1e9:.1f} GB) was loaded without us and stays there."
    )
    assert [model.name for model in await engine.loaded()] == [MODELS[1]]


async def test_where_all_is_somebody_elses_nothing_is_unloaded_and_all_of_it_named(
    simulator: Simulator, engine: SimulatorEngine
) -> None:
    await load(engine, *MODELS)
    came = await release(engine, figure(simulator), lambda _: False)  # type: ignore[arg-type]
    assert (came.models, came.others) == ((), tuple(sorted(MODELS)))
    assert came.sentence is not None
    assert "Released" not in came.sentence
    assert came.sentence.endswith("were loaded without us and stay there.")
    assert len(await engine.loaded()) == 2


async def test_nothing_loaded_is_nothing_to_report(simulator: Simulator, engine: SimulatorEngine) -> None:
    assert (await release(engine, figure(simulator))).sentence is None


async def test_without_a_figure_of_the_gpu_the_sentence_says_whose_figure_it_is(
    engine: SimulatorEngine,
) -> None:
    await load(engine, MODELS[0])
    came = await release(engine, nobody_knows)
    assert came.confirmed is None
    assert came.sentence is not None
    assert "by the engine's own figure" in came.sentence


async def test_memory_that_stays_in_use_is_said_and_not_called_released(engine: SimulatorEngine) -> None:
    await load(engine, MODELS[0])

    async def still_full() -> int | None:
        return 9_100_000_000

    came = await release(engine, still_full, patience_s=0.3)
    assert came.confirmed is False
    assert came.sentence is not None
    assert "still holds 9.1 GB" in came.sentence
    assert "Released" not in came.sentence


class Stubborn:
    """An engine that says it unloads and does not."""

    frees_memory = True

    async def loaded(self) -> tuple[Loaded, ...]:
        return (Loaded("llama3.1:8b", "", 5_000_000_000, 5_000_000_000, ""),)

    async def unload(self, model: str) -> None:
        pass


async def test_a_model_that_will_not_go_is_named() -> None:
    came = await release(Stubborn(), nobody_knows, patience_s=0.2)  # type: ignore[arg-type]
    assert came.left == ("llama3.1:8b",)
    assert came.sentence is not None
    assert came.sentence.startswith("llama3.1:8b could not be unloaded")


class Gone:
    frees_memory = True

    async def loaded(self) -> tuple[Loaded, ...]:
        raise EngineUnreachable("No engine answers.")


async def test_an_engine_that_is_gone_is_reported_and_raises_nothing() -> None:
    came = await release(Gone(), nobody_knows)  # type: ignore[arg-type]
    assert came.sentence == "The GPU's memory may still be in use: No engine answers."


KEEPS = [
    (
        lookalikes.llama_server,
        1,
        "llama-server keeps its model in the GPU's memory until it is stopped.",
    ),
    (lookalikes.vllm, 1, "vLLM keeps its model in the GPU's memory until it is stopped."),
    (lookalikes.litellm, 0, "LiteLLM only passes requests on: unload the model where it runs."),
    (
        lookalikes.something_else,
        0,
        "This engine has no way to give the GPU's memory back but being stopped.",
    ),
]


@pytest.mark.parametrize(("server", "left", "sentence"), KEEPS, ids=[case[2].split()[0] for case in KEEPS])
async def test_an_engine_that_keeps_its_memory_says_so_in_its_own_sentence_and_nothing_is_called_released(
    server: Callable[[], lookalikes.LookAlike], left: int, sentence: str
) -> None:
    async with lookalikes.serving(server()) as running:
        engine = EndpointEngine(running.url)
        try:
            came = await release(engine, nobody_knows)
        finally:
            await engine.close()
    assert came.sentence == sentence
    assert (came.models, len(came.left), came.freed_b, came.confirmed) == ((), left, 0, None)
    assert [method for method, _, _ in running.asked if method != "GET"] == [], "nothing was done to it"


async def test_an_engine_that_can_unload_what_it_serves_is_asked_to() -> None:
    async with lookalikes.serving(lookalikes.lm_studio()) as running:
        engine = EndpointEngine(running.url)
        try:
            came = await release(engine, nobody_knows, patience_s=0.1)
        finally:
            await engine.close()
    assert came.sentence is not None
    assert "could not be unloaded" in came.sentence, "this one says that it unloads, and does not"
    assert ("POST", "/api/v1/models/unload") in [(method, path) for method, path, _ in running.asked]
