"""One simulated inference from the queue to its last token.

Rule 1: what is reported is what passed: durations are measured on the clock and multiplied by the speed, and only
the pace is taken from the model's figures.
Rule 2: tokens are due at fixed times; whoever is late sends all that are due at once, so there is at most one timer
a token, far fewer when the simulation is fast, and only two for an answer that is not streamed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.simulator.faults import Faults
from app.simulator.models import SimulatedModel
from app.simulator.physics import Phase
from app.simulator.scheduler import CardPlace, Scheduler
from app.simulator.text import answer_tokens, split_tokens, until_stop

_NS_PER_US = 1000
_TIMER_US = 500
"""Waits shorter than this are not worth a timer: the loop's own are no finer than a millisecond."""

CRASHED = "an error was encountered while running the model: simulated failure"


class InferenceFailed(Exception):
    """The runner broke in the middle of an answer; `str()` is what Ollama says."""


class CutOff(Exception):
    """The answer ends here without a word: it repeated itself. `text` is what there is of it."""

    def __init__(self, text: str) -> None:
        super().__init__("the answer repeats itself")
        self.text = text


class ConnectionCut(Exception):
    """The connection shall be cut without another byte."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the answer asks the client to run."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked of a model."""

    model: SimulatedModel
    prompt: str
    prompt_tokens: int
    keep_s: float
    faults: Faults
    limit: int = -1
    """Most tokens to answer with; not positive: no limit."""
    stops: tuple[str, ...] = ()
    fixed_text: str | None = None
    """The answer itself, where its form was prescribed, or the arguments of its `call`."""
    thoughts: tuple[str, ...] = ()
    """The tokens that come before the answer's own."""
    call: ToolCall | None = None

    def parted(self, tokens: Sequence[str], sent: int = 0) -> tuple[Sequence[str], Sequence[str]]:
        """Of tokens after the first `sent`: those of thoughts, and those that are shown (a call is not)."""
        at = max(0, len(self.thoughts) - sent)
        return tokens[:at], () if self.call is not None else tokens[at:]


@dataclass(slots=True)
class Timing:
    """How long everything took, in nanoseconds as the client shall see it, and how many tokens there were."""

    total_ns: int = 0
    load_ns: int = 0
    prompt_tokens: int = 0
    prefill_ns: int = 0
    tokens: int = 0
    decode_ns: int = 0
    reason: str = "stop"
    text: list[str] = field(default_factory=list)
    """The tokens."""
    call: ToolCall | None = None
    """The task's, where the answer came to its end."""


Emit = Callable[[Sequence[str]], Awaitable[None]]


class SimulatedInference:
    """Runs tasks on one scheduler, `speed` times as fast as real."""

    def __init__(self, scheduler: Scheduler, *, speed: float, clock_us: Callable[[], int]) -> None:
        self._scheduler = scheduler
        self._speed = speed
        self._clock_us = clock_us
        self.asked = 0
        """How many inferences have been asked for, whatever became of them."""

    async def generate(self, task: Task, emit: Emit | None) -> Timing:
        """Answer `task`; tokens go to `emit` as they are due, or into the result where that is None.

        Raises QueueFull, OutOfMemory, InferenceFailed, CutOff, ConnectionCut, and whatever `emit` raises.
        """
        self.asked += 1
        began_us = self._clock_us()
        timing = Timing(prompt_tokens=task.prompt_tokens)
        tokens = self._plan(task, timing)
        place = await self._scheduler.take(task.model, task.keep_s, out_of_memory=task.faults.out_of_memory)
        try:
            await self._prefill(task, place, timing)
            await self._decode(task, place, tokens, timing, emit)
            timing.load_ns = self._ns(place.load_us)
        finally:
            place.leave()
        timing.total_ns = self._ns(self._clock_us() - began_us)
        return timing

    async def embed(self, task: Task) -> Timing:
        """Like `generate`, for the work of an embedding: prefill only."""
        self.asked += 1
        began_us = self._clock_us()
        timing = Timing(prompt_tokens=task.prompt_tokens)
        place = await self._scheduler.take(task.model, task.keep_s, out_of_memory=task.faults.out_of_memory)
        try:
            await self._prefill(task, place, timing, phase=Phase.EMBEDDING)
            if task.faults.stop_after is not None:
                await self._go_wrong(task.faults, place)
            timing.load_ns = self._ns(place.load_us)
        finally:
            place.leave()
        timing.total_ns = self._ns(self._clock_us() - began_us)
        return timing

    async def load(self, task: Task) -> None:
        """Bring the model into memory and leave it there."""
        (await self._scheduler.take(task.model, task.keep_s, out_of_memory=task.faults.out_of_memory)).leave()

    def _plan(self, task: Task, timing: Timing) -> list[str]:
        """The answer's tokens, as far as they may go."""
        if task.fixed_text is None:
            tokens = answer_tokens(task.model.name, task.prompt, length=task.faults.tokens)
        else:
            tokens = split_tokens(task.fixed_text)
        if task.stops:
            tokens = until_stop(tokens, task.stops)
        if task.thoughts:
            tokens = [*task.thoughts, *tokens]
        if 0 < task.limit < len(tokens):
            timing.reason = "length"
            tokens = tokens[: task.limit]
        elif task.call is not None:
            timing.call = task.call
        return tokens

    async def _prefill(
        self, task: Task, place: CardPlace, timing: Timing, phase: Phase = Phase.PREFILL
    ) -> None:
        began_us = self._clock_us()
        if task.faults.first_byte_s:
            await asyncio.sleep(task.faults.first_byte_s)
        place.work(phase)
        await self._pause(task.prompt_tokens / task.model.prefill_per_s * 1e6 / self._speed)
        timing.prefill_ns = self._ns(self._clock_us() - began_us)

    async def _decode(
        self, task: Task, place: CardPlace, tokens: list[str], timing: Timing, emit: Emit | None
    ) -> None:
        place.work(Phase.DECODE)
        began_us = self._clock_us()
        step_us = 1e6 / (task.model.decode_per_s * self._speed)
        stop_after = task.faults.stop_after
        end = len(tokens) if stop_after is None else min(stop_after, len(tokens))
        if emit is None:
            await self._pause(end * step_us)
        else:
            sent = 0
            while sent < end:
                passed_us = self._clock_us() - began_us
                due = min(end, int((passed_us + _TIMER_US) / step_us))
                if due > sent:
                    await emit(tokens[sent:due])
                    sent = due
                else:
                    await asyncio.sleep(((sent + 1) * step_us - passed_us) / 1e6)
        timing.tokens = end
        timing.text = tokens
        timing.decode_ns = self._ns(self._clock_us() - began_us)
        if stop_after is not None and stop_after <= len(tokens):
            if task.faults.stop_after == task.faults.repeat_after:
                raise CutOff("".join(tokens[:end]))
            await self._go_wrong(task.faults, place)

    async def _go_wrong(self, faults: Faults, place: CardPlace) -> None:
        place.work(Phase.IDLE)
        if faults.stop_after == faults.hang_after:
            await asyncio.get_running_loop().create_future()
        if faults.stop_after == faults.close_after:
            raise ConnectionCut
        raise InferenceFailed(CRASHED)

    async def _pause(self, length_us: float) -> None:
        if length_us >= _TIMER_US:
            await asyncio.sleep(length_us / 1e6)

    def _ns(self, length_us: int) -> int:
        """What the client shall see for a measured duration; never zero, which Go would leave out."""
        return max(1, int(length_us * _NS_PER_US * self._speed))
