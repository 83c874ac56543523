"""When the engine is asked how it is, and when it is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from app.engine.base import EngineBroken, EngineUnreachable
from app.engine.health import EngineState, EngineWatch
from app.simulator import VERSION, Simulator, SimulatorEngine


class Timers:
    """`call_later` whose time passes when told to."""

    def __init__(self) -> None:
        self.pending: list[tuple[float, Callable[[], None], asyncio.TimerHandle]] = []

    def __call__(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        handle = asyncio.TimerHandle(loop.time() + delay_s, callback, (), loop)
        self.pending.append((delay_s, callback, handle))
        return handle

    def waiting_s(self) -> list[float]:
        """What is being waited for."""
        return [delay_s for delay_s, _, handle in self.pending if not handle.cancelled()]

    def fire(self) -> None:
        """Let the one pending delay pass."""
        ((_, callback, _),) = [one for one in self.pending if not one[2].cancelled()]
        self.pending.clear()
        callback()


class CountingEngine(SimulatorEngine):
    """The engine's client, which counts how often the gateway asks for itself."""

    asked = 0

    async def version(self) -> str:
        self.asked += 1
        return await super().version()


@pytest.fixture
async def counting(simulator: Simulator) -> AsyncIterator[CountingEngine]:
    engine = CountingEngine(simulator.url)
    yield engine
    await engine.close()


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
async def watch(counting: CountingEngine, timers: Timers) -> AsyncIterator[EngineWatch]:
    watch = EngineWatch(counting, later=timers)
    yield watch
    await watch.close()


async def answered(watch: EngineWatch) -> EngineState:
    """The state after the asking that is under way."""
    assert watch.asking
    return await watch.refresh()


async def test_nothing_is_known_and_nobody_asked_before_somebody_looks(
    watch: EngineWatch, counting: CountingEngine, timers: Timers
) -> None:
    assert watch.state == EngineState(False, "The engine has not been asked yet.", None, (), ())
    assert counting.asked == 0
    assert timers.waiting_s() == []


async def test_a_refresh_tells_all_there_is(watch: EngineWatch, counting: CountingEngine) -> None:
    await (await counting.post("/api/generate", b'{"model":"qwen2.5:3b"}')).read()
    state = await watch.refresh()
    assert (state.reachable, state.problem, state.version) == (True, None, VERSION)
    assert len(state.models) == 4
    assert [loaded.name for loaded in state.loaded] == ["qwen2.5:3b"]
    assert watch.state is state


async def test_several_who_ask_at_once_share_one_answer(watch: EngineWatch, counting: CountingEngine) -> None:
    states = await asyncio.gather(*(watch.refresh() for _ in range(10)))
    assert len(set(map(id, states))) == 1
    assert counting.asked == 1


async def test_a_caller_that_goes_away_does_not_take_the_answer_from_the_others(
    watch: EngineWatch, counting: CountingEngine
) -> None:
    impatient, patient = asyncio.create_task(watch.refresh()), asyncio.create_task(watch.refresh())
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).reachable
    assert impatient.cancelled()
    assert counting.asked == 1


async def test_while_used_the_engine_is_asked_every_thirty_seconds(
    watch: EngineWatch, counting: CountingEngine, timers: Timers
) -> None:
    for round_ in range(1, 4):
        watch.wake()
        watch.wake()
        if round_ > 1:
            assert not watch.asking, "thirty seconds have not passed"
            timers.fire()
        await answered(watch)
        assert counting.asked == round_
        assert timers.waiting_s() == [30]


async def test_once_nobody_looks_any_more_nobody_asks(
    watch: EngineWatch, counting: CountingEngine, timers: Timers
) -> None:
    watch.wake()
    await answered(watch)
    timers.fire()
    assert not watch.asking
    assert timers.waiting_s() == []
    assert counting.asked == 1
    watch.wake()
    await answered(watch)
    assert counting.asked == 2


async def test_an_engine_that_stopped_is_noticed_and_one_that_came_back_too(
    watch: EngineWatch, simulator: Simulator, timers: Timers
) -> None:
    assert (await watch.refresh()).reachable
    await simulator.stop()
    lost = await watch.refresh()
    assert not lost.reachable
    assert "Nothing listens at" in (lost.problem or "")
    assert lost.version == VERSION, "what is known of it is kept"
    assert len(lost.models) == 4
    assert timers.waiting_s() == [0.5]
    await simulator.start(int(simulator.url.rpartition(":")[2]))
    timers.fire()
    assert (await answered(watch)).reachable
    assert timers.waiting_s() == [30]


async def test_a_lost_engine_is_asked_for_half_a_minute_and_then_only_while_somebody_looks(
    watch: EngineWatch, simulator: Simulator, timers: Timers
) -> None:
    await simulator.stop()
    await watch.refresh()
    delays_s = []
    while watch.asking or timers.waiting_s():
        if watch.asking:
            await watch.refresh()
        delays_s += timers.waiting_s()
        timers.fire()
    assert delays_s == [0.5, 1, 2, 4, 8, 8, 8, 2]
    watch.wake()
    await answered(watch)
    watch.wake()
    timers.fire()
    assert watch.asking


async def test_a_request_that_found_nobody_is_believed_at_once(
    watch: EngineWatch, counting: CountingEngine, timers: Timers
) -> None:
    await watch.refresh()
    watch.failed(EngineUnreachable("Nobody is there."))
    assert (watch.state.reachable, watch.state.problem) == (False, "Nobody is there.")
    assert (await answered(watch)).reachable, "and then the engine itself is asked"
    assert counting.asked == 2


async def test_a_request_that_broke_off_is_a_reason_to_ask(
    watch: EngineWatch, counting: CountingEngine, timers: Timers
) -> None:
    await watch.refresh()
    watch.failed(EngineBroken("It broke off."))
    assert watch.state.reachable
    assert (await answered(watch)).reachable
    assert counting.asked == 2


async def test_changes_are_told_and_repetitions_are_not(
    counting: CountingEngine, simulator: Simulator
) -> None:
    told: list[EngineState] = []
    watch = EngineWatch(counting, told.append, later=Timers())
    for _ in range(3):
        await watch.refresh()
    await simulator.stop()
    for _ in range(3):
        await watch.refresh()
    assert [state.reachable for state in told] == [True, False]
    await watch.close()


async def test_a_closed_watch_asks_no_more(counting: CountingEngine, timers: Timers) -> None:
    watch = EngineWatch(counting, later=timers)
    await watch.refresh()
    asking = asyncio.create_task(watch.refresh())
    await asyncio.sleep(0)
    before = watch.state
    await watch.close()
    assert await asking is before
    watch.wake()
    watch.failed(EngineUnreachable("Nobody is there."))
    assert await watch.refresh() is before
    assert not watch.asking
    assert timers.waiting_s() == []


async def test_it_runs_on_the_loops_own_timers(counting: CountingEngine, simulator: Simulator) -> None:
    back = asyncio.Event()
    watch = EngineWatch(counting, lambda state: back.set() if state.reachable else None)
    port = int(simulator.url.rpartition(":")[2])
    await simulator.stop()
    assert not (await watch.refresh()).reachable
    await simulator.start(port)
    async with asyncio.timeout(10):
        await back.wait()
    await watch.close()
