"""Whether the GPU's own counter is believed, window by window."""

from __future__ import annotations

import pytest

from app.power.counter import CounterTrust

WINDOW_US = 30_000_000
WHOLE_UJ = 3_000_000_000


def test_nothing_is_believed_before_thirty_seconds_have_agreed() -> None:
    trust = CounterTrust()
    trust.observe(WHOLE_UJ, WHOLE_UJ, WINDOW_US - 1)
    assert not trust.trusted
    trust.observe(0, 0, 1)
    assert trust.trusted


@pytest.mark.parametrize("sign", [1, -1])
def test_a_tenth_is_too_much_and_a_hair_less_is_not(sign: int) -> None:
    off = CounterTrust()
    off.observe(WHOLE_UJ + sign * WHOLE_UJ // 10, WHOLE_UJ, WINDOW_US)
    assert (off.trusted, off.demoted) == (False, True)
    near = CounterTrust()
    near.observe(WHOLE_UJ + sign * (WHOLE_UJ // 10 - 1), WHOLE_UJ, WINDOW_US)
    assert (near.trusted, near.demoted) == (True, False)


def test_each_window_is_judged_by_itself() -> None:
    trust = CounterTrust()
    trust.observe(WHOLE_UJ, WHOLE_UJ, WINDOW_US)
    assert trust.trusted
    trust.observe(WHOLE_UJ * 115 // 100, WHOLE_UJ, WINDOW_US)
    assert trust.demoted


def test_a_window_in_which_nothing_was_drawn_proves_nothing() -> None:
    trust = CounterTrust()
    trust.observe(0, 0, WINDOW_US)
    assert (trust.trusted, trust.demoted) == (False, False)


def test_a_single_microjoule_where_nothing_was_drawn_is_too_much() -> None:
    trust = CounterTrust()
    trust.observe(1, 0, WINDOW_US)
    assert trust.demoted


def test_what_was_demoted_once_is_not_believed_again() -> None:
    trust = CounterTrust()
    trust.observe(2 * WHOLE_UJ, WHOLE_UJ, WINDOW_US)
    for _ in range(3):
        trust.observe(WHOLE_UJ, WHOLE_UJ, WINDOW_US)
    assert (trust.trusted, trust.demoted) == (False, True)


def test_a_new_window_begins_with_nothing_in_it() -> None:
    trust = CounterTrust()
    trust.observe(WHOLE_UJ, WHOLE_UJ, WINDOW_US)
    trust.observe(2 * WHOLE_UJ, WHOLE_UJ, WINDOW_US - 1)
    assert trust.trusted
    trust.observe(0, 0, 1)
    assert trust.demoted
    whole = CounterTrust()
    whole.observe(WHOLE_UJ, WHOLE_UJ, WINDOW_US)
    whole.observe(0, 0, WINDOW_US)
    assert whole.trusted


def test_a_counter_that_comes_back_has_to_prove_itself_again() -> None:
    trust = CounterTrust()
    trust.observe(WHOLE_UJ, WHOLE_UJ, WINDOW_US)
    trust.observe(WHOLE_UJ, WHOLE_UJ, WINDOW_US - 1)
    trust.begin_again()
    trust.observe(0, 0, 1)
    assert (trust.trusted, trust.demoted) == (False, False)
    trust.observe(WHOLE_UJ, WHOLE_UJ, WINDOW_US)
    assert trust.trusted


def test_a_demoted_counter_that_comes_back_is_still_demoted() -> None:
    trust = CounterTrust()
    trust.observe(2 * WHOLE_UJ, WHOLE_UJ, WINDOW_US)
    trust.begin_again()
    trust.observe(WHOLE_UJ, WHOLE_UJ, WINDOW_US)
    assert (trust.trusted, trust.demoted) == (False, True)
