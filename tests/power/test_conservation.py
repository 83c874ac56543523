"""Conservation to the microjoule, whatever happens in whatever order."""

import os
import random
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from app.basics.rounding import round_half_even
from app.power.accounts import GAP_US, EnergyBook, StaticWatts
from app.power.attribution import Phases
from app.power.curves import PowerSpan
from app.power.exact import UNITS_PER_UJ, microwatts, whole_parts
from app.power.running import Place, RunningSet

watts = st.floats(0, 600)


@given(st.lists(st.integers(-(10**30), 10**30), max_size=8), st.integers(1, 10**12))
def test_whole_parts_add_up_and_are_off_by_less_than_one(amounts: list[int], unit: int) -> None:
    parts = whole_parts(amounts, unit)
    assert sum(parts) == sum(amounts) // unit
    assert all(
        part in (amount // unit, amount // unit + 1) for part, amount in zip(parts, amounts, strict=True)
    )
    assert all(
        part == amount // unit for part, amount in zip(parts, amounts, strict=True) if amount % unit == 0
    )


@given(st.integers(), st.integers(min_value=1))
def test_rounding_is_half_even(numerator: int, denominator: int) -> None:
    assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


def test_watts_that_are_none_are_zero_microwatts() -> None:
    assert [microwatts(odd) for odd in (-1.0, -0.5, 0.0, float("nan"), float("inf"), float("-inf"))] == [
        0
    ] * 6
    assert microwatts(0.0000015) == 2


class RunningMachine(RuleBasedStateMachine):
    """The running set against its definition, worked out anew each time."""

    places = Bundle("places")

    def __init__(self) -> None:
        super().__init__()
        self.set: RunningSet[Place] = RunningSet(1)
        self.open: list[Place] = []
        self.turn = 0

    @initialize(parallel=st.integers(1, 5))
    def start(self, parallel: int) -> None:
        self.set = RunningSet(parallel)

    @rule(target=places)
    def enter(self) -> Place:
        self.turn += 1
        place = Place(self.turn)
        had_room = self.set.has_room
        self.set.enter(place)
        assert place.running == had_room
        self.open.append(place)
        return place

    @rule(place=places)
    def output(self, place: Place) -> None:
        if place in self.open and not place.seen:
            self.set.output_seen(place)

    @rule(place=consumes(places))
    def leave(self, place: Place) -> None:
        self.set.leave(place)
        assert not place.running
        self.open.remove(place)

    @rule(parallel=st.integers(1, 5))
    def resize(self, parallel: int) -> None:
        self.set.resize(parallel)

    @invariant()
    def those_run_whose_output_was_seen_and_the_oldest_others_up_to_the_limit(self) -> None:
        running = [place for place in self.open if place.seen]
        for place in self.open:
            if not place.seen and len(running) < self.set.parallel:
                running.append(place)
        assert set(self.set.now) == set(running)
        assert all(place.running == (place in running) for place in self.open)


TestRunningMachine = RunningMachine.TestCase
TestRunningMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# An oracle without memory: exact fractions, from the whole script at once.


@dataclass(frozen=True)
class Script:
    """Samples every `period`, the k-th taken at k periods and handed in `late` after that (the first at once)."""

    parallel: int
    period: int
    late: int
    requests: list[tuple[int, int]]
    """When each was opened and closed."""
    powers: list[float]


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    period = draw(st.integers(1_000, GAP_US // 2))
    spans = draw(
        st.lists(st.tuples(st.integers(0, 10 * period), st.integers(0, 4 * period)), min_size=1, max_size=8)
    )
    requests = sorted({start: (start, start + length) for start, length in spans}.values())
    samples = max(end for _, end in requests) // period + 2
    return Script(
        parallel=draw(st.integers(1, 4)),
        period=period,
        late=draw(st.integers(0, period)),
        requests=requests,
        powers=draw(st.lists(watts, min_size=samples, max_size=samples)),
    )


class Oracle:
    """What the rules say, worked out from a script and the GPU's layers, in microwatts and microseconds."""

    def __init__(self, script: Script, dedicated: bool, idle_w: float, foreign_w: float) -> None:
        self.script = script
        self.dedicated = dedicated
        self.idle, self.foreign = microwatts(idle_w), microwatts(foreign_w)
        self.power = [microwatts(power) for power in script.powers]
        self.slices: dict[int, list[tuple[int, int, int]]] = {i: [] for i in range(len(script.requests))}
        cuts = sorted({time for request in script.requests for time in request})
        for start, end in pairwise(cuts):
            here = [i for i, (a, b) in enumerate(script.requests) if a <= start and b >= end]
            for index in here[: script.parallel]:
                self.slices[index].append((start, end, len(here[: script.parallel])))
        self.pieces = [piece for pieces in self.slices.values() for piece in pieces]

    def ran(self, start: int, end: int) -> Fraction:
        """How long anybody ran in [start, end)."""
        spans = (Fraction(max(0, min(end, b) - max(start, a)), n) for a, b, n in self.pieces)
        return sum(spans, Fraction(0))

    def drawn(self, interval: int) -> Fraction:
        """What the GPU drew between two samples."""
        return Fraction(self.power[interval] + self.power[interval + 1], 2) * self.script.period

    def rest_rate(self, interval: int) -> int:
        """What the GPU draws at rest while requests run in the interval too."""
        period, layers = self.script.period, self.idle + self.foreign
        if interval < 2 or self.ran((interval - 2) * period, interval * period):
            return layers
        return max(layers, self.drawn(interval - 2) // period)

    def measured_rate(self, interval: int) -> Fraction:
        """What requests are billed between two samples."""
        period = self.script.period
        busy = self.ran(interval * period, (interval + 1) * period)
        gpu = max(Fraction(0), self.drawn(interval) - self.rest_rate(interval) * (period - busy)) / busy
        if self.dedicated:
            return gpu - min(self.foreign, max(Fraction(0), gpu - self.idle)) + 65_000_000
        return max(Fraction(0), gpu - self.idle - self.foreign) + 20_000_000

    def provisional_rate(self, sample: int) -> Fraction:
        """What requests are billed that close before the next sample is handed in."""
        period = self.script.period
        at = sample * period
        under_load = 2 * self.ran(at - period, at) >= period and any(a < at <= b for a, b, _ in self.pieces)
        if not sample or not under_load:
            return Fraction(119_000_000 if self.dedicated else 59_000_000)
        if self.dedicated:
            return Fraction(max(0, self.power[sample] - self.foreign) + 65_000_000)
        return Fraction(max(0, self.power[sample] - self.idle - self.foreign) + 20_000_000)

    def bill_uj(self, index: int) -> Fraction:
        """One request, not rounded."""
        period = self.script.period
        known = max(0, (self.script.requests[index][1] - self.script.late) // period)
        exact = Fraction(0)
        for start, end, sharers in self.slices[index]:
            at = start
            while at < end:
                interval = at // period
                until = min(end, (interval + 1) * period) if interval < known else end
                rate = self.measured_rate(interval) if interval < known else self.provisional_rate(known)
                exact += rate * (until - at) / sharers
                at = until
        return exact / 1_000_000

    def measured_uj(self) -> int:
        """Everything up to the last sample."""
        until = (len(self.power) - 1) * self.script.period
        drawn = sum((Fraction(a + b, 2) * self.script.period for a, b in pairwise(self.power)), Fraction(0))
        busy = self.ran(0, until)
        return int(drawn + 65_000_000 * busy + 45_000_000 * (until - busy)) // 1_000_000


@settings(max_examples=100, deadline=None)
@given(scripts(), st.booleans(), st.floats(0, 200), st.floats(0, 100))
def test_every_bill_is_what_exact_fractions_say(
    script: Script, dedicated: bool, idle_w: float, foreign_w: float
) -> None:
    made = EnergyBook(StaticWatts(15, 54, 45, 65), dedicated, script.parallel, source="nvml")
    events = [(start, 2, index) for index, (start, _) in enumerate(script.requests)]
    events += [(end, 1 if end > start else 3, index) for index, (start, end) in enumerate(script.requests)]
    events += [
        (number * script.period + (script.late if number else 0), 0, number)
        for number in range(len(script.powers))
    ]
    bills = {}
    for time, kind, index in sorted(events):
        if kind == 0:
            made.reading(index * script.period, script.powers[index], None, idle_w, foreign_w)
        elif kind == 2:
            made.open(str(index), time)
        else:
            bills[index] = made.close(str(index), time)

    oracle = Oracle(script, dedicated, idle_w, foreign_w)
    for index, (opened, closed) in enumerate(script.requests):
        pieces = oracle.slices[index]
        bill = bills[index]
        assert abs(bill.energy_uj - oracle.bill_uj(index)) <= Fraction(1, 2) + Fraction(1, 10**9)
        assert bill.dur_us == closed - opened
        assert bill.busy_us == sum(b - a for a, b, _ in pieces)
        assert bill.share_us == round(sum((Fraction(b - a, n) for a, b, n in pieces), Fraction(0)))
    assert made.totals().measured_uj == oracle.measured_uj()


class BookMachine(RuleBasedStateMachine):
    """Everything that can happen to a book, in any order, with every kind of clock trouble."""

    accounts = Bundle("accounts")

    def __init__(self) -> None:
        super().__init__()
        self.book = EnergyBook(StaticWatts(15, 54, 45, 65), False, 1)
        self.now = 0
        self.next = 0
        self.open: set[str] = set()
        self.billed = 0
        self.shares = 0
        self.uptime_us = 0
        self.counter = 0
        self.before = self.book.totals()

    @initialize(
        static=st.tuples(watts, watts, watts, watts),
        dedicated=st.booleans(),
        parallel=st.sampled_from([1, 2, 3, 7, 17, 32]),
        source=st.sampled_from(["model", "nvml", "simulated"]),
        start=st.integers(0, 10**12),
    )
    def begin(
        self,
        static: tuple[float, float, float, float],
        dedicated: bool,
        parallel: int,
        source: str,
        start: int,
    ) -> None:
        self.book = EnergyBook(StaticWatts(*static), dedicated, parallel, source=source)
        self.source = source
        self.now = start

    @rule(by=st.one_of(st.integers(0, 300_000), st.integers(0, 5_000_000), st.integers(-200_000, 0)))
    def time_passes(self, by: int) -> None:
        self.now += by

    @rule(target=accounts, count=st.integers(1, 4), model=st.sampled_from(["", "m", "n"]))
    def open_some(self, count: int, model: str) -> object:
        names = []
        for _ in range(count):
            self.next += 1
            name = f"r{self.next}"
            self.book.open(name, self.now, model)
            self.open.add(name)
            names.append(name)
        return multiple(*names)

    @rule(name=accounts)
    def progress(self, name: str) -> None:
        self.book.progress(name, self.now)

    @rule(name=accounts, tokens=st.integers(0, 10_000))
    def produced(self, name: str, tokens: int) -> None:
        self.book.produced(name, tokens, self.now)

    @rule(name=accounts)
    def look(self, name: str) -> None:
        assert self.book.accrued(name, self.now) >= 0
        assert self.book.request_w(name) >= 0
        assert self.book.marginal_w >= 0

    @rule(name=consumes(accounts))
    def close(self, name: str) -> None:
        accrued = self.book.accrued(name, self.now)
        closed = self.book.close(name, self.now)
        assert closed.energy_uj == accrued
        assert 0 <= closed.share_us <= closed.busy_us <= closed.dur_us
        assert closed.source in {"model", "mixed", self.source}
        self.open.remove(name)
        self.billed += closed.energy_uj
        self.shares += closed.share_us

    @rule(
        name=consumes(accounts),
        spans=st.tuples(*[st.integers(0, 3_000_000)] * 3),
        tokens=st.tuples(*[st.one_of(st.none(), st.integers(0, 5_000))] * 2),
    )
    def close_as_the_engine_says(
        self, name: str, spans: tuple[int, int, int], tokens: tuple[int | None, int | None]
    ) -> None:
        closed = self.book.close(name, self.now, Phases(*spans, *tokens))
        assert closed.energy_uj >= 0
        assert closed.low_uj <= closed.energy_uj <= closed.high_uj
        self.open.remove(name)
        self.billed += closed.energy_uj
        self.shares += closed.share_us

    @rule(
        power=st.one_of(watts, st.none(), st.sampled_from([float("nan"), -1.0, 65535.0])),
        counted=st.one_of(st.none(), st.integers(-(10**7), 10**9)),
        idle=watts,
        foreign=st.one_of(st.just(0.0), watts),
        resident=st.one_of(st.just(0.0), watts),
        late=st.one_of(st.just(0), st.integers(0, 500_000), st.integers(-300_000, 0)),
        span=st.sampled_from(PowerSpan),
    )
    def reading(
        self,
        power: float | None,
        counted: int | None,
        idle: float,
        foreign: float,
        resident: float,
        late: int,
        span: PowerSpan,
    ) -> None:
        if self.source == "model":
            return
        if counted is not None:
            self.counter += counted
        self.book.reading(
            self.now - late,
            power,
            None if counted is None else self.counter,
            idle,
            foreign,
            resident,
            span=span,
        )

    @rule(
        count=st.integers(1, 9),
        every=st.integers(7_000, 400_000),
        power=watts,
        idle=watts,
        span=st.sampled_from(PowerSpan),
        counts=st.booleans(),
    )
    def ordinary_samples(
        self, count: int, every: int, power: float, idle: float, span: PowerSpan, counts: bool
    ) -> None:
        for turn in range(count):
            self.now += every
            self.counter += round(power * every)
            if self.source != "model":
                counted = self.counter if counts else None
                self.book.reading(self.now, power + turn % 3, counted, idle, span=span)

    @rule()
    def sensor_lost(self) -> None:
        self.book.sensor_lost(self.now)

    @rule()
    def rest(self) -> None:
        self.book.rest(self.now)

    @rule(active=st.booleans())
    def loading(self, active: bool) -> None:
        self.book.loading(self.now, active)

    @rule()
    def take_uptime(self) -> None:
        energy_uj, dur_us = self.book.take_uptime(self.now)
        assert energy_uj >= 0
        assert dur_us >= 0

    @rule(
        static=st.one_of(st.none(), st.tuples(watts, watts, watts, watts)),
        dedicated=st.one_of(st.none(), st.booleans()),
        parallel=st.one_of(st.none(), st.integers(1, 20)),
    )
    def configure(
        self,
        static: tuple[float, float, float, float] | None,
        dedicated: bool | None,
        parallel: int | None,
    ) -> None:
        self.book.configure(
            self.now,
            watts=None if static is None else StaticWatts(*static),
            mode_dedicated=dedicated,
            parallel=parallel,
        )

    @rule()
    def what_is_told_adds_up_to_the_microjoule(self) -> None:
        # Not an invariant: asking for the totals settles what waits, and must not be what keeps the book right.
        totals = self.book.totals()
        parts = (
            totals.requests_uj
            + totals.idle_uj
            + totals.resident_uj
            + totals.loading_uj
            + totals.foreign_uj
            + totals.unattributed_uj
        )
        assert parts == totals.measured_uj
        for name in ("measured_uj", "idle_uj", "resident_uj", "loading_uj", "foreign_uj", "gap_us"):
            # The largest remainder may move a single microjoule between two categories.
            assert getattr(totals, name) >= getattr(self.before, name) - 1
        self.before = totals

    @invariant()
    def what_was_measured_is_exactly_what_was_given_out(self) -> None:
        sums = self.book._sums
        assert sums.measured == (
            sums.requests + sums.idle + sums.resident + sums.loading + sums.foreign + sums.unattributed
        )

    @invariant()
    def requests_are_what_was_billed_and_what_is_still_accruing(self) -> None:
        assert all(account.energy >= 0 for account in self.book._accounts.values())
        accruing = sum(account.energy for account in self.book._accounts.values())
        assert self.book._sums.requests == self.billed * UNITS_PER_UJ + accruing

    def teardown(self) -> None:
        for name in sorted(self.open):
            self.billed += self.book.close(name, self.now).energy_uj
        assert self.book.totals().requests_uj == self.billed
        self.now += 10**9
        self.book.sensor_lost(self.now)
        self.what_was_measured_is_exactly_what_was_given_out()
        self.what_is_told_adds_up_to_the_microjoule()


TestBookMachine = BookMachine.TestCase
TestBookMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


SLICES = 250_000 if "SOAK" in os.environ else 40_000
"""Of each of four seeds: a million in all where there is time."""


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
def test_slices_with_every_fault_leave_no_microjoule_over(seed: int) -> None:
    """Gaps, sleep, a lost GPU, resets and wraps of the counter, NaN, stuck and absurd values."""
    rng = random.Random(f"faults {seed}")
    book = EnergyBook(StaticWatts(15, 54, 45, 65), seed % 2 == 1, 1 + seed * 2, source="nvml", most_w=700.0)
    now_us, counter_uj, slices, name = 10**9, rng.randrange(2**40), 0, 0
    running: list[str] = []
    billed_uj = uptime_uj = 0
    spans = (PowerSpan.UPDATE, PowerSpan.SECOND, PowerSpan.MOMENT)
    stuck = 0
    power_w: float | None = 20.0
    while slices < SLICES:
        slices += 1
        now_us += rng.choice((500, 5_000, 20_000, 100_000))
        move = rng.random()
        if move < 0.25 and len(running) < 12:
            name += 1
            running.append(str(name))
            book.open(running[-1], now_us, rng.choice("mn"))
        elif move < 0.5 and running:
            ended = running.pop(rng.randrange(len(running)))
            said = rng.choice(
                (None, Phases(rng.randrange(400_000), rng.randrange(200_000), rng.randrange(900_000), 50, 90))
            )
            billed_uj += book.close(ended, now_us, said).energy_uj
        elif move < 0.55 and running:
            book.progress(rng.choice(running), now_us)
        elif move < 0.57:
            book.loading(now_us, rng.random() < 0.3)
        else:
            stuck = stuck - 1 if stuck else rng.choice((0,) * 200 + (30,))
            if not stuck:
                power_w = 25.0 + 60.0 * min(4, len(running)) + rng.uniform(-9, 9)
                counter_uj += round(rng.uniform(1.0, 40.0) * 1e6)
            fault = rng.random()
            if fault < 0.002:
                now_us += rng.choice((2_500_000, 60_000_000, 8 * 3_600_000_000))  # asleep
            elif fault < 0.004:
                book.sensor_lost(now_us)
            elif fault < 0.006:
                book.rest(now_us)
            elif fault < 0.009:
                counter_uj = rng.choice((0, 2**32, 2**64 - 1, counter_uj // 2))
            elif fault < 0.011:
                book.configure(now_us, source=rng.choice(("nvml", "amdgpu")))
            else:
                odd = rng.choice((float("nan"), float("inf"), -1.0, 65_535.0, 701.0, None))
                said_w = odd if fault < 0.03 else power_w
                counted = None if fault > 0.6 else counter_uj
                at_us = now_us - rng.choice((0, 0, 0, 30_000, 400_000))
                foreign_w = rng.choice((0.0, 0.0, 80.0))
                book.reading(at_us, said_w, counted, 20.0, foreign_w, 5.0, span=spans[slices // 10_000 % 3])
        if seed % 2 and slices % 500 == 0:
            uptime_uj += book.take_uptime(now_us)[0]
    for ended in running:
        billed_uj += book.close(ended, now_us).energy_uj
    book.sensor_lost(now_us)
    sums, totals = book._sums, book.totals()
    residual = sums.measured - (
        sums.requests + sums.idle + sums.resident + sums.loading + sums.foreign + sums.unattributed
    )
    assert residual == 0
    assert sums.requests == billed_uj * UNITS_PER_UJ
    assert min(totals.idle_uj, totals.resident_uj, totals.loading_uj, totals.foreign_uj, uptime_uj) >= 0
    assert totals.requests_uj == billed_uj > 0
