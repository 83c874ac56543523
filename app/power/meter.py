"""The loop's side of power: the account book, the sensor, the idle baseline and the graph's history, kept together.

Rule 1: everything here runs on the loop's thread; the sampler's thread only hands readings over. Rule 2: while no
request runs and no face looks, nothing happens here: no timer, no reading.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from app.basics.clock import mono_us, wall_us
from app.power.accounts import MODEL, ClosedAccount, EnergyBook, EnergyTotals, StaticWatts
from app.power.attribution import Phases
from app.power.baseline import IdleBaseline, KeptIdle
from app.power.exact import PLAUSIBLE_W
from app.power.foreign import ForeignUse, others_pct
from app.power.history import PowerHistory
from app.power.sampler import Sampler
from app.power.sensors.base import Reading, Sensor, SensorError, SensorInfo
from app.power.sensors.engine_programs import EnginePrograms

log = logging.getLogger(__name__)

STALE_US = 3_000_000
"""An older reading says nothing about now."""

MODELLED_EVERY_S = 1.0
BEYOND_LIMIT = 2.0
"""A reading of more than so many times the limit is a fault; an H200 passed its own by a quarter for a moment."""
HEADROOM = 1.25
"""Where a sensor names no limit, the most it has shown and a quarter more is taken for one."""


@dataclass(frozen=True, slots=True)
class PowerNow:
    """Watts at this moment: the whole machine, and the part of it that requests add."""

    gpu_w: float
    total_w: float
    marginal_w: float


class Meter:
    """What requests, faces and the gateway ask about power. Make it on the loop that will use it."""

    def __init__(
        self,
        sensor: Sensor,
        watts: StaticWatts,
        *,
        dedicated: bool,
        by_formula: bool = False,
        rate_hz: float,
        tail_s: float,
        cost_per_hour: Callable[[float], int],
        loop: asyncio.AbstractEventLoop,
        own_idle: bool = False,
        kept: KeptIdle | None = None,
        keep: Callable[[KeptIdle], None] = lambda _: None,
    ) -> None:
        """`own_idle`: the watts of rest are the contributor's own figure and not learned. `kept` is what was learned
        before, `keep` is given what is learned, now and then; it must not block."""
        self._watts = watts
        self._dedicated = dedicated
        self._measures = sensor.info.source != "model"
        self._sensor = sensor
        self.last_reading: Reading | None = None
        self.history = PowerHistory()
        self.cost_per_hour = cost_per_hour
        self._source = sensor.info.source
        limit_w = sensor.info.limit_w
        most_w = PLAUSIBLE_W if limit_w is None else limit_w * BEYOND_LIMIT
        source = MODEL if by_formula else self._source
        self._book = EnergyBook(watts, dedicated, 1, source=source, most_w=most_w)
        self._baseline = IdleBaseline(watts.gpu_idle_w, own=own_idle, kept=kept)
        self._keep = keep
        self._foreign = ForeignUse()
        self._programs = EnginePrograms()
        self._loop = loop
        self._open = 0
        self._loads = 0
        self._watchers: set[int] = set()
        self._asking: list[tuple[int, asyncio.Future[int | None]]] = []
        self._peak_w = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._failed: str | None = None
        self._sampler = Sampler(
            sensor,
            self._from_thread,
            mono_us,
            rate_hz=rate_hz,
            tail_s=tail_s,
            on_rest=lambda: self._hand_over(self._rested),
        )

    # The life of a request: see EnergyBook.

    def open(self, request_id: str, model: str = "") -> None:
        """The request goes to the engine."""
        self._book.open(request_id, mono_us(), model)
        self._open += 1
        if self._timer is None:
            self._begin()

    def progress(self, request_id: str) -> None:
        """Its first output was seen."""
        self._book.progress(request_id, mono_us())

    def produced(self, request_id: str, tokens: int) -> None:
        """So many tokens of its answer have come."""
        self._book.produced(request_id, tokens, mono_us())

    def close(self, request_id: str, phases: Phases | None = None) -> ClosedAccount:
        """It is over; `phases` is what the engine says that it did when."""
        self._open -= 1
        return self._book.close(request_id, mono_us(), phases)

    def loading(self, *, active: bool) -> None:
        """The gateway itself begins or ends loading a model: what that draws is no request's, and not idle."""
        self._loads = max(0, self._loads + (1 if active else -1))
        self._book.loading(mono_us(), self._loads > 0)
        self.watching(self, active=self._loads > 0)

    def accrued(self, request_id: str) -> int:
        """Microjoules so far."""
        return self._book.accrued(request_id, mono_us())

    def is_queued(self, request_id: str) -> bool:
        """It waits in the engine's queue."""
        return self._book.is_queued(request_id)

    def request_w(self, request_id: str) -> float:
        """Watts it is billed now."""
        return self._book.request_w(request_id)

    def take_uptime(self) -> tuple[int, int]:
        """Dedicated mode: (microjoules, microseconds) since the last call in which no request ran."""
        return self._book.take_uptime(mono_us())

    def totals(self) -> EnergyTotals:
        """Where all energy went."""
        return self._book.totals()

    # What is known about power.

    @property
    def source(self) -> str:
        """Who says what the GPU draws: the sensor's source, or `model`."""
        return self._book.source

    @property
    def sensor_info(self) -> SensorInfo | None:
        """What measures; None where nothing does. More of it may be known once a parked GPU was awake."""
        return self._sensor.info if self._measures else None

    @property
    def full_w(self) -> float:
        """The most that requests can be billed for at once: the basis of holds."""
        watts = self._watts
        info = self.sensor_info
        if info is None or self._book.source == MODEL:
            return watts.full_w if self._dedicated else watts.marginal_w
        gpu_w = max(info.limit_w or self._peak_w * HEADROOM, watts.gpu_load_w)
        if self._dedicated:
            return gpu_w + watts.system_load_w
        return gpu_w + max(0.0, watts.system_load_w - watts.system_idle_w)

    def now(self) -> PowerNow:
        """Measured where there is a fresh reading, modelled where not."""
        watts, running = self._watts, self._open > 0
        marginal_w = self._book.marginal_w
        reading = self.last_reading
        system_w = watts.system_load_w if running else watts.system_idle_w
        if reading is not None and reading.power_w is not None and mono_us() - reading.at_us < STALE_US:
            return PowerNow(reading.power_w, reading.power_w + system_w, marginal_w)
        gpu_w = watts.gpu_load_w if running else watts.gpu_idle_w
        return PowerNow(gpu_w, gpu_w + system_w, marginal_w)

    def watching(self, watcher: object, *, active: bool) -> None:
        """A face that looks keeps the sensor awake; a hidden one lets it rest."""
        if active:
            self._watchers.add(id(watcher))
            if self._timer is None:
                self._begin()
        else:
            self._watchers.discard(id(watcher))

    @property
    def watched(self) -> bool:
        """Whether a face looks."""
        return bool(self._watchers)

    async def memory_used(self, within_s: float = 1.0) -> int | None:
        """Bytes of the GPU's memory in use by everything, read after this call; None where no sensor tells in time."""
        if not self._measures or self._stopped:
            return None
        told: asyncio.Future[int | None] = self._loop.create_future()
        self._asking.append((mono_us(), told))
        self.watching(told, active=True)
        try:
            async with asyncio.timeout(within_s):
                return await told
        except TimeoutError:
            return None
        finally:
            self.watching(told, active=False)
            self._asking = [asked for asked in self._asking if asked[1] is not told]

    def beside(self, parallel: int) -> None:
        """So many requests run side by side at most; what is open beyond them waits at the engine."""
        self._book.configure(mono_us(), parallel=parallel)

    def configure(
        self, *, watts: StaticWatts, dedicated: bool, own_idle: bool = False, by_formula: bool = False
    ) -> None:
        """New settings, from now on. `by_formula`: bill by `watts` even where a sensor measures."""
        self._watts = watts
        self._dedicated = dedicated
        self._baseline.configure(watts.gpu_idle_w, own=own_idle)
        source = MODEL if by_formula else self._source
        self._book.configure(mono_us(), watts=watts, mode_dedicated=dedicated, source=source)

    def stop(self) -> None:
        """Nothing is read any more. Does not wait for a driver that hangs."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._keep_idle()
        self._loop.run_in_executor(None, self._sampler.stop)

    # What happens while somebody needs it.

    def _begin(self) -> None:
        if self._measures:
            self._sampler.wake()
        self._timer = self._loop.call_later(MODELLED_EVERY_S, self._tick)
        if not self._measures:
            self._note(self._watts.gpu_load_w if self._open else self._watts.gpu_idle_w)

    def _tick(self) -> None:
        self._timer = None
        if not self._open and not self._watchers:
            if self._measures:
                self._sampler.rest()
            return
        self._timer = self._loop.call_later(MODELLED_EVERY_S, self._tick)
        if self._measures:
            self._sampler.wake()
        if not self._measures or self._failed is not None:
            self._note(self._watts.gpu_load_w if self._open else self._watts.gpu_idle_w)

    def _from_thread(self, outcome: Reading | SensorError) -> None:
        self._hand_over(self._take, outcome)

    def _hand_over(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            # The loop has been closed while the sampler read for the last time.
            log.debug("a reading came after the loop had ended")

    def _take(self, outcome: Reading | SensorError) -> None:
        if self._stopped:
            return
        if isinstance(outcome, SensorError):
            if self._failed != outcome.sentence:
                self._failed = outcome.sentence
                log.warning("%s", outcome.sentence)
            self.last_reading = None
            self._book.sensor_lost(mono_us())
            return
        self._failed = None
        self.last_reading = outcome
        for asked_us, told in self._asking:
            # A reading speaks of a moment a little before it was taken; only one of a later moment is an answer.
            if outcome.at_us >= asked_us and not told.done():
                told.set_result(outcome.memory_used_b)
        power_w = outcome.power_w
        if power_w is not None:
            self._peak_w = max(self._peak_w, power_w)
        self._baseline.sample(
            outcome.at_us,
            power_w,
            busy=self._open > 0 or self._loads > 0,
            memory_used_b=outcome.memory_used_b,
            utilisation_pct=outcome.utilisation_pct,
        )
        idle_w, resident_w = self._baseline.idle_w, self._baseline.resident_w
        self._foreign.sample(
            outcome.at_us,
            None if power_w is None else power_w - idle_w - resident_w,
            ours=self._open > 0 or self._loads > 0,
            utilisation_pct=outcome.utilisation_pct,
            shares=others_pct(outcome.processes, self._programs.is_engine),
        )
        if self._book.source != MODEL:
            self._book.reading(
                outcome.at_us,
                power_w,
                outcome.energy_uj,
                idle_w=idle_w,
                foreign_w=self._foreign.foreign_w,
                resident_w=resident_w,
                span=outcome.power_span,
            )
        if power_w is not None:
            self._note(power_w)

    def _rested(self) -> None:
        if not self._stopped and self._book.source != MODEL:
            self._book.rest(mono_us())
            self._keep_idle()

    def _keep_idle(self) -> None:
        kept = self._baseline.kept(wall_us())
        if kept is not None:
            self._keep(kept)

    def _note(self, gpu_w: float) -> None:
        watts = self._watts
        marginal_w = self._book.marginal_w
        system_w = watts.system_load_w if self._open else watts.system_idle_w
        self.history.add(
            wall_us(),
            gpu_w,
            marginal_w,
            self._open,
            self.cost_per_hour(marginal_w),
            total_w=gpu_w + system_w,
        )
