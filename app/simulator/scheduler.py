"""Who may use the simulated card, in which order, and which models lie in its memory.

Rule 1: first come, first served; at most `parallel` at once, at most `max_queue` waiting, as Ollama has it.
Rule 2: whoever goes away gives its place back at once, wherever it stood.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from app.simulator.models import SimulatedModel
from app.simulator.physics import Phase, SimulatedGpu

MAX_QUEUE = 512
_FOREVER_NS = (1 << 63) - 1


class QueueFull(Exception):
    """More requests wait than may."""


class OutOfMemory(Exception):
    """The model did not fit, or was asked not to."""


@dataclass(eq=False, slots=True)
class Runner:
    """A model in the card's memory."""

    model: SimulatedModel
    users: int
    keep_s: float
    """How long it stays unused; negative for ever."""
    expires_ns: int
    """Wall clock, nanoseconds since the epoch."""
    vram_b: int = 0
    """What it takes of the card's memory; the rest lies in main memory."""
    timer: asyncio.TimerHandle | None = None


class CardPlace:
    """The right to use the card with one model, from `Scheduler.take` until `leave`."""

    __slots__ = ("_gpu", "_leave", "_phase", "_runner", "load_us")

    def __init__(
        self, gpu: SimulatedGpu, runner: Runner, load_us: int, leave: Callable[[Runner], None]
    ) -> None:
        self.load_us = load_us
        """How long loading the model took; 0 where it was there."""
        self._gpu = gpu
        self._runner = runner
        self._phase = Phase.IDLE
        self._leave: Callable[[Runner], None] | None = leave

    def work(self, phase: Phase) -> None:
        """What the card does for us from now on."""
        self._gpu.shift(self._phase, phase)
        self._phase = phase

    def leave(self) -> None:
        """Give the place back; twice does no harm."""
        leave, self._leave = self._leave, None
        if leave is not None:
            self.work(Phase.IDLE)
            leave(self._runner)


class Scheduler:
    """The queue and the memory of one card. `speed` makes loading that much faster than real."""

    def __init__(
        self,
        gpu: SimulatedGpu,
        *,
        speed: float,
        parallel: int,
        clock_us: Callable[[], int],
        max_queue: int = MAX_QUEUE,
        cpu_only: Callable[[], bool] = lambda: False,
    ) -> None:
        self._gpu = gpu
        self._cpu_only = cpu_only
        self._speed = speed
        self._parallel = parallel
        self._max_queue = max_queue
        self._clock_us = clock_us
        self._taken = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._runners: dict[str, Runner] = {}
        self._loading = asyncio.Lock()
        self._idled = asyncio.Event()

    @property
    def running(self) -> int:
        """Requests that have a place."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    def runners(self) -> list[Runner]:
        """Loaded models, the longest-lived first, as `ollama ps` lists them."""
        return sorted(self._runners.values(), key=lambda runner: -runner.expires_ns)

    async def take(self, model: SimulatedModel, keep_s: float, *, out_of_memory: bool = False) -> CardPlace:
        """Wait for a place and for the model to be loaded. Raises QueueFull, OutOfMemory."""
        if self._taken < self._parallel:
            self._taken += 1
        else:
            await self._wait_in_queue()
        try:
            runner = self._runners.get(model.name)
            load_us = 0
            if runner is not None and runner.model.digest != model.digest:
                # The name means another model now: the old one goes as soon as nobody uses it.
                self._replaced(runner)
                runner = None
            if runner is None or out_of_memory:
                began_us = self._clock_us()
                async with self._loading:
                    runner = await self._load(model, out_of_memory=out_of_memory)
                load_us = self._clock_us() - began_us
        except BaseException:
            self._give_place_on()
            raise
        runner.users += 1
        runner.keep_s = keep_s
        if runner.timer is not None:
            runner.timer.cancel()
            runner.timer = None
        self._set_expiry(runner)
        return CardPlace(self._gpu, runner, load_us, self._left)

    def unload(self, model: SimulatedModel) -> None:
        """Take the model out of memory, as soon as nobody uses it."""
        runner = self._runners.get(model.name)
        if runner is not None:
            runner.keep_s = 0
            if not runner.users:
                self._evict(runner)

    def _replaced(self, runner: Runner) -> None:
        runner.keep_s = 0
        self._runners.pop(runner.model.name, None)
        self._account_memory()

    def close(self) -> None:
        """Unload everything and turn the queue away."""
        while self._queue:
            self._queue.popleft().cancel()
        for runner in list(self._runners.values()):
            self._evict(runner)

    async def _wait_in_queue(self) -> None:
        if len(self._queue) >= self._max_queue:
            raise QueueFull
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._give_place_on()
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def _give_place_on(self) -> None:
        """A place has come free: to the next in the queue, who is counted already."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken -= 1

    async def _load(self, model: SimulatedModel, *, out_of_memory: bool) -> Runner:
        """One model at a time, as Ollama does; another may have loaded ours meanwhile."""
        runner = self._runners.get(model.name)
        if runner is not None and not out_of_memory:
            return runner
        # What the card could never hold is split, as Ollama splits it between the card and main memory.
        vram_b = 0 if self._cpu_only() else min(model.vram_b, self._gpu.room_b)
        while self._gpu.free_b() < vram_b:
            idle = [runner for runner in self._runners.values() if not runner.users]
            if idle:
                self._evict(min(idle, key=lambda runner: runner.expires_ns))
            else:
                self._idled.clear()
                await self._idled.wait()
        self._gpu.shift(Phase.IDLE, Phase.LOADING)
        try:
            await asyncio.sleep(model.load_s / self._speed)
        finally:
            self._gpu.shift(Phase.LOADING, Phase.IDLE)
        if out_of_memory:
            raise OutOfMemory
        runner = Runner(model, users=0, keep_s=0, expires_ns=0, vram_b=vram_b)
        self._runners[model.name] = runner
        self._account_memory()
        return runner

    def _left(self, runner: Runner) -> None:
        runner.users -= 1
        if not runner.users:
            self._idled.set()
            if runner.keep_s == 0:
                self._evict(runner)
            else:
                self._set_expiry(runner)
                if runner.keep_s > 0:
                    # In real time whatever the speed: this is a promise to people, not work.
                    runner.timer = asyncio.get_running_loop().call_later(runner.keep_s, self._evict, runner)
        self._give_place_on()

    def _set_expiry(self, runner: Runner) -> None:
        runner.expires_ns = _FOREVER_NS if runner.keep_s < 0 else time.time_ns() + int(runner.keep_s * 1e9)

    def _evict(self, runner: Runner) -> None:
        if runner.timer is not None:
            runner.timer.cancel()
            runner.timer = None
        if self._runners.get(runner.model.name) is runner and not runner.users:
            del self._runners[runner.model.name]
            self._account_memory()

    def _account_memory(self) -> None:
        self._gpu.set_memory(sum(runner.vram_b for runner in self._runners.values()))
