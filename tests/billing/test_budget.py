"""Spent plus held never exceeds the cap, in whatever order holds come, grow, settle and go."""

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from app.billing.budget import Budget, HoldError


def test_a_thousand_admissions_against_room_for_ten_let_in_exactly_ten() -> None:
    budget = Budget(cap_pico=1_099, spent_pico=99)
    admitted = [number for number in range(1000) if budget.hold(f"r{number}", 100)]
    assert admitted == list(range(10))
    assert budget.spent + budget.held == 1_099
    assert [budget.settle(f"r{number}", 100) for number in admitted] == [100] * 10
    assert (budget.spent, budget.held, budget.remaining) == (1_099, 0, 0)


def test_a_refused_renewal_leaves_the_old_hold() -> None:
    budget = Budget(100)
    assert budget.hold("a", 60)
    assert budget.hold("b", 40)
    assert not budget.renew("a", 61)
    assert budget.held_by("a") == 60
    assert budget.renew("b", 10)
    assert budget.renew("a", 90)
    assert budget.held == 100


def test_settling_charges_no_more_than_the_hold_and_the_room_cover() -> None:
    budget = Budget(100)
    budget.hold("a", 30)
    budget.hold("b", 50)
    assert budget.settle("a", 70) == 50  # its own 30 and the 20 nobody held
    assert budget.spent + budget.held == 100
    assert budget.settle("b", 7) == 7


def test_a_lowered_cap_admits_nothing_new_and_nothing_is_charged_above_it() -> None:
    budget = Budget(100)
    budget.hold("a", 60)
    assert budget.over == 0
    budget.set_cap(60)
    assert budget.over == 0
    budget.set_cap(10)
    assert budget.remaining == 0
    assert budget.over == 50
    assert budget.renew("a", 60)
    assert not budget.hold("b", 0)
    assert not budget.renew("a", 61)
    assert budget.renew("a", 50)
    assert budget.settle("a", 55) == 10
    assert (budget.spent, budget.over) == (10, 0)
    budget.set_cap(5)
    assert budget.over == 5
    budget.set_cap(11)
    assert budget.hold("c", 1)


def test_a_hold_renewed_by_nothing_is_kept_under_a_lowered_cap() -> None:
    budget = Budget(100)
    budget.hold("a", 60)
    budget.set_cap(10)
    assert budget.renew("a", 60)
    assert budget.held_by("a") == 60
    assert budget.renew("a", 59)
    assert not budget.renew("a", 60)
    assert budget.held == 59


@pytest.mark.parametrize("end", [lambda budget: budget.release("a"), lambda budget: budget.settle("a", 1)])
def test_a_hold_that_ended_is_forgotten_and_its_name_is_free(end: Callable[[Budget], object]) -> None:
    budget = Budget(100)
    budget.hold("a", 60)
    end(budget)
    for again in (lambda: budget.held_by("a"), lambda: budget.renew("a", 1), lambda: budget.release("a")):
        with pytest.raises(HoldError):
            again()
    assert budget.held == 0
    assert budget.hold("a", 70)
    assert budget.held == 70


def test_below_what_is_spent_a_cap_lets_holds_end_for_nothing() -> None:
    budget = Budget(100, spent_pico=40)
    budget.hold("a", 60)
    budget.set_cap(30)
    assert budget.settle("a", 60) == 0
    assert budget.spent == 40


def test_a_negative_cost_makes_room() -> None:
    budget = Budget(100, spent_pico=100)
    assert budget.charge(-30) == -30
    assert budget.hold("a", 30)
    assert budget.settle("a", -5) == -5
    assert budget.spent == 65


def test_a_charge_without_a_hold_stops_at_the_room() -> None:
    budget = Budget(100)
    budget.hold("a", 90)
    assert budget.charge(25) == 10
    assert budget.charge(25) == 0


def test_a_cap_of_zero_admits_what_costs_nothing() -> None:
    budget = Budget(0)
    assert budget.hold("free", 0)
    assert not budget.hold("not free", 1)


def test_unknown_and_repeated_holds_are_mistakes() -> None:
    budget = Budget(100)
    budget.hold("a", 1)
    with pytest.raises(HoldError):
        budget.hold("a", 1)
    for broken in (budget.release, lambda name: budget.settle(name, 1), lambda name: budget.renew(name, 1)):
        with pytest.raises(HoldError):
            broken("nobody")
    assert (budget.spent, budget.held) == (0, 1)


def test_negative_caps_and_holds_are_refused_and_change_nothing() -> None:
    with pytest.raises(ValueError, match="cap"):
        Budget(-1)
    budget = Budget(100)
    with pytest.raises(ValueError, match="hold"):
        budget.hold("a", -1)
    with pytest.raises(ValueError, match="cap"):
        budget.set_cap(-1)
    assert (budget.cap, budget.held) == (100, 0)


amounts = st.integers(0, 200)


class BudgetMachine(RuleBasedStateMachine):
    """Against a model that only adds up."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(1000)
        self.spent = 0
        self.held: dict[str, int] = {}
        self.bound = 1000
        """The cap, or what was spent and held above it when it was lowered."""
        self.most_spent = 1000
        """The cap, or what was spent above it when it was lowered."""
        self.next = 0

    @rule(target=holds, amount=amounts)
    def hold(self, amount: int) -> str:
        self.next += 1
        name = f"h{self.next}"
        room = self.budget.cap - self.spent - sum(self.held.values())
        admitted = self.budget.hold(name, amount)
        assert admitted == (amount <= room)
        if admitted:
            self.held[name] = amount
        return name

    @rule(name=holds, amount=amounts)
    def renew(self, name: str, amount: int) -> None:
        if name not in self.held:
            with pytest.raises(HoldError):
                self.budget.renew(name, amount)
            return
        others = sum(self.held.values()) - self.held[name]
        fits = self.spent + others + amount <= self.budget.cap
        granted = self.budget.renew(name, amount)
        assert granted == (fits or amount <= self.held[name])
        if granted:
            self.held[name] = amount

    @rule(name=consumes(holds), cost=st.integers(-50, 400))
    def settle(self, name: str, cost: int) -> None:
        if name not in self.held:
            with pytest.raises(HoldError):
                self.budget.settle(name, cost)
            return
        cover = min(self.held[name] + self.budget.remaining, max(0, self.budget.cap - self.spent))
        charged = self.budget.settle(name, cost)
        assert charged == min(cost, cover)
        del self.held[name]
        self.spent += charged

    @rule(name=consumes(holds))
    def release(self, name: str) -> None:
        if name in self.held:
            self.budget.release(name)
            del self.held[name]

    @rule(cost=st.integers(-50, 400))
    def charge(self, cost: int) -> None:
        room = self.budget.remaining
        charged = self.budget.charge(cost)
        assert charged == min(cost, room)
        self.spent += charged

    @rule(cap=st.integers(0, 2000))
    def set_cap(self, cap: int) -> None:
        self.budget.set_cap(cap)
        self.bound = max(cap, self.spent + sum(self.held.values()))
        self.most_spent = max(cap, self.spent)

    @invariant()
    def spent_plus_held_stays_under_the_cap(self) -> None:
        self.bound = max(self.budget.cap, min(self.bound, self.budget.spent + self.budget.held))
        assert self.budget.spent + self.budget.held <= self.bound

    @invariant()
    def spent_stays_under_the_cap_or_what_was_spent_when_it_was_lowered(self) -> None:
        assert self.budget.spent <= self.most_spent

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.budget.spent == self.spent
        assert self.budget.held == sum(self.held.values())
        assert self.budget.remaining == max(0, self.budget.cap - self.spent - sum(self.held.values()))
        assert self.budget.over == max(0, self.spent + sum(self.held.values()) - self.budget.cap)


TestBudgetMachine = BudgetMachine.TestCase
TestBudgetMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
