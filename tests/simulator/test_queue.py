"""Who gets the simulated card, when, and what happens to those who go away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest

from app.engine.base import EngineBroken
from app.simulator import Faults, Simulator, SimulatorEngine
from app.simulator.models import find
from app.simulator.physics import SimulatedGpu
from app.simulator.scheduler import QueueFull, Scheduler

MODEL = "qwen2.5:3b"


def body(prompt: str, model: str = MODEL, **more: object) -> bytes:
    return json.dumps({"model": model, "prompt": prompt, **more}).encode()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is so; the deadline is for a failing test only."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def small() -> AsyncIterator[Simulator]:
    """Two at once, two in the queue."""
    simulator = Simulator(speed=10_000, parallel=2, max_queue=2)
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
async def small_engine(small: Simulator) -> AsyncIterator[SimulatorEngine]:
    engine = SimulatorEngine(small.url)
    yield engine
    await engine.close()


def scheduler(parallel: int, max_queue: int = 512) -> Scheduler:
    gpu = SimulatedGpu(lambda: 0)
    return Scheduler(gpu, speed=1e6, parallel=parallel, clock_us=lambda: 0, max_queue=max_queue)


async def test_first_come_first_served() -> None:
    queue = scheduler(parallel=1)
    model = find(MODEL)
    assert model is not None
    order: list[int] = []

    async def use(number: int) -> None:
        place = await queue.take(model, 300)
        order.append(number)
        await asyncio.sleep(0)
        place.leave()

    await asyncio.gather(*(use(number) for number in range(20)))
    assert order == list(range(20))
    assert (queue.running, queue.waiting) == (0, 0)
    queue.close()


async def test_no_more_than_parallel_run_and_no_more_than_the_queue_holds_wait() -> None:
    queue = scheduler(parallel=3, max_queue=4)
    model = find(MODEL)
    assert model is not None
    places = [await queue.take(model, 300) for _ in range(3)]
    waiting = [asyncio.create_task(queue.take(model, 300)) for _ in range(4)]
    await asyncio.sleep(0)
    assert (queue.running, queue.waiting) == (3, 4)
    with pytest.raises(QueueFull):
        await queue.take(model, 300)
    for place in places:
        place.leave()
        place.leave()
    for task in waiting:
        (await task).leave()
    assert (queue.running, queue.waiting) == (0, 0)
    queue.close()


async def test_who_leaves_the_queue_lets_the_others_move_up() -> None:
    queue = scheduler(parallel=1)
    model = find(MODEL)
    assert model is not None
    place = await queue.take(model, 300)
    tasks = [asyncio.create_task(queue.take(model, 300)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    # The turn is the first one's from this moment; it goes away before it has noticed.
    place.leave()
    tasks[0].cancel()
    third = await tasks[2]
    assert (queue.running, queue.waiting) == (1, 0)
    third.leave()
    assert queue.running == 0
    queue.close()


async def test_a_full_queue_is_said_in_ollamas_words(small: Simulator, small_engine: SimulatorEngine) -> None:
    hanging = [
        asyncio.create_task(small_engine.post("/api/generate", body("[simulate: hang]"))) for _ in range(4)
    ]
    await until(lambda: (small.running, small.waiting) == (2, 2))
    refused = await small_engine.post("/api/generate", body("hello"))
    assert refused.status == 503
    expected = b'{"error":"server busy, please try again.  maximum pending requests exceeded"}'
    assert await refused.read() == expected
    for task in hanging:
        task.cancel()
    await until(lambda: (small.running, small.waiting) == (0, 0))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_goes_away_frees_its_place_at_once(
    simulator: Simulator, engine: SimulatorEngine, stream: bool
) -> None:
    tokens = 5 if stream else 0
    prompt = f"[simulate: hang after {tokens} tokens]"
    first = asyncio.create_task(engine.post("/api/generate", body(prompt, stream=stream)))
    if stream:
        chunks = (await first).chunks()
        received = await anext(chunks)
        assert received.count(b"\n") <= 5
    await until(lambda: simulator.running == 1)
    second = asyncio.create_task(engine.post("/api/generate", body("hello", stream=False)))
    await until(lambda: simulator.waiting == 1)
    if stream:
        (await first).release()
    else:
        first.cancel()
    answer = await (await second).read()
    assert json.loads(answer)["done"] is True
    assert (simulator.running, simulator.waiting) == (0, 0)


async def test_a_client_that_goes_away_while_it_waits_is_forgotten(
    simulator: Simulator, engine: SimulatorEngine
) -> None:
    first = await engine.post("/api/generate", body("[simulate: hang after 1 token]"))
    impatient = asyncio.create_task(engine.post("/api/generate", body("hello")))
    await until(lambda: simulator.waiting == 1)
    impatient.cancel()
    await until(lambda: simulator.waiting == 0)
    assert simulator.running == 1
    first.release()
    await until(lambda: simulator.running == 0)


async def test_a_model_that_does_not_fit_beside_the_others_takes_the_place_of_the_one_that_would_go_first(
    simulator: Simulator, engine: SimulatorEngine
) -> None:
    for model, keep in (("llama3.1:8b", "1h"), ("qwen2.5:3b", "1m"), ("nomic-embed-text", "2h")):
        await (await engine.post("/api/embed", body("", model=model, input="x", keep_alive=keep))).read()
    assert [loaded.name for loaded in await engine.loaded()] == [
        "nomic-embed-text:latest",
        "llama3.1:8b",
        "qwen2.5:3b",
    ]
    await (await engine.post("/api/generate", body("hello", model="mortdecai:0.5.0", keep_alive="3h"))).read()
    assert {loaded.name for loaded in await engine.loaded()} == {
        "mortdecai:0.5.0",
        "nomic-embed-text:latest",
        "llama3.1:8b",
    }
    state = simulator.gpu_state()
    assert state.memory_used_b <= state.memory_total_b


async def test_a_busy_model_is_not_evicted_but_waited_for() -> None:
    queue = scheduler(parallel=3)
    llama, qwen, mortdecai = (find(name) for name in ("llama3.1:8b", "qwen2.5:3b", "mortdecai:0.5.0"))
    assert llama
    assert qwen
    assert mortdecai
    places = [await queue.take(llama, 300), await queue.take(qwen, 300)]
    third = asyncio.create_task(queue.take(mortdecai, 300))
    while queue.running < 3:
        await asyncio.sleep(0)
    assert {runner.model.name for runner in queue.runners()} == {"llama3.1:8b", "qwen2.5:3b"}
    assert not third.done()
    places[1].leave()
    place = await third
    assert {runner.model.name for runner in queue.runners()} == {"llama3.1:8b", "mortdecai:0.5.0"}
    places[0].leave()
    place.leave()
    queue.close()


async def test_unloading_frees_the_memory(simulator: Simulator, engine: SimulatorEngine) -> None:
    empty_b = simulator.gpu_state().memory_used_b
    await (await engine.post("/api/generate", body("hello"))).read()
    assert simulator.gpu_state().memory_used_b > empty_b
    await engine.unload(MODEL)
    assert await engine.loaded() == ()
    assert simulator.gpu_state().memory_used_b == empty_b


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_a_question_without_words_loads_a_model_and_with_no_time_to_stay_unloads_it(
    engine: SimulatorEngine, path: str
) -> None:
    for keep, reason, there in ((None, "load", [MODEL]), (0, "unload", [])):
        asked = {"model": MODEL} if keep is None else {"model": MODEL, "keep_alive": keep}
        answer = json.loads(await (await engine.post(path, json.dumps(asked).encode())).read())
        assert (answer["done"], answer["done_reason"]) == (True, reason)
        assert [model.name for model in await engine.loaded()] == there


async def test_unloading_a_model_in_use_waits_for_the_end_of_its_answer(
    simulator: Simulator, engine: SimulatorEngine
) -> None:
    reply = await engine.post("/api/generate", body("[simulate: hang after 1 token]"))
    await engine.unload(MODEL)
    assert [loaded.name for loaded in await engine.loaded()] == [MODEL]
    reply.release()
    await until(lambda: simulator.running == 0)
    assert await engine.loaded() == ()


async def test_an_unused_model_leaves_after_its_keep_alive(
    simulator: Simulator, engine: SimulatorEngine
) -> None:
    empty_b = simulator.gpu_state().memory_used_b
    await (await engine.post("/api/generate", body("hello", keep_alive="30ms"))).read()
    await until(lambda: simulator.gpu_state().memory_used_b == empty_b)
    assert await engine.loaded() == ()


async def test_stopping_ends_what_runs_and_what_waits(
    small: Simulator, small_engine: SimulatorEngine
) -> None:
    tasks = [
        asyncio.create_task(small_engine.post("/api/generate", body("[simulate: hang]"))) for _ in range(4)
    ]
    await until(lambda: (small.running, small.waiting) == (2, 2))
    await small.stop()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, EngineBroken) for outcome in outcomes)
    assert (small.running, small.waiting) == (0, 0)


async def test_it_can_be_started_again_on_its_port(small: Simulator) -> None:
    url = small.url
    await small.stop()
    await small.stop()
    assert await small.start(int(url.rpartition(":")[2])) == url
    engine = SimulatorEngine(url)
    assert "simulated" in await engine.version()
    await engine.close()


async def test_standing_faults_hit_every_request(simulator: Simulator, engine: SimulatorEngine) -> None:
    simulator.faults = Faults(error_after=0)
    assert (await engine.post("/api/generate", body("hello"))).status == 500
    simulator.faults = Faults(out_of_memory=True)
    refused = await engine.post(
        "/v1/chat/completions", b'{"model":"qwen2.5:3b","messages":[{"content":"x"}]}'
    )
    assert refused.status == 500
    simulator.faults = Faults(close_after=0)
    with pytest.raises(EngineBroken):
        await engine.post("/api/embed", body("", input="x"))
    simulator.faults = Faults()
    assert (await engine.post("/api/generate", body("hello"))).status == 200
    assert simulator.asked == 4


async def test_a_connection_can_be_cut_in_the_middle(engine: SimulatorEngine) -> None:
    reply = await engine.post("/api/generate", body("[simulate: close after 3 tokens]"))
    with pytest.raises(EngineBroken, match="in the middle of its answer"):
        await reply.read()
