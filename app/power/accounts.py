"""Who used which energy: the book of energy accounts, one account a request.

Rule 1: conservation. For every slice of time, requests + idle + resident + loading + foreign + unattributed is what
was measured, to the last unit; what cannot be given to anyone is written down as unattributed, never lost.
Rule 2: pure. Time comes in with every call (monotonic microseconds), samples come in when they come in; nothing
here has a clock, a disk or a thread. Time that seems to go back stands still.

A slice of time ends where the set of running requests changes. Slices wait until something says what was drawn
in them: the knots of the card's curve (see `curves`), or, where no sensor can say, the static watts of the settings.
Where work begins between two knots, the time before it gets what the GPU drew at rest, and the work all the rest.
What a request drew is known only up to 200 ms after its end, and its record is written at its end: what no knot has
told by then is billed with the power of the last stretch under load (with the static watts where there is none), and
the difference to what is told later is unattributed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from app.basics.rounding import round_half_even
from app.power.attribution import Attribution, Phases
from app.power.curves import UPDATE_US, PowerSpan
from app.power.doubt import GAIN_DOUBT, Doubts, half_width_uj
from app.power.exact import (
    PARTS_PER_US,
    PLAUSIBLE_W,
    UNITS_PER_UJ,
    microwatts,
    plausible_w,
)
from app.power.levels import Levels
from app.power.running import RunningSet
from app.power.samples import Drawn, Samples
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
    formula_uj: int = field(default=0, compare=False)
    """What the watts of the settings alone come to for its share of the time."""
    half_width_uj: int = field(default=0, compare=False)
    """The true energy is this near in 95 of 100 cases (see `doubt`)."""

    @property
    def low_uj(self) -> int:
        """The lower end of the 95 % interval."""
        return max(0, self.energy_uj - self.half_width_uj)

    @property
    def high_uj(self) -> int:
        """The upper end of the 95 % interval."""
        return self.energy_uj + self.half_width_uj


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
    for (`nvml`, `amdgpu`, `simulated`), or is `model` where there is none. No reading above `most_w` is believed.
    `gain_doubt` is how far off the card itself may read, as a part of what it reads.
    """

    def __init__(
        self,
        watts: StaticWatts,
        mode_dedicated: bool,
        parallel: int,
        *,
        source: str = MODEL,
        most_w: float = PLAUSIBLE_W,
        gain_doubt: float = GAIN_DOUBT,
    ) -> None:
        self._rates = Rates(watts)
        self._dedicated = mode_dedicated
        self._source = source
        self._set: RunningSet[Account] = RunningSet(parallel)
        self._accounts: dict[str, Account] = {}
        self._order = 0
        self._slices = Slices()
        self._cut_us: int | None = None
        self._loading = False
        self._levels = Levels()
        self._edge_us = 0
        self._sums_told = False
        self._rested = True
        """Nobody ran at the end of what was settled last."""
        self.attribution = Attribution()
        self._sums = Sums()
        self._gain_doubt = gain_doubt
        self._most_w = min(most_w, PLAUSIBLE_W)
        self._samples = Samples(self._most_w)
        self._state = _State.MODELLED if source == MODEL else _State.RESTING
        self._layers = Layers(0, 0, 0)
        self._rate_uw, self._rate_measured = self._rate()

    # The life of a request.

    def open(self, request_id: str, now_us: int, model: str = "") -> None:
        """The request was sent to the engine: it runs, or it queues there. Raises AccountError if it is open."""
        if request_id in self._accounts:
            raise AccountError(f"the energy account of {request_id!r} is open already")
        self._order += 1
        account = self._accounts[request_id] = Account(self._order, now_us, model)
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
        account.first_us = now_us
        self._set.output_seen(account)

    def produced(self, request_id: str, tokens: int, now_us: int) -> None:
        """So many tokens of its answer have come by now."""
        account = self._account(request_id)
        account.tokens, account.told_us = tokens, now_us

    def close(self, request_id: str, now_us: int, phases: Phases | None = None) -> ClosedAccount:
        """The request is over, whatever its end. Raises AccountError for an account that is not open.

        `phases` is what the engine itself says that it did when; where it says nothing, time is shared evenly.
        """
        account = self._account(request_id)
        del self._accounts[request_id]
        if account.running:
            self._advance(now_us)
        self._set.leave(account)
        account.closed = True
        sums = self._sums
        nobodys = self.attribution.closing(account, now_us, phases)
        sums.requests -= nobodys
        sums.unattributed += nobodys
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
                account.guessed += units
        energy_uj = round_half_even(energy, UNITS_PER_UJ)
        rounded_away = energy - energy_uj * UNITS_PER_UJ
        if rounded_away:
            sums.requests -= rounded_away
            sums.unattributed += rounded_away
        source = MODEL
        if account.measured:
            source = "mixed" if account.modelled else self._source
        self.attribution.closed(account, now_us, energy_uj, phases, others=bool(self._accounts))
        return ClosedAccount(
            energy_uj,
            round_half_even(account.share, PARTS_PER_US),
            max(now_us - account.opened_us, account.busy_us),
            account.busy_us,
            source,
            round_half_even(
                self._rates.billed_uw(self._dedicated, None, self._layers) * account.share, UNITS_PER_UJ
            ),
            self._half_width_uj(account, energy_uj),
        )

    def accrued(self, request_id: str, now_us: int) -> int:
        """Microjoules that the request would be billed if it closed now."""
        account = self._account(request_id)
        if account.running:
            self._advance(now_us)
        account.moved_us = 0
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
        *,
        span: PowerSpan = PowerSpan.MOMENT,
    ) -> None:
        """A reading of the GPU, taken at monotonic `at_us`, which may lie before the latest event.

        `span` is what `power_w` speaks of, `energy_uj` is the GPU's own counter. `idle_w` is what it draws at rest,
        `resident_w` what a loaded model adds to that, `foreign_w` what other programs draw. A reading without power
        and counter is passed over.
        """
        if self._source == MODEL:
            raise ValueError("A book without a sensor takes no readings; set its source first.")
        power = plausible_w(power_w)
        if power is not None and power > self._most_w:
            power = None
        if power is None and energy_uj is None:
            return
        if self._cut_us is None or at_us > self._cut_us:
            self._advance(at_us)
        power_uw = None if power is None else microwatts(power)
        layers = Layers(microwatts(idle_w), microwatts(foreign_w), microwatts(resident_w))
        samples = self._samples
        span_us = at_us - samples.at_us
        if self._state is _State.SAMPLED and span_us >= 0:
            if span_us == 0:
                return
            samples.read(at_us, power_uw, span, energy_uj)
            drawn = samples.drawn()
            if drawn is not None:
                self._settle_drawn(drawn, layers)
        else:
            if self._state is _State.SAMPLED:
                # The sensor's clock went back: nothing is integrated across that.
                self._settle_gap(self._cut_us or at_us)
            elif self._state is _State.MODELLED:
                self._settle_modelled(at_us)
            samples.start(at_us, power_uw, span, energy_uj)
            start_us = self._slices.start_us
            if self._state is _State.RESTING and start_us is not None and samples.label_us > start_us:
                head = (samples.label_us - start_us) * PARTS_PER_US
                self._settle(samples.label_us, None if power_uw is None else power_uw * head, layers)
            # A first reading may be of the time before the work.
            self._levels.forget()
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
            self._samples = Samples(self._most_w)
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
            samples = self._samples
            # The second: readings come, and say nothing (a counter that is stuck).
            if now_us - samples.at_us > GAP_US or now_us - samples.label_us > GAP_US + 3 * UPDATE_US:
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

    def _settle_drawn(self, drawn: Drawn, layers: Layers) -> None:
        """Settle up to the knot of a curve."""
        slices, until_us, units = self._slices, drawn.until_us, drawn.units
        self._edge_us, self._sums_told = drawn.doubt_us, drawn.sums
        began_us = slices.run_begins(until_us, drawn.seen_us)
        if began_us is None:
            onset_us = slices.run_begins(drawn.begin_us, until_us)
            if onset_us is not None:
                self._samples.bend(onset_us, max(layers.all_uw, self._levels.rest_uw))
        else:
            # Work began between the knot and the reading that made it, and so perhaps in what the knot tells of.
            until_us = began_us + 1
            self._samples.stretch(until_us)
        start_us, head = slices.start_us, 0
        if units is not None and start_us is not None and start_us > drawn.begin_us:
            # What lies before `start_us` was settled by the static watts, and that part is void.
            head = min(start_us, until_us) - drawn.begin_us
            if self._rested:
                units = max(0, units - max(layers.all_uw, self._levels.rest_uw) * head * PARTS_PER_US)
            else:
                units -= units * head // (until_us - drawn.begin_us)
        self._settle(until_us, units, layers, drawn.power_uw, head * PARTS_PER_US)

    def _settle(
        self, until_us: int, gpu: int | None, layers: Layers, power_uw: int | None = None, void: int = 0
    ) -> None:
        """Settle everything up to `until_us`, in which the GPU drew `gpu` units; None where nobody knows.

        `power_uw` is its power at the end, `void` the time before, which is not settled here.
        """
        taken = self._slices.take(until_us)
        whole, run, levels = taken.whole, taken.run, self._levels
        if gpu is None or not whole:
            levels.unknown()
            self._model(taken)
            return
        rest_uw = max(layers.all_uw, levels.rest_uw)
        units = self._sums.sampled(
            gpu, layers, self._rates, self._dedicated, run, taken.rest, taken.loading, rest_uw
        )
        if taken.rest == whole:
            levels.rested(gpu // whole)
        elif run:
            drawn = max(0, gpu - rest_uw * taken.rest)
            levels.worked(drawn, run, whole + void, power_uw, to_its_end=taken.ran_last)
        else:
            levels.unknown()
        self._give(taken, units, measured=True)

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
        if taken.whole:
            self._rested = not taken.ran_last
        given = 0
        shares: dict[Account, int] = {}
        for account in taken.accounts:
            part = shares[account] = units * account.due // taken.run
            account.energy += part
            account.pending -= account.due
            account.due = 0
            given += part
            if measured:
                if not account.measured:
                    account.measured, account.edge_us = True, self._edge_us
            else:
                account.modelled = True
                account.guessed += part
        self._sums.requests += given
        self._sums.unattributed += units - given
        if given:
            self.attribution.given(taken.start_us, taken.end_us, shares)

    def _rate(self) -> tuple[int, bool]:
        """The power (µW) at which a request that closes now is billed for what no sample has covered yet, and whether
        it was measured."""
        gpu_uw = self._levels.load_uw if self._state is _State.SAMPLED else None
        return self._rates.billed_uw(self._dedicated, gpu_uw, self._layers), gpu_uw is not None

    def _half_width_uj(self, account: Account, energy_uj: int) -> int:
        share = account.share / max(1, account.busy_us * PARTS_PER_US)
        load_uw = self._levels.load_uw
        if load_uw is None:
            load_uw = self._layers.all_uw + energy_uj * 1_000_000 // max(1, account.busy_us)
        rates = self._rates
        system_uw = rates.system_load_uw if self._dedicated else rates.system_marginal_uw
        system = (
            system_uw * account.share if account.measured else 0
        )  # the settings tell of it, even beside a sensor
        doubts = Doubts(
            energy_uj=energy_uj,
            guessed_uj=min(energy_uj, (account.guessed + system) // UNITS_PER_UJ),
            load_w=load_uw / 1e6,
            idle_w=self._layers.all_uw / 1e6,
            spread_w=self._levels.spread_uw / 1e6,
            begin_us=account.edge_us or (self._edge_us if account.measured else 0),
            end_us=self._edge_us if account.measured and self._sums_told else 0,
            tail_us=min(account.busy_us, account.pending // PARTS_PER_US),
            busy_us=account.busy_us if account.measured else 0,
            share=min(1.0, share),
        )
        return half_width_uj(doubts, self._gain_doubt)

    def _account(self, request_id: str) -> Account:
        try:
            return self._accounts[request_id]
        except KeyError:
            raise AccountError(f"no energy account is open for {request_id!r}") from None
