"""On duty and off: the contributor's verbs, and what follows from the blockers.

Rule 1: whether the machine is lent follows from the blockers alone (see `Lending`), whoever or whatever set them; a
verb only changes the wish. Rule 2: going off duty settles first: uptime is billed, streams are cut with their record,
then the GPU is given back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from app.access.refusals import Refusal
from app.basics.clock import mono_us, wall_us
from app.engine.host import Processor
from app.gateway.upstream import Upstream
from app.gateway.uptime import Uptime
from app.presence.blockers import Lending
from app.presence.conduct import STOPPING, Conduct
from app.proxy.jobs import STOPPED, Job, Jobs
from app.proxy.waiting import Queue

log = logging.getLogger(__name__)

LEAVE_S = 5.0
"""How long running requests get to settle and say their last word."""

LOOK_AGAIN_US = 5_000_000
JUDGE_EVERY_S = 0.02
"""Under load the rules are asked this often at most; no hold is given beyond the cap whatever they say."""


class Duty:
    """Lending the machine, and not. `changed` is called when a face should look again."""

    def __init__(
        self,
        conduct: Conduct,
        queue: Queue,
        jobs: Jobs,
        upstream: Upstream,
        uptime: Uptime,
        *,
        changed: Callable[[], None],
        now_us: Callable[[], int] = wall_us,
    ) -> None:
        self._conduct = conduct
        self._queue = queue
        self._jobs = jobs
        self._upstream = upstream
        self._uptime = uptime
        self._changed = changed
        self._now_us = now_us
        self._tasks: set[asyncio.Task[Any]] = set()
        self._looked_us = -LOOK_AGAIN_US
        self._judge_at_s = 0.0
        self._judging: asyncio.TimerHandle | None = None
        self._releasing: asyncio.Task[Any] | None = None
        self._on = False
        self.notice: str | None = None
        self.others: tuple[str, ...] = ()
        """Models that the last pause left in the GPU's memory, since they were loaded without us."""
        conduct.changed.connect(self._follow)
        jobs.ended.connect(self._job_ended)
        upstream.moved.connect(self._engine_moved)

    @property
    def on(self) -> bool:
        """Whether the machine is lent now: the engine is kept running, and uptime is billed where that is the mode."""
        return self._on

    # The verbs.

    def started(self, *, contribute: bool) -> None:
        """The gateway listens."""
        self._conduct.started(contribute=contribute)

    def contribute(self) -> None:
        """Serve; ends a pause or a snooze, and tries again what had failed."""
        self.notice = None
        was_on = self._on
        self._conduct.contribute()
        if was_on and self._on:
            self._spawn(self._bring_up())

    def finish_then_pause(self) -> None:
        """Let what runs end, then pause."""
        self.notice = None
        self._conduct.finish()

    def pause_now(self) -> None:
        """Cut what runs after settling it."""
        self._rest(self._conduct.pause)

    def snooze(self, seconds: float) -> None:
        """Pause now, contribute again after `seconds`."""
        until_us = self._now_us() + int(seconds * 1e6)
        self._rest(lambda: self._conduct.snooze(until_us, time_text(until_us)))

    def unload_others(self) -> None:
        """Unload also what was loaded without us; nothing while the machine is lent."""
        if not self._on:
            self._free_gpu(others=True)

    def _rest(self, say: Callable[[], None]) -> None:
        self.notice = None
        was_on = self._on
        say()
        if not was_on:
            # Asked for once more: somebody may have loaded a model meanwhile.
            self._free_gpu()

    def stop_request(self, request_id: str) -> None:
        """Cut one request after settling it, or send it away if it waits for its turn."""
        job = self._jobs.get(request_id)
        if job is not None:
            self._jobs.end(job, STOPPED)
        else:
            refusal = Refusal(STOPPED.status, STOPPED.code, STOPPED.sentence, retry_after_s=60)
            self._queue.refuse(request_id, refusal)

    async def stop(self) -> None:
        """The gateway is being quit: settle and cut everything."""
        self._conduct.stopping()
        if not await self._jobs.wait_idle(LEAVE_S):
            log.warning("%d requests did not end in time; their records are written.", len(self._jobs))
        if self._judging is not None:
            self._judging.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What follows from the blockers.

    def _follow(self) -> None:
        lending = self._conduct.blockers.lending
        busy = len(self._jobs) > 0
        if lending is Lending.ENDS:
            on = False
        elif lending is Lending.ENDS_WITH_REQUESTS:
            on = self._on and busy
        else:
            on = True
        if on != self._on:
            self._on, self.others = on, ()
            if on:
                self._go_on()
            else:
                self._go_off()
        if self._conduct.blockers:
            self._queue.look_again()
        if lending is Lending.ENDS:
            self._jobs.end_all(STOPPED)
        if not busy:
            self._conduct.finished()
        self._changed()

    def _go_on(self) -> None:
        self._uptime.begin()
        if self._releasing is not None:
            self._releasing.cancel()
        self._spawn(self._bring_up())

    def _go_off(self) -> None:
        self._uptime.end()
        if STOPPING.code not in self._conduct.blockers:
            self._free_gpu()

    async def _bring_up(self) -> None:
        await self._upstream.up()
        exposed = await self._upstream.exposure()
        # Whoever has paused meanwhile reads what that gave back.
        if exposed is not None and self._on:
            self.notice = exposed
            self._changed()

    def _job_ended(self, job: Job) -> None:
        # It may have spent what was left under the cap, or been the last one that was waited for.
        self._judge_soon()
        self._look_at_loaded(job)
        if not len(self._jobs) and self._conduct.blockers.lending is not Lending.GOES_ON:
            self._follow()

    def _judge_soon(self) -> None:
        """Ask the rules: now, or once for all who ask within JUDGE_EVERY_S."""
        if self._judging is not None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._judge_at_s:
            self._judge_at_s = loop.time() + JUDGE_EVERY_S
            self._conduct.look()
        else:
            self._judging = loop.call_at(self._judge_at_s, self._judge)

    def _judge(self) -> None:
        self._judging = None
        self._judge_at_s = asyncio.get_running_loop().time() + JUDGE_EVERY_S
        self._conduct.look()

    def _look_at_loaded(self, job: Job) -> None:
        """A model that was loaded for this request should show; engines that never tell are not pestered."""
        host = self._upstream.host
        if host.managed and host.state.processor is Processor.UNKNOWN:
            # This answer may have come from the processor unseen: it is to be the last one that did.
            self._spawn(self._look_at_processor())
            return
        now_us = mono_us()
        if now_us - self._looked_us < LOOK_AGAIN_US:
            return
        if all(job.call.model != loaded.name for loaded in self._upstream.watch.state.loaded):
            self._looked_us = now_us
            self._spawn(self._upstream.watch.refresh())

    async def _look_at_processor(self) -> None:
        state = await self._upstream.watch.refresh()
        self._upstream.host.noticed(state.loaded)

    def _engine_moved(self) -> None:
        """The engine or its container came, went, or is different."""
        upstream = self._upstream
        if upstream.watch.state.loaded:
            # Whether a model really lies in the GPU's memory shows only once it is there.
            upstream.host.noticed(upstream.watch.state.loaded)
        self._conduct.look()
        self._changed()

    def storage_changed(self, fault: str | None) -> None:
        """The ledger cannot be written, or can again."""
        self._conduct.look()
        if fault is not None:
            log.error("%s", fault)
            self._jobs.storage_failed()

    # Giving the GPU back.

    def _free_gpu(self, *, others: bool = False) -> None:
        """Unload what was used once nothing runs, and say what that gave back and what else lies there."""
        if self._releasing is not None:
            # Two at once would each take the other's work for their own, and only one could be called off.
            self._releasing.cancel()
        self._releasing = self._spawn(self._release(others))

    async def _release(self, others: bool) -> None:
        await self._jobs.wait_idle(LEAVE_S)
        came = await self._upstream.release(self._jobs.models, others=others)
        self._jobs.models.difference_update(came.models)
        self.notice, self.others = came.sentence, came.others
        self._changed()

    async def released(self) -> str | None:
        """Wait until the last pause has given the GPU back, or could not; the sentence about it."""
        if self._releasing is not None:
            await asyncio.wait([self._releasing])
        return self.notice

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
