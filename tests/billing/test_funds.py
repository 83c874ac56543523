"""A request is paid by the cap, its key's and its client's purses at once: none is overspent, all charge the same."""

from __future__ import annotations

from datetime import UTC

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from app.billing.budget import HoldError
from app.billing.periods import Period
from app.billing.purse import Purse
from app.billing.purses import Funds, PurseOf, Purses
from app.billing.spending import NOTHING_KNOWN, Spending
from tests.billing.test_periods import at

NOON = at("2026-11-28T12:00")
HOUR_US = 3_600_000_000
KEYS = {"k_ann_1": "ann", "k_ann_2": "ann", "k_ben": "ben", "k_free": "free"}


def purse(cap: int, period: Period = Period.DAY, spending: Spending | None = None) -> Purse:
    return Purse(cap, period, UTC, spending or Spending(), NOON)


def funds(cap: int = 1000, **of_key: Purse) -> Funds:
    made = Funds(purse(cap, Period.TOTAL))
    made.know({key: (PurseOf("key", one),) for key, one in of_key.items()}, {})
    return made


def test_a_thousand_requests_of_a_key_against_room_for_ten_let_in_exactly_ten() -> None:
    paying = funds(10**6, k_ben=purse(1_099))
    short = [paying.hold(f"r{number}", 109, "k_ben", "ben", NOON) for number in range(1000)]
    assert [number for number, one in enumerate(short) if one is None] == list(range(10))
    assert all(one is not None and one.whose == "key" for one in short[10:])
    assert paying.cap.held == 1090
    assert paying.hold("free", 109, "k_free", "free", NOON) is None


def test_where_the_cap_has_no_room_nothing_is_held_in_the_purse_either() -> None:
    own = purse(1000)
    paying = funds(50, k_ben=own)
    short = paying.hold("a", 60, "k_ben", "ben", NOON)
    assert short is not None
    assert short.whose == "cap"
    assert (own.held, paying.cap.held) == (0, 0)
    assert paying.hold("a", 40, "k_ben", "ben", NOON) is None
    assert paying.renew("a", 60, NOON) is short
    assert (own.held, paying.cap.held) == (40, 40)


def test_a_request_is_charged_what_all_of_its_purses_cover() -> None:
    own, whole = purse(100), purse(70)
    paying = Funds(purse(1000, Period.TOTAL))
    paying.know({"k_ben": (PurseOf("key", own),)}, {"ben": (PurseOf("client", whole),)})
    paying.hold("a", 30, "k_ben", "ben", NOON)
    assert paying.settle("a", 90, "k_ben", "ben", NOON, NOON) == 70
    assert (paying.cap.spent, own.spent, whole.spent) == (70, 70, 70)
    assert paying.left("k_ben", "ben") == 0
    assert paying.left("k_free", "free") == 930
    paying.refund(70, "k_ben", "ben", NOON, NOON)
    assert (paying.cap.spent, own.spent, whole.spent) == (0, 0, 0)


def test_a_purse_that_came_or_went_while_a_request_ran_counts_it_or_lets_it_go() -> None:
    early, late = purse(100), purse(100)
    paying = funds(k_ben=early)
    paying.hold("a", 30, "k_ben", "ben", NOON)
    paying.know({"k_ben": (PurseOf("key", late),)}, {})
    assert paying.settle("a", 20, "k_ben", "ben", NOON, NOON) == 20
    assert (early.held, early.spent, late.spent) == (0, 20, 20)


def test_a_purse_of_which_it_is_not_known_what_was_spent_holds_nothing() -> None:
    paying = funds(k_ben=purse(1000, spending=Spending(0, {}, NOTHING_KNOWN)))
    short = paying.hold("a", 1, "k_ben", "ben", NOON)
    assert short is not None
    assert not short.purse.exact
    assert paying.spent_out(1, "k_ben", "ben", NOON) is short
    assert paying.cap.held == 0


def test_a_new_purse_is_charged_already_and_holds_nothing_until_it_is_known_what_was_spent() -> None:
    own = purse(10, spending=Spending(0, {}, NOTHING_KNOWN))
    paying, new = Funds(purse(1000)), PurseOf("key", own)
    paying.know({"k_ben": (new,)}, {}, {new})
    assert paying.spent_out(100, "k_ben", "ben", NOON) is None
    assert paying.hold("a", 100, "k_ben", "ben", NOON) is None
    assert paying.settle("a", 100, "k_ben", "ben", NOON, NOON) == 100
    assert (own.held, own.spent) == (0, 100)


def test_a_lowered_budget_is_named_as_passed_as_long_as_something_is_held_in_it() -> None:
    own = purse(100)
    paying = funds(k_ben=own)
    paying.hold("a", 60, "k_ben", "ben", NOON)
    assert list(paying.over()) == []
    own.set_cap(50)
    (short,) = paying.over()
    assert paying.holds_in("a", short)
    assert not paying.holds_in("b", short)
    paying.release("a")
    assert list(paying.over()) == []
    with pytest.raises(HoldError):
        paying.release("a")


class FundsMachine(RuleBasedStateMachine):
    """Money of two clients and their keys, by the day and by the month, against sums over a list of charges."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.next = 0
        self.running: dict[str, tuple[str, int]] = {}
        self.charges: list[tuple[str, int, int]] = []
        """Key, cost, end."""
        self.caps: dict[tuple[str, str, Period], int] = {}
        self.make()

    def make(self) -> None:
        """As after a start: all from the list."""
        self.cap = self.fresh(2000, Period.TOTAL, set(KEYS))
        self.funds = Funds(self.cap)
        self.purses: dict[tuple[str, str, Period], PurseOf] = {}
        for place in self.caps:
            self.add(place)
        self.tell()

    def add(self, place: tuple[str, str, Period]) -> None:
        whose, name, period = place
        keys = {name} if whose == "key" else {key for key, log in KEYS.items() if log == name}
        self.purses[place] = PurseOf(whose, self.fresh(self.caps[place], period, keys))

    def fresh(self, cap: int, period: Period, keys: set[str]) -> Purse:
        spending = Spending()
        for key, cost, end in self.charges:
            if key in keys:
                spending.add(cost, end)
        return Purse(cap, period, UTC, spending, self.now)

    def tell(self) -> None:
        of: dict[str, dict[str, Purses]] = {"key": {}, "client": {}}
        for (whose, name, _), one in self.purses.items():
            of[whose][name] = (*of[whose].get(name, ()), one)
        self.funds.know(of["key"], of["client"])

    @rule(hours=st.integers(0, 30))
    def time_passes(self, hours: int) -> None:
        self.now += hours * HOUR_US

    @rule(
        whose=st.sampled_from([("key", "k_ann_1"), ("key", "k_ben"), ("client", "ann"), ("client", "ben")]),
        period=st.sampled_from([Period.DAY, Period.MONTH]),
        cap=st.integers(300, 900),
    )
    def limit(self, whose: tuple[str, str], period: Period, cap: int) -> None:
        """Only ever raised, or made while nothing runs: what a lowered one does is tested by itself."""
        place = (*whose, period)
        if place in self.caps:
            self.caps[place] = max(cap, self.caps[place])
            self.purses[place].purse.set_cap(self.caps[place])
        elif not self.running:
            keys = {whose[1]} if whose[0] == "key" else {key for key in KEYS if KEYS[key] == whose[1]}
            self.caps[place] = cap + sum(cost for key, cost, _ in self.charges if key in keys)
            self.add(place)
        self.tell()

    @rule(target=holds, key=st.sampled_from(sorted(KEYS)), amount=st.integers(0, 300))
    def hold(self, key: str, amount: int) -> str:
        self.next += 1
        name = f"h{self.next}"
        if self.funds.hold(name, amount, key, KEYS[key], self.now) is None:
            self.running[name] = key, amount
        return name

    @rule(name=holds, amount=st.integers(0, 500))
    def renew(self, name: str, amount: int) -> None:
        if name in self.running and self.funds.renew(name, amount, self.now) is None:
            self.running[name] = self.running[name][0], amount

    @rule(name=consumes(holds), cost=st.integers(0, 700))
    def settle(self, name: str, cost: int) -> None:
        if name in self.running:
            key, held = self.running.pop(name)
            charged = self.funds.settle(name, cost, key, KEYS[key], self.now, self.now)
            assert min(cost, held) <= charged <= cost, "what is held is covered"
            self.charges.append((key, charged, self.now))

    @rule(name=consumes(holds))
    def release(self, name: str) -> None:
        if name in self.running:
            del self.running[name]
            self.funds.release(name)

    @rule()
    def restart(self) -> None:
        for name, (key, held) in self.running.items():
            charged = self.funds.settle(name, held, key, KEYS[key], self.now, self.now)
            self.charges.append((key, charged, self.now))
        self.running.clear()
        self.make()

    @invariant()
    def nothing_is_overspent_and_everything_adds_up(self) -> None:
        everything = {("cap", "", Period.TOTAL): PurseOf("cap", self.cap), **self.purses}
        for (whose, name, period), one in everything.items():
            one.purse.look(self.now)
            keys = (
                set(KEYS)
                if whose == "cap"
                else {name}
                if whose == "key"
                else {key for key in KEYS if KEYS[key] == name}
            )
            span = period.span(self.now, UTC)
            spent = sum(cost for key, cost, end in self.charges if key in keys and span.holds(end))
            held = sum(amount for key, amount in self.running.values() if key in keys)
            assert (one.purse.spent, one.purse.held) == (spent, held)
            assert spent + held <= one.purse.cap


TestFundsMachine = FundsMachine.TestCase
TestFundsMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
