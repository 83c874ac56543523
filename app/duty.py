"""On duty and off: the contributor's verbs, and what happens by itself (cap, engine, disk, the end of a snooze).

Rule 1: every way to start or stop serving goes through here, whoever asks (tray, window, operator, a fault).
Rule 2: going off duty settles first: uptime is billed, streams are cut with their record, then the GPU is given back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from app.billing.budget import Budget
from app.billing.money import format_money
from app.clock import mono_us, wall_us
from app.engine.base import Engine, EngineError
from app.engine.health import EngineState, EngineWatch
from app.presence.conduct import Conduct, Wish, cap_reached, engine_down, storage_fault
from app.proxy.jobs import STOPPED, Job, Jobs
from app.uptime import Uptime

log = logging.getLogger(__name__)

LEAVE_S = 5.0
"""How long running requests get to settle and say their last word."""

LOOK_AGAIN_US = 5_000_000


class Duty:
    """Serving and not serving. `changed` is called when a face should look again."""

    def __init__(
        self,
        conduct: Conduct,
        *,
        engine: Engine,
        budget: Budget,
        currency: Callable[[], str],
        changed: Callable[[], None],
    ) -> None:
        self._conduct = conduct
        self._engine = engine
        self._budget = budget
        self._currency = currency
        self._changed = changed
        self._tasks: set[asyncio.Task[Any]] = set()
        self._snooze: asyncio.TimerHandle | None = None
        self._looked_us = -LOOK_AGAIN_US
        self.notice: str | None = None
        self.least_room_pico = 0
        """Room under the cap that one request needs."""

    def attach(self, jobs: Jobs, watch: EngineWatch, uptime: Uptime) -> None:
        """The parts that report back to this one."""
        self._jobs = jobs
        self._watch = watch
        self._uptime = uptime

    @property
    def on(self) -> bool:
        """Whether the contributor lends the GPU now, faults or not."""
        return self._conduct.wish in (Wish.CONTRIBUTE, Wish.FINISH)

    # The verbs.

    def started(self, *, contribute: bool) -> None:
        """The gateway listens."""
        self._uptime.begin()
        self._conduct.started(contribute=contribute)
        self.check_cap()

    def contribute(self) -> None:
        """Serve; ends a pause or a snooze."""
        if not self.on:
            self._uptime.begin()
        self._forget()
        self._conduct.contribute()
        self.check_cap()
        self._spawn(self._watch.refresh())

    def finish_then_pause(self) -> None:
        """Let what runs end, then pause."""
        self._forget()
        self._conduct.finish()
        if not len(self._jobs):
            self._finished()

    def pause_now(self) -> None:
        """Cut what runs after settling it."""
        self._forget()
        self._uptime.bill()
        self._conduct.pause()
        self._jobs.end_all(STOPPED)
        self._spawn(self._free_gpu())

    def snooze(self, seconds: float) -> None:
        """Pause now, contribute again after `seconds`."""
        self.pause_now()
        now_us = wall_us()
        until_us = now_us + int(seconds * 1e6)
        self._conduct.snooze(until_us, time_text(until_us), now_us)
        self._snooze = asyncio.get_running_loop().call_later(seconds, self.contribute)

    def stop_request(self, request_id: str) -> None:
        """Cut one request after settling it."""
        job = self._jobs.get(request_id)
        if job is not None:
            self._jobs.end(job, STOPPED)

    async def stop(self) -> None:
        """The gateway is being quit: settle and cut everything."""
        self._uptime.stop()
        if self._snooze is not None:
            self._snooze.cancel()
        self._conduct.stopping()
        self._jobs.end_all(STOPPED)
        if not await self._jobs.wait_idle(LEAVE_S):
            log.warning("%d requests did not end in time; their records are written.", len(self._jobs))
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What happens by itself.

    def job_ended(self, job: Job) -> None:
        """Called after every request."""
        if self._budget.spent + self.least_room_pico > self._budget.cap:
            self.check_cap()
        self._look_at_loaded(job)
        if not len(self._jobs):
            self._finished()

    def _look_at_loaded(self, job: Job) -> None:
        """A model that was loaded for this request should show; engines that never tell are not pestered."""
        if all(job.call.model != loaded.name for loaded in self._watch.state.loaded):
            now_us = mono_us()
            if now_us - self._looked_us >= LOOK_AGAIN_US:
                self._looked_us = now_us
                self._spawn(self._watch.refresh())

    def check_cap(self) -> None:
        """The cap blocks where not even one request would fit beside what is spent."""
        if self._budget.spent + self.least_room_pico > self._budget.cap:
            self._conduct.put(cap_reached(format_money(self._budget.cap, self._currency())))
        else:
            self._conduct.lift("cap_reached")

    def engine_changed(self, state: EngineState) -> None:
        """The engine came, went, or has other models."""
        if state.reachable:
            self._conduct.lift("engine_down")
        else:
            self._conduct.put(engine_down(self._engine.url))
        self._changed()

    def storage_changed(self, fault: str | None) -> None:
        """The ledger cannot be written, or can again."""
        if fault is None:
            self._conduct.lift("storage_fault")
            return
        log.error("%s", fault)
        self._conduct.put(storage_fault(fault))
        self._jobs.storage_failed()

    def _finished(self) -> None:
        if "finishing" in self._conduct.blockers:
            self._uptime.bill()
            self._conduct.finished()
            self._spawn(self._free_gpu())

    async def _free_gpu(self) -> None:
        """Unload every model once nothing runs, and say what that gave back."""
        await self._jobs.wait_idle(LEAVE_S)
        try:
            loaded = await self._engine.loaded()
            for model in loaded:
                await self._engine.unload(model.name)
            left = {model.name for model in await self._engine.loaded()} if loaded else set()
        except EngineError as error:
            self.notice = f"The GPU's memory may still be in use: {error}"
        else:
            freed_b = sum(model.vram_b for model in loaded if model.name not in left)
            self.notice = f"Released {freed_b / 1e9:.1f} GB of the GPU's memory." if freed_b else None
            if left:
                self.notice = (
                    f"{', '.join(sorted(left))} could not be unloaded and still uses the GPU's memory."
                )
        await self._watch.refresh()
        self._changed()

    def _forget(self) -> None:
        """A new word of the contributor's ends a snooze, and the last notice is old news."""
        self.notice = None
        if self._snooze is not None:
            self._snooze.cancel()
            self._snooze = None

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def time_text(at_us: int) -> str:
    """A wall time for a sentence: the hour and minute, with the day where it is not today."""
    at = datetime.fromtimestamp(at_us / 1e6).astimezone()
    clock = at.strftime("%H:%M")
    return clock if at.date() == datetime.now().astimezone().date() else f"{at.strftime('%A')} {clock}"
