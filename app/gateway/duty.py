"""On duty and off: the contributor's verbs, and what happens by itself (cap, engine, disk, the end of a snooze).

Rule 1: every way to start or stop serving goes through here, whoever asks (tray, window, operator, a fault).
Rule 2: going off duty settles first: uptime is billed, streams are cut with their record, then the GPU is given back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import datetime
from typing import Any

from app.basics.clock import mono_us, wall_us
from app.billing.budget import Budget
from app.billing.money import format_money
from app.containers.base import ContainerError
from app.engine.host import Processor
from app.gateway.engine_blockers import CODES, engine_blocker
from app.gateway.upstream import Upstream
from app.gateway.uptime import Uptime
from app.presence.conduct import PREPARING, Conduct, Wish, cap_reached, storage_fault
from app.proxy.jobs import STOPPED, Job, Jobs

log = logging.getLogger(__name__)

LEAVE_S = 5.0
"""How long running requests get to settle and say their last word."""

QUIET_S = 900.0
"""How long what runs may take to end before something that needs quiet is given up."""

LOOK_AGAIN_US = 5_000_000


class RequestsRunning(ContainerError):
    """The engine is not quiet."""


class Duty:
    """Serving and not serving. `changed` is called when a face should look again."""

    def __init__(
        self,
        conduct: Conduct,
        *,
        budget: Budget,
        currency: Callable[[], str],
        changed: Callable[[], None],
    ) -> None:
        self._conduct = conduct
        self._budget = budget
        self._currency = currency
        self._changed = changed
        self._tasks: set[asyncio.Task[Any]] = set()
        self._snooze: asyncio.TimerHandle | None = None
        self._looked_us = -LOOK_AGAIN_US
        self._releasing: asyncio.Task[Any] | None = None
        self.notice: str | None = None
        self.least_room_pico = 0
        """Room under the cap that one request needs."""

    def attach(self, jobs: Jobs, upstream: Upstream, uptime: Uptime) -> None:
        """The parts that report back to this one."""
        self._jobs = jobs
        self._upstream = upstream
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
        if contribute:
            self._spawn(self._bring_up())

    def contribute(self) -> None:
        """Serve; ends a pause or a snooze."""
        if not self.on:
            self._uptime.begin()
        self._forget()
        if self._releasing is not None:
            self._releasing.cancel()
        self._conduct.contribute()
        self.check_cap()
        self._spawn(self._bring_up())

    async def _bring_up(self) -> None:
        await self._upstream.up()
        exposed = await self._upstream.exposure()
        # Whoever has paused meanwhile reads what that gave back.
        if exposed is not None and self.on:
            self.notice = exposed
            self._changed()

    def finish_then_pause(self) -> None:
        """Let what runs end, then pause."""
        if not self.on:
            self._uptime.begin()
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
        self._free_gpu()

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
        host = self._upstream.host
        if host.managed and host.state.processor is Processor.UNKNOWN:
            # This answer may have come from the processor unseen: it is to be the last one that did.
            self._spawn(self._look_at_processor())
        elif all(job.call.model != loaded.name for loaded in self._upstream.watch.state.loaded):
            now_us = mono_us()
            if now_us - self._looked_us >= LOOK_AGAIN_US:
                self._looked_us = now_us
                self._spawn(self._upstream.watch.refresh())

    async def _look_at_processor(self) -> None:
        state = await self._upstream.watch.refresh()
        self._upstream.host.noticed(state.loaded)

    def busy(self) -> bool:
        """Whether requests are under way."""
        return len(self._jobs) > 0

    @contextlib.asynccontextmanager
    async def quietly(self) -> AsyncIterator[None]:
        """Take nothing new and wait until what runs has ended; for what would break it. Raises RequestsRunning."""
        self._conduct.put(PREPARING)
        try:
            if not await self._jobs.wait_idle(QUIET_S):
                raise RequestsRunning(
                    "Requests have been running all the time. Try again when they have ended."
                )
            yield
        finally:
            self._conduct.lift(PREPARING.code)

    def check_cap(self) -> None:
        """The cap blocks where not even one request would fit beside what is spent."""
        if self._budget.spent + self.least_room_pico > self._budget.cap:
            self._conduct.put(cap_reached(format_money(self._budget.cap, self._currency())))
        else:
            self._conduct.lift("cap_reached")

    def engine_changed(self) -> None:
        """The engine or its container came, went, or is different."""
        upstream = self._upstream
        if upstream.watch.state.loaded:
            # Whether a model really lies in the GPU's memory shows only once it is there.
            upstream.host.noticed(upstream.watch.state.loaded)
        blocker = engine_blocker(
            upstream.watch.state, upstream.engine.url, upstream.host.state, gpu_expected=upstream.gpu_expected
        )
        for code in CODES:
            if blocker is None or blocker.code != code:
                self._conduct.lift(code)
        if blocker is not None:
            self._conduct.put(blocker)
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
            self._free_gpu()

    def _free_gpu(self) -> None:
        """Unload every model once nothing runs, and say what that gave back."""
        if self._releasing is not None:
            # Two at once would each take the other's work for their own, and only one could be called off.
            self._releasing.cancel()
        self._releasing = self._spawn(self._release())

    async def _release(self) -> None:
        await self._jobs.wait_idle(LEAVE_S)
        self.notice = (await self._upstream.release()).sentence
        self._changed()

    async def released(self) -> str | None:
        """Wait until the last pause has given the GPU back, or could not; the sentence about it."""
        if self._releasing is not None:
            await asyncio.wait([self._releasing])
        return self.notice

    def _forget(self) -> None:
        """A new word of the contributor's ends a snooze, and the last notice is old news."""
        self.notice = None
        if self._snooze is not None:
            self._snooze.cancel()
            self._snooze = None

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def time_text(at_us: int) -> str:
    """A wall time for a sentence: the hour and minute, with the day where it is not today."""
    at = datetime.fromtimestamp(at_us / 1e6).astimezone()
    clock = at.strftime("%H:%M")
    return clock if at.date() == datetime.now().astimezone().date() else f"{at.strftime('%A')} {clock}"
