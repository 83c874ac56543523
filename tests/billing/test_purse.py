"""A sum for each day, week or month: at the edge spending begins anew, holds stay, and nothing exceeds it."""

from __future__ import annotations

from datetime import UTC
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from app.basics.quarters import quarter_of
from app.billing.budget import HoldError
from app.billing.periods import Period
from app.billing.purse import Purse
from app.billing.spending import KEPT_QUARTERS, NOTHING_KNOWN, Spending
from tests.billing.test_periods import BERLIN, at

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
NOON = at("2026-11-28T12:00")
"""A Saturday."""
MIDNIGHT = at("2026-11-29T00:00")


def purse(
    cap: int = 100, period: Period = Period.DAY, spending: Spending | None = None, now_us: int = NOON
) -> Purse:
    return Purse(cap, period, UTC, spending or Spending(), now_us)


def test_at_the_edge_spending_begins_anew() -> None:
    one = purse()
    assert one.charge(100, NOON, NOON) == 100
    assert not one.hold("a", 1, MIDNIGHT - 1)
    assert one.hold("a", 1, MIDNIGHT)
    assert (one.spent, one.held) == (0, 1)


def test_a_total_never_begins_anew() -> None:
    one = purse(period=Period.TOTAL)
    one.charge(100, NOON, NOON)
    one.look(NOON + 400 * DAY_US)
    assert (one.spent, one.remaining) == (100, 0)


def test_a_hold_across_the_edge_stays_and_is_charged_where_the_request_ends() -> None:
    one = purse()
    assert one.hold("a", 60, NOON)
    one.look(MIDNIGHT)
    assert (one.spent, one.held, one.remaining) == (0, 60, 40)
    assert not one.hold("b", 41, MIDNIGHT)
    assert one.settle("a", 50, MIDNIGHT + 1, MIDNIGHT + 1) == 50
    assert (one.spent, one.held) == (50, 0)


def test_what_ended_just_before_the_edge_is_charged_to_the_day_that_is_over_and_within_it() -> None:
    one = purse()
    one.charge(70, NOON, NOON)
    one.hold("a", 30, NOON)
    one.hold("b", 0, NOON)
    assert one.settle("a", 25, MIDNIGHT - 1, MIDNIGHT + 5) == 25
    assert (one.spent, one.held, one.remaining) == (0, 0, 100)
    assert one.cover("b", 20, MIDNIGHT - 1, MIDNIGHT + 5) == 5
    assert one.settle("b", 20, MIDNIGHT - 1, MIDNIGHT + 5) == 5
    assert one.charge(1, MIDNIGHT - 1, MIDNIGHT + 5) == 0
    one.look(NOON)  # the clock is set back: the old day runs again
    assert (one.spent, one.remaining) == (100, 0)


def test_a_clock_set_back_over_the_edge_gives_no_second_sum() -> None:
    one = purse()
    one.charge(90, NOON, NOON)
    one.charge(40, MIDNIGHT + 1, MIDNIGHT + 1)
    one.look(MIDNIGHT - 1)
    assert (one.spent, one.remaining, one.over) == (130, 0, 30)
    one.look(MIDNIGHT + 2)
    assert one.spent == 40


def test_room_that_prices_below_zero_had_made_ends_with_its_day() -> None:
    one = purse()
    one.charge(-50, NOON, NOON)
    assert one.hold("a", 150, NOON)
    one.look(MIDNIGHT)
    assert (one.over, one.remaining) == (50, 0)
    assert one.settle("a", 150, MIDNIGHT, MIDNIGHT) == 100


def test_another_period_or_zone_counts_at_once_and_holds_stay() -> None:
    spending = Spending()
    one = Purse(100, Period.TOTAL, UTC, spending, NOON)
    one.charge(10, at("2026-11-10T12:00"), NOON)
    one.charge(20, at("2026-11-24T12:00"), NOON)
    one.charge(30, at("2026-11-27T23:30"), NOON)  # in Berlin it was the 28th
    one.hold("a", 5, NOON)
    seen = {}
    for period in Period:
        one.set_period(period, UTC, NOON)
        seen[period.value] = one.spent
    assert seen == {"total": 60, "day": 0, "week": 50, "month": 60}
    one.set_period(Period.DAY, BERLIN, NOON)
    assert (one.spent, one.held, one.remaining) == (30, 5, 65)


def test_a_refund_is_taken_from_the_day_in_which_it_was_charged() -> None:
    one = purse()
    one.charge(60, NOON, NOON)
    one.restore(-60, NOON, MIDNIGHT + 1)
    assert one.spent == 0
    one.look(NOON)
    assert one.spent == 0


def test_what_is_not_known_by_its_time_counts_in_full_until_the_ledger_was_read() -> None:
    one = purse(spending=Spending(70, {}, NOTHING_KNOWN))
    assert (one.spent, one.exact) == (70, False)
    one.read_anew()
    assert one.charge(10, NOON, NOON) == 10
    one.was_read(70, {quarter_of(NOON - DAY_US): 50, quarter_of(NOON): 20}, 0, NOON)
    assert (one.spent, one.exact) == (30, True)
    one.set_period(Period.TOTAL, UTC, NOON)
    assert one.spent == 80


def test_sums_by_the_quarter_do_not_grow_for_ever() -> None:
    spending = Spending()
    for number in range(5 * KEPT_QUARTERS):
        spending.add(1, number * 900_000_000)
    now_us = 5 * KEPT_QUARTERS * 900_000_000
    assert spending.since(now_us - 31 * DAY_US) == 31 * 96
    assert spending.since(0) == spending.since(None) == spending.total_pico == 5 * KEPT_QUARTERS
    assert len(spending._quarters) <= 2 * KEPT_QUARTERS


class PurseMachine(RuleBasedStateMachine):
    """Against a list of every charge, summed anew each time; a restart reads that list as a ledger would."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.period = Period.DAY
        self.zone: ZoneInfo = BERLIN
        self.cap = 1000
        self.charges: list[tuple[int, int]] = []
        """Cost and end."""
        self.held: dict[str, int] = {}
        self.next = 0
        self.purse = Purse(self.cap, self.period, self.zone, Spending(), self.now)

    def spent(self) -> int:
        span = self.period.span(self.now, self.zone)
        return sum(cost for cost, end in self.charges if span.from_us is None or end >= span.from_us)

    def spent_then(self, ended_us: int) -> int:
        span = self.period.span(ended_us, self.zone)
        return sum(cost for cost, end in self.charges if span.holds(end))

    def room(self) -> int:
        return max(0, self.cap - self.spent() - sum(self.held.values()))

    def most(self, cost: int, ended_us: int, cover: int) -> int:
        span = self.period.span(self.now, self.zone)
        most = min(cost, cover)
        if span.from_us is not None and ended_us < span.from_us:
            most = min(most, max(0, self.cap - self.spent_then(ended_us)))
        return most

    @rule(hours=st.integers(0, 40), back=st.integers(0, 3))
    def time_passes(self, hours: int, back: int) -> None:
        self.now += hours * HOUR_US if back else -hours * HOUR_US

    @rule(target=holds, amount=st.integers(0, 400))
    def hold(self, amount: int) -> str:
        self.next += 1
        name = f"h{self.next}"
        fits = self.spent() + sum(self.held.values()) + amount <= self.cap
        assert self.purse.hold(name, amount, self.now) == fits
        if fits:
            self.held[name] = amount
        return name

    @rule(name=holds, amount=st.integers(0, 400))
    def renew(self, name: str, amount: int) -> None:
        if name not in self.held:
            with pytest.raises(HoldError):
                self.purse.renew(name, amount, self.now)
            return
        others = sum(self.held.values()) - self.held[name]
        fits = amount <= self.held[name] or self.spent() + others + amount <= self.cap
        assert self.purse.renew(name, amount, self.now) == fits
        if fits:
            self.held[name] = amount

    @rule(name=consumes(holds), cost=st.integers(-50, 600), ago=st.integers(0, 30))
    def settle(self, name: str, cost: int, ago: int) -> None:
        ended = self.now - ago * HOUR_US
        if name not in self.held:
            with pytest.raises(HoldError):
                self.purse.settle(name, cost, ended, self.now)
            return
        most = self.most(cost, ended, min(self.held[name] + self.room(), max(0, self.cap - self.spent())))
        assert self.purse.cover(name, cost, ended, self.now) == most
        assert self.purse.settle(name, cost, ended, self.now) == most
        del self.held[name]
        self.charges.append((most, ended))

    @rule(name=consumes(holds))
    def release(self, name: str) -> None:
        if name in self.held:
            self.purse.release(name)
            del self.held[name]

    @rule(cost=st.integers(-50, 600), ago=st.integers(0, 30))
    def charge(self, cost: int, ago: int) -> None:
        ended = self.now - ago * HOUR_US
        most = self.most(cost, ended, self.room())
        assert self.purse.charge(cost, ended, self.now) == most
        self.charges.append((most, ended))

    @rule(cap=st.integers(0, 2000))
    def set_cap(self, cap: int) -> None:
        self.cap = cap
        self.purse.set_cap(cap)

    @rule(period=st.sampled_from(Period), zone=st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "UTC"]))
    def set_period(self, period: Period, zone: str) -> None:
        self.period, self.zone = period, ZoneInfo(zone)
        self.purse.set_period(period, self.zone, self.now)

    @rule()
    def restart(self) -> None:
        """What ran has ended: as after a crash, everything is in the ledger."""
        for name, amount in self.held.items():
            ended = self.now
            most = self.most(amount, ended, min(amount + self.room(), max(0, self.cap - self.spent())))
            assert self.purse.settle(name, amount, ended, self.now) == most
            self.charges.append((most, ended))
            self.held[name] = 0  # released one after the other
        self.held.clear()
        self.purse = Purse(self.cap, self.period, self.zone, self.ledger(), self.now)

    @rule()
    def read_anew(self) -> None:
        self.purse.read_anew()
        total, quarters = self.read()
        self.charge(10, 0)
        self.purse.was_read(total, quarters, -(2**40), self.now)

    def ledger(self) -> Spending:
        return Spending(*self.read(), -(2**40))

    def read(self) -> tuple[int, dict[int, int]]:
        quarters: dict[int, int] = {}
        for cost, end in self.charges:
            quarters[quarter_of(end)] = quarters.get(quarter_of(end), 0) + cost
        return sum(cost for cost, _ in self.charges), quarters

    @invariant()
    def it_adds_up(self) -> None:
        self.purse.look(self.now)
        held = sum(self.held.values())
        assert self.purse.spent == self.spent()
        assert self.purse.held == held
        assert self.purse.remaining == self.room()
        assert self.purse.over == max(0, self.spent() + held - self.cap)
        assert self.purse.span.holds(self.now)


TestPurseMachine = PurseMachine.TestCase
TestPurseMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class ForwardMachine(RuleBasedStateMachine):
    """Time goes on, prices are above zero, the sum stays: then no period ever exceeds it, to the last pico-unit."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.now = at("2026-10-24T20:00")  # the night before a day of 25 hours
        self.purse = Purse(1000, Period.DAY, BERLIN, Spending(), self.now)
        self.charges: list[tuple[int, int]] = []
        self.next = 0

    @rule(minutes=st.integers(0, 700))
    def time_passes(self, minutes: int) -> None:
        self.now += minutes * 60_000_000

    @rule(target=holds, amount=st.integers(0, 400))
    def hold(self, amount: int) -> str:
        self.next += 1
        self.purse.hold(f"h{self.next}", amount, self.now)
        return f"h{self.next}"

    @rule(name=holds, amount=st.integers(0, 700))
    def renew(self, name: str, amount: int) -> None:
        try:
            self.purse.renew(name, amount, self.now)
        except HoldError:
            return

    @rule(name=consumes(holds), cost=st.integers(0, 900), late=st.integers(0, 120))
    def settle(self, name: str, cost: int, late: int) -> None:
        ended = self.now - late * 60_000_000
        try:
            self.charges.append((self.purse.settle(name, cost, ended, self.now), ended))
        except HoldError:
            return

    @invariant()
    def no_day_exceeds_the_sum(self) -> None:
        self.purse.look(self.now)
        days: dict[object, int] = {}
        for cost, end in self.charges:
            day = Period.DAY.span(end, BERLIN)
            days[day] = days.get(day, 0) + cost
        assert all(cost <= 1000 for cost in days.values())
        assert self.purse.spent == days.get(self.purse.span, 0)
        assert self.purse.spent + self.purse.held <= 1000
        assert self.purse.over == 0


TestForwardMachine = ForwardMachine.TestCase
TestForwardMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
