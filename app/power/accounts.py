"""Who used which energy: the book of energy accounts, one account a request.

Rule 1: conservation. For every slice of time, requests + idle + resident + loading + foreign + unattributed is what
was measured, to the last unit; what cannot be given to anyone is written down as unattributed, never lost.
Rule 2: pure. Time comes in with every call (monotonic microseconds), samples come in when they come in; nothing
here has a clock, a disk or a thread. Time that seems to go back stands still.

A slice of time ends where the set of running requests changes. Slices wait until something says what was drawn
in them: the next sample, or, where no sensor can say, the static watts of the settings. A request that closes
before its sample comes is billed at once, with the last power measured under load (with the static watts where
there is none), and the difference to what the sample says later is unattributed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from app.basics.rounding import round_half_even
from app.power.exact import (
    PARTS_PER_US,
    UNITS_PER_UJ,
    microwatts,
    plausible_w,
)
from app.power.running import RunningSet
from app.power.samples import Samples
from app.power.slices import Account, Slices, Taken
from app.power.sums import EnergyTotals, Layers, Rates, StaticWatts, Sums

__all__ = ["MODEL", "AccountError", "ClosedAccount", "EnergyBook", "EnergyTotals", "StaticWatts"]

GAP_US = 2_000_000
"""Samples further apart than this have a gap between them, which nothing is integrated across."""

HEAD_US = 250_000
"""After a rest of the sensor, its first sample speaks for this much of the time before it, and no more."""

BATCH = 256
"""So many slices wait at most where there is no sample to wait for."""

MODEL = "model"
"""The source of watts that nobody measured."""


class AccountError(LookupError):
    """An account was opened twice, or the one named is not open: a mistake of the program, not of a person."""


@dataclass(frozen=True, slots=True)
class ClosedAccount:
    """What one request used."""

    energy_uj: int
    share_us: int
    """Its share of the time it ran: the time itself when it ran alone, half of it beside one other."""
    dur_us: int
    """From open to close."""
    busy_us: int
    """The part of it in which it ran rather than queued."""
    source: str
    """The sensor where all of it was measured, `mixed` where a part was, `model` where nothing was."""


class _State(Enum):
    MODELLED = auto()
    """No sensor speaks: slices are settled by the static watts."""
    RESTING = auto()
    """The sensor was sent to rest and will speak when woken: slices wait for it, for at most `HEAD_US`."""
    SAMPLED = auto()
    """Samples come; slices wait for the next one."""
    GAP = auto()
    """Samples should come and do not: running requests are modelled, the rest is not accounted at all."""


class EnergyBook:
    """Accounts of all requests, and the totals around them.

    `parallel` is how many requests the engine works on at once; `source` names the sensor that `reading` speaks
    for (`nvml`, `amdgpu`, `simulated`), or is `model` where there is none.
    """

    def __init__(
        self, watts: StaticWatts, mode_dedicated: bool, parallel: int, *, source: str = MODEL
    ) -> None:
        self._rates = Rates(watts)
        self._dedicated = mode_dedicated
        self._source = source
        self._set: RunningSet[Account] = RunningSet(parallel)
        self._accounts: dict[str, Account] = {}
        self._order = 0
        self._slices = Slices()
        self._cut_us: int | None = None
        self._loading = self._under_load = False
        self._sums = Sums()
        self._samples = Samples()
        self._state = _State.MODELLED if source == MODEL else _State.RESTING
        self._layers = Layers(0, 0, 0)
        self._rate_uw, self._rate_measured = self._rate()

    # The life of a request.

    def open(self, request_id: str, now_us: int) -> None:
        """The request was sent to the engine: it runs, or it queues there. Raises AccountError if it is open."""
        if request_id in self._accounts:
            raise AccountError(f"the energy account of {request_id!r} is open already")
        self._order += 1
        account = self._accounts[request_id] = Account(self._order, now_us)
        if self._set.has_room:
            self._advance(now_us)
        self._set.enter(account)

    def progress(self, request_id: str, now_us: int) -> None:
        """The request has produced output, so it is surely running. Cheap to say again with every chunk."""
        account = self._account(request_id)
        if account.seen:
            return
        if not account.running:
            self._advance(now_us)
        self._set.output_seen(account)

    def close(self, request_id: str, now_us: int) -> ClosedAccount:
        """The request is over, whatever its end. Raises AccountError for an account that is not open."""
        account = self._account(request_id)
        del self._accounts[request_id]
        if account.running:
            self._advance(now_us)
        self._set.leave(account)
        account.closed = True
        sums = self._sums
        energy = account.energy
        if account.pending:
            units = account.pending * self._rate_uw
            energy += units
            sums.requests += units
            sums.unattributed -= units
            if self._rate_measured:
                account.measured = True
            else:
                account.modelled = True
        energy_uj = round_half_even(energy, UNITS_PER_UJ)
        rounded_away = energy - energy_uj * UNITS_PER_UJ
        if rounded_away:
            sums.requests -= rounded_away
            sums.unattributed += rounded_away
        source = MODEL
        if account.measured:
            source = "mixed" if account.modelled else self._source
        return ClosedAccount(
            energy_uj,
            round_half_even(account.share, PARTS_PER_US),
            max(now_us - account.opened_us, account.busy_us),
            account.busy_us,
            source,
        )

    def accrued(self, request_id: str, now_us: int) -> int:
        """Microjoules that the request would be billed if it closed now."""
        account = self._account(request_id)
        if account.running:
            self._advance(now_us)
        return round_half_even(account.energy + account.pending * self._rate_uw, UNITS_PER_UJ)

    def is_queued(self, request_id: str) -> bool:
        """True while the request waits in the engine's queue and uses nothing."""
        return not self._account(request_id).running

    def request_w(self, request_id: str) -> float:
        """Watts that the request is billed at this moment."""
        return self._rate_uw / len(self._set.now) / 1e6 if self._account(request_id).running else 0.0

    # What is known about power.

    def reading(
        self,
        at_us: int,
        power_w: float | None,
        energy_uj: int | None,
        idle_w: float,
        foreign_w: float = 0.0,
        resident_w: float = 0.0,
    ) -> None:
        """A sample of the GPU, taken at monotonic `at_us`, which may lie before the latest event.

        `energy_uj` is the GPU's own counter. `idle_w` is what it draws at rest, `resident_w` what a loaded model
        adds to that, `foreign_w` what other programs draw. A sample without power and counter is passed over.
        """
        if self._source == MODEL:
            raise ValueError("A book without a sensor takes no readings; set its source first.")
        power = plausible_w(power_w)
        if power is None and energy_uj is None:
            return
        if self._cut_us is None or at_us > self._cut_us:
            self._advance(at_us)
        sample_uw = None if power is None else microwatts(power)
        layers = Layers(microwatts(idle_w), microwatts(foreign_w), microwatts(resident_w))
        samples = self._samples
        span_us = at_us - samples.at_us
        if self._state is _State.SAMPLED and span_us == 0:
            return
        self._under_load = False
        if self._state is _State.SAMPLED and span_us > 0:
            taken = self._settle(
                at_us, samples.step(at_us, sample_uw, energy_uj), span_us * PARTS_PER_US, layers
            )
            self._under_load = taken.ran_last and 2 * taken.run >= taken.whole
        else:
            if self._state is _State.SAMPLED:
                # The sensor's clock went back: nothing is integrated across that.
                self._settle_gap(self._cut_us or at_us)
            elif self._state is _State.MODELLED:
                self._settle_modelled(at_us)
            elif self._state is _State.RESTING and self._slices.start_us is not None:
                head = max(0, at_us - self._slices.start_us) * PARTS_PER_US
                self._settle(at_us, None if sample_uw is None else sample_uw * head, head, layers)
            samples.start(at_us, sample_uw, energy_uj)
        self._state = _State.SAMPLED
        self._layers = layers
        self._rate_uw, self._rate_measured = self._rate()

    def rest(self, now_us: int) -> None:
        """The sensor is sent to rest: the static watts speak until its next sample."""
        self._silence(now_us, _State.RESTING)

    def sensor_lost(self, now_us: int) -> None:
        """The sensor failed: the static watts speak until a sample comes again."""
        self._silence(now_us, _State.MODELLED)

    def loading(self, now_us: int, active: bool) -> None:
        """The gateway itself begins or ends loading a model; what that draws while nobody's request runs."""
        self._advance(now_us)
        self._loading = active

    def configure(
        self,
        now_us: int,
        *,
        watts: StaticWatts | None = None,
        mode_dedicated: bool | None = None,
        parallel: int | None = None,
        source: str | None = None,
    ) -> None:
        """Change what the book was made with, from now on. Take the uptime before leaving dedicated mode."""
        self._advance(now_us)
        if self._state in (_State.RESTING, _State.MODELLED):
            self._settle_modelled(now_us)
        if watts is not None:
            self._rates = Rates(watts)
        if mode_dedicated is not None:
            self._dedicated = mode_dedicated
        if parallel is not None:
            self._set.resize(parallel)
        if source is not None and source != self._source:
            self._source = source
            self._samples = Samples()
            self._silence(now_us, _State.MODELLED if source == MODEL else _State.RESTING)
        self._rate_uw, self._rate_measured = self._rate()

    # What it adds up to.

    def totals(self) -> EnergyTotals:
        """Everything up to the last sample, or up to the last event where none is awaited."""
        if self._state is _State.MODELLED:
            self._settle_modelled(self._cut_us or 0)
        return self._sums.totals()

    def take_uptime(self, now_us: int) -> tuple[int, int]:
        """Dedicated mode: (microjoules, microseconds) with nobody running since the last call.

        What waits for a sample is left for the next call, and so are fractions; nothing is taken twice.
        """
        self._advance(now_us)
        if self._state in (_State.RESTING, _State.MODELLED):
            self._settle_modelled(now_us)
        sums = self._sums
        energy_uj, sums.uptime = divmod(sums.uptime, UNITS_PER_UJ)
        dur_us, sums.uptime_parts = divmod(sums.uptime_parts, PARTS_PER_US)
        return energy_uj, dur_us

    @property
    def source(self) -> str:
        """The sensor that `reading` speaks for, or `model`."""
        return self._source

    @property
    def marginal_w(self) -> float:
        """Watts that the running requests are billed at this moment, all together."""
        return self._rate_uw / 1e6 if self._set.now else 0.0

    # Time.

    def _advance(self, now_us: int) -> None:
        """Close the present slice at `now_us`."""
        cut_us = self._cut_us
        if cut_us is None:
            self._cut_us = now_us
            return
        if now_us <= cut_us:
            return
        self._cut_us = now_us
        self._slices.add(cut_us, now_us, self._set.now, self._loading)
        state = self._state
        if state is _State.SAMPLED:
            if now_us - self._samples.at_us > GAP_US:
                self._settle_gap(now_us)
        elif state is _State.MODELLED:
            # Static watts tell the same whenever they are asked, so slices are settled by the batch.
            if self._slices.count >= BATCH:
                self._settle_modelled(now_us)
        elif state is _State.GAP:
            self._settle_gap(now_us)
        elif now_us - (self._slices.start_us or 0) > HEAD_US:
            self._settle_modelled(now_us)

    def _silence(self, now_us: int, state: _State) -> None:
        self._advance(now_us)
        self._settle_modelled(self._cut_us or now_us)
        self._state = state
        self._rate_uw, self._rate_measured = self._rate()

    # Settling slices.

    def _settle(self, until_us: int, drawn: int | None, span: int, layers: Layers) -> Taken:
        """Settle by a sample: the GPU drew `drawn` units in `span` parts, or nobody knows what it drew."""
        taken = self._slices.take(until_us)
        whole = taken.whole
        if drawn is None or not whole:
            self._model(taken)
        else:
            # Where a part of the interval was settled by the static watts before, that part of the sample is void.
            assert whole <= span, "no slice reaches back behind the last sample"
            gpu = drawn * whole // span
            run, rest, loading = taken.run, taken.rest, taken.loading
            units = self._sums.sampled(gpu, layers, self._rates, self._dedicated, run, rest, loading)
            self._give(taken, units, measured=True)
        return taken

    def _settle_modelled(self, until_us: int) -> None:
        self._model(self._slices.take(until_us))

    def _model(self, taken: Taken) -> None:
        units = self._sums.modelled(self._rates, self._dedicated, taken.run, taken.rest, taken.loading)
        self._give(taken, units, measured=False)

    def _settle_gap(self, until_us: int) -> None:
        taken = self._slices.take(until_us)
        units = self._sums.gap(self._rates, self._dedicated, taken.run, taken.rest, taken.loading)
        self._give(taken, units, measured=False)
        if self._state is _State.SAMPLED:
            self._state = _State.GAP
            self._rate_uw, self._rate_measured = self._rate()

    def _give(self, taken: Taken, units: int, *, measured: bool) -> None:
        """Share out the requests' energy by time. What falls to closed accounts, which paid already, is left over."""
        given = 0
        for account in taken.accounts:
            part = units * account.due // taken.run
            account.energy += part
            account.pending -= account.due
            account.due = 0
            given += part
            if measured:
                account.measured = True
            else:
                account.modelled = True
        self._sums.requests += given
        self._sums.unattributed += units - given

    def _rate(self) -> tuple[int, bool]:
        """The power (µW) at which a request that closes now is billed for what no sample has covered yet, and whether
        it was measured."""
        gpu_uw = self._samples.power_uw if self._state is _State.SAMPLED and self._under_load else None
        return self._rates.billed_uw(self._dedicated, gpu_uw, self._layers), gpu_uw is not None

    def _account(self, request_id: str) -> Account:
        try:
            return self._accounts[request_id]
        except KeyError:
            raise AccountError(f"no energy account is open for {request_id!r}") from None
