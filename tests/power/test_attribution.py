"""Whose a stretch was: shares corrected by what the engine says at a request's end, told as scripts of events."""

from __future__ import annotations

import random

import pytest

from app.power.accounts import EnergyBook, StaticWatts
from app.power.attribution import LOAD_LEAST_US, MOVED_MOST_US, STRETCHES_MOST, Phases

GPU_ONLY = StaticWatts(0, 400, 0, 0)
S = 1_000_000
LOAD_W = 200.0


class Card:
    """A book with a card that draws `load_w` while `until` moves on, read ten times a second."""

    def __init__(self, parallel: int = 4) -> None:
        self.book = EnergyBook(GPU_ONLY, False, parallel, source="nvml")
        self.now_us = 0
        self.book.reading(0, LOAD_W, None, 0.0)

    def until(self, at_s: float, power_w: float = LOAD_W) -> None:
        while self.now_us < round(at_s * S):
            self.now_us += 100_000
            self.book.reading(self.now_us, power_w, None, 0.0)

    def open(self, name: str, model: str = "m") -> None:
        self.book.open(name, self.now_us, model)

    def progress(self, name: str) -> None:
        self.book.progress(name, self.now_us)

    def close(self, name: str, phases: Phases | None = None) -> float:
        """Joules."""
        joules = self.book.close(name, self.now_us, phases).energy_uj / 1e6
        totals = self.book.totals()
        assert totals.measured_uj == (
            totals.requests_uj + totals.idle_uj + totals.resident_uj + totals.loading_uj + totals.foreign_uj
            + totals.unattributed_uj
        )  # fmt: skip
        return joules


def phases(
    load_s: float, prompt_s: float, answer_s: float, prompt: int | None = None, answer: int | None = None
) -> Phases:
    return Phases(round(load_s * S), round(prompt_s * S), round(answer_s * S), prompt, answer)


def test_identical_requests_side_by_side_are_billed_within_a_percent_of_each_other() -> None:
    card = Card()
    for name in "abc":
        card.open(name)
    card.until(5)
    bills = [card.close(name, phases(0, 0.5, 4.5, 100, 200)) for name in "abc"]
    assert max(bills) / min(bills) < 1.01
    assert sum(bills) == pytest.approx(LOAD_W * 5)


def test_time_in_the_engines_queue_costs_nothing_and_is_the_others() -> None:
    card = Card()
    card.open("a")
    card.progress("a")
    card.open("b")  # the engine in truth takes one at once
    card.until(3)
    a = card.book.accrued("a", card.now_us)
    assert a == pytest.approx(LOAD_W * 1.5 * S)
    card.until(4)
    # `b` says that it read and wrote in the last second only; `a` is still open and gets what `b` was given before.
    assert card.close("b", phases(0, 0.2, 0.8)) == pytest.approx(LOAD_W / 2)
    assert card.close("a", phases(0, 0.5, 3.5)) == pytest.approx(LOAD_W * 3.5)


def test_time_in_a_queue_of_somebody_elses_is_nobodys() -> None:
    card = Card()
    card.open("a")
    card.until(3)
    assert card.close("a", phases(0, 0.2, 0.8)) == pytest.approx(LOAD_W)
    assert card.book.totals().unattributed_uj == pytest.approx(LOAD_W * 2 * S)


def test_a_short_wait_is_the_engines_own_overhead_and_moves_nothing() -> None:
    card = Card()
    card.open("a")
    card.until(3)
    assert card.close("a", phases(0, 0.2, 2.56)) == pytest.approx(LOAD_W * 3)


def test_an_engine_that_says_more_time_than_there_was_changes_nothing() -> None:
    card = Card()
    card.open("a")
    card.until(3)
    assert card.close("a", phases(9, 9, 9)) == pytest.approx(LOAD_W * 3)


def test_what_was_given_back_is_never_taken_from_a_bill_that_was_written() -> None:
    card = Card()
    card.open("a")
    card.progress("a")
    card.open("b")
    card.until(2)
    a = card.close("a", phases(0, 0.5, 1.5))
    assert a == pytest.approx(LOAD_W)
    card.until(3)
    assert card.close("b", phases(0, 0.2, 0.8)) == pytest.approx(LOAD_W)
    assert card.book.totals().unattributed_uj == pytest.approx(LOAD_W * S)


@pytest.mark.parametrize("first_to_end", ["cause", "other"])
def test_a_models_load_is_billed_to_the_request_that_caused_it(first_to_end: str) -> None:
    card = Card()
    card.open("cause")
    card.until(0.1)
    card.open("other")
    card.until(3)
    for name in ("cause", "other"):
        card.progress(name)
    card.until(5)
    said = {"cause": phases(3, 0.2, 1.8), "other": phases(2.9, 0.2, 1.8)}
    order = ("cause", "other") if first_to_end == "cause" else ("other", "cause")
    bills = {name: card.close(name, said[name]) for name in order}
    assert sum(bills.values()) == pytest.approx(LOAD_W * 5)
    # 3 s of load are the cause's; the 2 s after them are shared.
    assert bills["cause"] == pytest.approx(LOAD_W * 4, abs=LOAD_W * 0.11)
    assert bills["other"] == pytest.approx(LOAD_W, abs=LOAD_W * 0.11)


def test_a_load_is_not_billed_to_a_request_for_another_model() -> None:
    card = Card()
    card.open("a", "one")
    card.open("b", "two")
    card.until(2)
    bills = [card.close("a", phases(2, 0, 0)), card.close("b", phases(2, 0, 0))]
    assert bills == [pytest.approx(LOAD_W)] * 2


def test_the_milliseconds_of_load_that_ollama_always_says_are_no_load() -> None:
    card = Card()
    card.open("a")
    card.open("b")
    card.until(2)
    little = LOAD_LEAST_US / S - 0.01
    assert card.close("a", phases(little, 0.2, 1.8 - little)) == pytest.approx(LOAD_W)


def test_however_much_is_given_back_no_more_comes_onto_an_open_request_than_its_hold_covers() -> None:
    card = Card()
    card.open("a")
    card.progress("a")
    for name in "bcd":
        card.open(name)
    card.until(20)
    before = card.book.accrued("a", card.now_us)
    for name in "bcd":
        card.close(name, phases(0, 0.1, 0.1))
    moved = card.book.close("a", card.now_us).energy_uj - before
    assert moved <= LOAD_W * (MOVED_MOST_US + 100_000)


def test_a_day_long_request_remembers_no_more_than_its_beginning() -> None:
    card = Card()
    card.open("a")
    card.open("b")
    for number in range(1, STRETCHES_MOST + 500):
        card.book.reading(number * 100_000, LOAD_W, None, 0.0)
    assert all(len(account.stretches) == STRETCHES_MOST for account in card.book._accounts.values())


def teach(card: Card, rng: random.Random) -> None:
    """Busy stretches of one to three requests whose watts follow from their tokens: 80 W and 0.5 J a token."""
    for _ in range(40):
        count, seconds = rng.randint(1, 3), rng.randint(2, 5)
        paces = [rng.choice((20, 40, 60)) for _ in range(count)]
        prompt = rng.randint(10, 2_000)
        begin_s = card.now_us / S
        for number in range(count):
            card.open(str(number))
        watts = 80 + 0.5 * sum(paces) + 0.02 * prompt * count / seconds
        card.book.reading(card.now_us + 1, watts, None, 0.0)
        card.until(begin_s + seconds, watts)
        for number, pace in enumerate(paces):
            card.close(str(number), phases(0, 0, seconds, prompt, pace * seconds))
        card.until(card.now_us / S + 1, 0.0)


def test_once_streaming_and_tokens_are_told_apart_each_pays_its_part_of_the_one_and_its_own_of_the_other() -> (
    None
):
    card = Card()
    teach(card, random.Random(7))
    costs = card.book.attribution.costs("m")
    assert costs is not None
    assert costs.streaming_w == pytest.approx(80, rel=0.1)
    assert costs.answer_j == pytest.approx(0.5, rel=0.1)
    begin_s, watts = card.now_us / S, 80 + 0.5 * 80
    card.book.reading(card.now_us + 1, watts, None, 0.0)
    for name in ("fast", "slow"):
        card.open(name)
        card.progress(name)
    card.until(begin_s + 3, watts)
    card.book.produced("slow", 60, card.now_us)
    fast = card.close("fast", phases(0, 0, 3, 0, 180))
    slow = card.close("slow", phases(0, 0, 3, 0, 60))
    assert fast + slow == pytest.approx(watts * 3, rel=0.01)
    # 40 W of streaming each, 30 W of tokens for the one and 10 W for the other.
    assert fast / slow == pytest.approx(70 / 50, rel=0.05)


def test_until_they_are_told_apart_the_time_is_shared_evenly() -> None:
    card = Card()
    for name in ("fast", "slow"):
        card.open(name)
        card.progress(name)
    card.until(3)
    card.book.produced("slow", 60, card.now_us)
    assert card.close("fast", phases(0, 0, 3, 0, 180)) == pytest.approx(card.close("slow"))
