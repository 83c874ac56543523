"""The requests between their hold and their settlement, and the one timer that looks after them.

Rule 1: a job is ended from outside only by `Jobs.end`, which says why; the pipeline then settles and finishes it.
Rule 2: the timer runs while jobs run and at no other time. About once a second it renews holds, ends what the cap has
no room for, ends what made no progress for too long, and writes down what the rest has cost so far.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.access.allowances import Grant
from app.basics.clock import mono_us, wall_us
from app.basics.signal import Signal
from app.billing.metered import MeteredEnergy
from app.billing.pricing import Pricing
from app.billing.purses import Funds, PurseOf
from app.ledger.heads import Receipt
from app.ledger.outcomes import RequestOutcome
from app.ledger.sqlite.store import Ledger
from app.power.accounts import ClosedAccount
from app.power.meter import Meter
from app.proxy.admission import Call
from app.proxy.no_money import out_of_money
from app.proxy.waiting import QueuePlace

RENEW_EVERY_S = 0.75
"""How often holds are looked at, and what running requests have cost is written down for the case of a crash. With the
time for which the ledger's writer lets that wait for company (see there) it is less than a second old."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a running request is ended by us: the record's outcome, and what a client hears."""

    outcome: RequestOutcome
    status: int
    code: str
    sentence: str


STALLED = Ending(
    RequestOutcome.TIMEOUT, 504, "stalled", "Nothing moved for too long, so the request was ended."
)
NOT_BEGUN = Ending(
    RequestOutcome.TIMEOUT,
    504,
    "first_token_timeout",
    "The engine did not begin to answer in time; it may still be loading its model. Try again later.",
)
FELL_SILENT = Ending(
    RequestOutcome.TIMEOUT,
    504,
    "idle_timeout",
    "The engine fell silent in the middle of its answer, so the request was ended.",
)
STOPPED = Ending(RequestOutcome.STOPPED, 503, "stopped", "The contributor took the GPU back.")
REVOKED = Ending(RequestOutcome.STOPPED, 401, "key_revoked", "The key was revoked, so the request was ended.")
STORAGE = Ending(
    RequestOutcome.STOPPED, 507, "ledger_fault", "The ledger cannot be written, so the request was ended."
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long (seconds) an answer may stand still because of the engine: before a streamed one begins, within it,
    and at all. How long a client may take nothing of it is its connection's matter."""

    first_s: float
    idle_s: float
    stall_s: float

    def lost(self, job: Job, now_us: int) -> Ending | None:
        """Why `job` is waited for no longer; None as long as it is."""
        if job.delivering:
            return None
        still_s = (now_us - job.last_us) / 1e6
        if job.call.frames is not None and still_s > (self.idle_s if job.progressed else self.first_s):
            return FELL_SILENT if job.progressed else NOT_BEGUN
        return STALLED if still_s > self.stall_s else None


class Job:
    """One running request. `started_us` is wall time, `mono0_us` and `last_us` are monotonic."""

    __slots__ = (
        "call",
        "closed",
        "cost_pico",
        "delivered",
        "delivering",
        "durable",
        "ended_us",
        "ending",
        "grant",
        "hold_pico",
        "id",
        "last_us",
        "metered",
        "mono0_us",
        "place",
        "pricing",
        "progressed",
        "reached",
        "recorded",
        "settled",
        "started_us",
        "task",
        "waits_for_disk",
    )

    def __init__(
        self,
        id: str,
        call: Call,
        grant: Grant,
        place: QueuePlace,
        pricing: Pricing,
        started_us: int,
        mono0_us: int,
        task: asyncio.Task[object] | None,
    ) -> None:
        self.id = id
        self.call = call
        self.grant = grant
        self.place = place
        self.pricing = pricing
        self.metered = MeteredEnergy(pricing.tariff, started_us)
        """What it has used, priced as it is metered."""
        self.started_us = started_us
        self.mono0_us = mono0_us
        self.last_us = mono0_us
        self.task = task
        self.ended_us = 0
        """Wall time, once it is settled: the end that its record has, and in whose period it is charged."""
        self.hold_pico = 0
        self.durable: asyncio.Future[None] | None = None
        self.recorded: asyncio.Future[Receipt] | None = None
        """Brings its record once that is durable; None until it is settled."""
        self.progressed = False
        self.reached = False
        self.settled = False
        self.ending: Ending | None = None
        self.closed: ClosedAccount | None = None
        self.cost_pico = 0
        self.delivered = False
        """A byte of the answer has left."""
        self.delivering = False
        """The client is to take a part of its answer, and the engine waits for it."""
        self.waits_for_disk = False

    def wall_at(self, now_us: int) -> int:
        """Wall time at monotonic `now_us`, by the clock as it was when the job began: no change of the clock moves
        what it is priced by."""
        return self.started_us + now_us - self.mono0_us

    def cost_by(self, energy_uj: int, now_us: int) -> int:
        """What it has cost. The time since its start is at least its share of it, so this is never too little."""
        self.metered.upto(energy_uj, self.wall_at(now_us))
        return self.pricing.request_cost(self.metered.by_price, now_us - self.mono0_us)

    def crash_cost(self, energy_uj: int, now_us: int) -> int:
        """What may be recorded of it if nobody is left to settle it. Such a record does not tell which price held for
        which part of its energy, so it never asks for more than that energy, spread evenly, comes to."""
        evenly = self.pricing.tariff.spread(energy_uj, self.started_us, self.wall_at(now_us))
        even = self.pricing.request_cost(evenly, now_us - self.mono0_us)
        return min(even, self.cost_by(energy_uj, now_us))

    def awake(self) -> None:
        """Take back the cancellation by which `Jobs.end` woke this job's task."""
        if self.task is not None:
            self.task.uncancel()


class Jobs:
    """Every running request, by id."""

    def __init__(
        self,
        funds: Funds,
        ledger: Ledger,
        meter: Meter,
        *,
        hold_seconds: Callable[[], float],
        patience: Callable[[], Patience],
    ) -> None:
        self._funds = funds
        self._ledger = ledger
        self._meter = meter
        self._hold_seconds = hold_seconds
        self._patience = patience
        self.began: Signal[[]] = Signal()
        """The first request after none ran for a while."""
        self.ended: Signal[[Job]] = Signal()
        """A request is over; told after every one."""
        self.models: set[str] = set()
        """What was asked for, by the engine's spelling; whoever unloads a model takes it out."""
        self._jobs: dict[str, Job] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._idle: asyncio.Event | None = None
        self._given_up: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(tuple(self._jobs.values()))

    def get(self, id: str) -> Job | None:
        """The running request with this id."""
        return self._jobs.get(id)

    def add(self, job: Job) -> None:
        """Look after a job from now on."""
        self._jobs[job.id] = job
        self.models.add(job.call.model)
        if self._timer is None:
            # So at most once a second: the first request after a pause, which faces want to know of.
            self.began()
            self._timer = asyncio.get_running_loop().call_later(RENEW_EVERY_S, self._tick)

    def remove(self, job: Job) -> None:
        """The job has ended."""
        self._jobs.pop(job.id, None)
        if not self._jobs and self._idle is not None:
            self._idle.set()
        self.ended(job)

    def end(self, job: Job, ending: Ending) -> None:
        """Wake the job's task so that it settles and finishes, saying why. A second call changes nothing."""
        if job.ending is None and not job.settled and job.task is not None:
            job.ending = ending
            job.task.cancel()

    def end_all(self, ending: Ending) -> None:
        """End every running request."""
        for job in self:
            self.end(job, ending)

    def end_key(self, key: str) -> None:
        """End every request that came with the key of this id, or by the address of this id."""
        for job in self:
            if key in (job.call.principal.key, job.call.principal.address):
                self.end(job, REVOKED)

    def respect_cap(self) -> None:
        """End the newest requests until what is spent and held fits under the cap, which may have been lowered, and
        into the budgets of their keys and clients.

        Waiting for the next renewal would not do: with shared power a hold lasts as many times longer as there are
        requests. What a request has cost so far stays spent; the rest of its hold becomes free.
        """
        now_us, wall = mono_us(), wall_us()
        self._funds.look(wall)
        for short in self._funds.over():
            over = short.purse.over
            for job in reversed(tuple(self._jobs.values())):
                if over <= 0:
                    break
                if not job.settled and self._funds.holds_in(job.id, short):
                    over -= max(0, job.hold_pico - job.cost_by(self._meter.accrued(job.id), now_us))
                    self._cut(job, short, wall)

    def _cut(self, job: Job, short: PurseOf, wall: int) -> None:
        code, sentence = out_of_money(short, wall, job.pricing.tariff.currency)
        self.end(job, Ending(RequestOutcome.BUDGET_CUT, 402, code, sentence))

    def storage_failed(self) -> None:
        """The disk takes nothing any more: end what runs, and let go of those who wait for it."""
        for job in self:
            if not job.waits_for_disk:
                self.end(job, STORAGE)
            elif job.recorded is None:
                self._let_go(job)
            else:
                task = asyncio.get_running_loop().create_task(self._give_up(job, job.recorded))
                self._given_up.add(task)
                task.add_done_callback(self._given_up.discard)

    async def _give_up(self, job: Job, recorded: asyncio.Future[Receipt]) -> None:
        """A settled job waits for its record: where that does not become durable, the client is told so, and does not
        pay for an answer of which it has seen nothing."""
        waive = None if job.delivered else job.id
        if await self._ledger.gave_up(recorded, waive):
            if waive is not None:
                payer = job.call.principal
                self._funds.refund(job.cost_pico, payer.key, payer.log, job.ended_us, wall_us())
                job.cost_pico = 0
            self._let_go(job)

    def _let_go(self, job: Job) -> None:
        if job.task is not None:
            job.ending = STORAGE
            job.task.cancel()

    async def wait_idle(self, timeout_s: float | None) -> bool:
        """Wait until no request runs; False where `timeout_s` passed first."""
        if not self._jobs:
            return True
        self._idle = asyncio.Event()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        finally:
            self._idle = None
        return True

    def _tick(self) -> None:
        self._timer = None
        if not self._jobs:
            return
        self._timer = asyncio.get_running_loop().call_later(RENEW_EVERY_S, self._tick)
        now_us = mono_us()
        self.respect_cap()
        patience = self._patience()
        for job in self:
            if job.settled or job.ending is not None:
                continue
            if (why := patience.lost(job, now_us)) is not None:
                self.end(job, why)
                continue
            if job.call.frames is not None and job.progressed:
                self._meter.produced(job.id, job.call.frames.deltas)
            energy_uj = self._meter.accrued(job.id)
            now_us = mono_us()
            self._renew(job, job.cost_by(energy_uj, now_us), now_us)
            self._ledger.renew(
                job.id,
                amount_pico=job.hold_pico,
                seen_us=job.wall_at(now_us),
                e_uj=energy_uj,
                cost_pico=job.crash_cost(energy_uj, now_us),
            )

    def _renew(self, job: Job, so_far: int, now_us: int) -> None:
        """Keep the hold at least a third of its seconds ahead of what the request has cost."""
        seconds, full_w, priced_us = self._hold_seconds(), self._meter.full_w, job.wall_at(now_us)
        left = job.hold_pico - so_far
        if left >= job.pricing.ceiling(full_w, seconds / 3, priced_us):
            return
        wanted = so_far + job.pricing.ceiling(full_w, seconds, priced_us)
        wall = wall_us()
        short = self._funds.renew(job.id, wanted, wall)
        if short is None:
            job.hold_pico = wanted
        elif left < job.pricing.ceiling(full_w, 2 * RENEW_EVERY_S, priced_us):
            self._cut(job, short, wall)
