"""The spending cap is warned of at 80 and at 95 %, each once, also over restarts and a cap that is moved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing.cap_warning import LEVELS_PCT, CapWarning, level_pct

AMOUNTS = st.integers(0, 10**19)


@pytest.mark.parametrize(
    ("spent", "cap", "level"),
    [
        (0, 10, None),
        (79, 100, None),
        (80, 100, 80),
        (94, 100, 80),
        (95, 100, 95),
        (100, 100, 95),
        (3, 0, 95),
        (0, 0, 95),
    ],
)
def test_the_level_is_the_highest_that_is_reached(spent: int, cap: int, level: int | None) -> None:
    assert level_pct(spent, cap) == level


def test_each_level_is_said_once_while_spending_grows() -> None:
    warning = CapWarning(0, 1000)
    said = {spent: level for spent in range(1001) if (level := warning.told(spent, 1000)) is not None}
    assert said == {800: 80, 950: 95}


def test_who_spends_past_both_at_once_hears_the_higher_one_alone() -> None:
    warning = CapWarning(0, 1000)
    assert [warning.told(spent, 1000) for spent in (10, 990, 1000)] == [None, 95, None]


def test_what_was_reached_before_the_start_is_not_said_again() -> None:
    warning = CapWarning(900, 1000)
    assert [warning.told(spent, 1000) for spent in (900, 949, 950)] == [None, None, 95]


def test_a_raised_cap_is_warned_of_anew() -> None:
    warning = CapWarning(0, 1000)
    assert [warning.told(960, 1000), warning.told(960, 2000), warning.told(1600, 2000)] == [95, None, 80]


def test_spending_that_goes_to_and_fro_over_a_level_says_it_once() -> None:
    warning = CapWarning(0, 1000)
    assert [warning.told(spent, 1000) for spent in (801, 799, 801, 760, 801, 740, 801)] == [
        80,
        *[None] * 5,
        80,
    ]


@given(st.lists(AMOUNTS, max_size=40), AMOUNTS, AMOUNTS)
def test_what_is_said_is_true_and_never_the_same_twice_in_a_row_under_growing_spending(
    steps: list[int], start: int, cap: int
) -> None:
    warning, spent, said = CapWarning(start, cap), start, []
    for step in steps:
        spent += step
        level = warning.told(spent, cap)
        if level is not None:
            assert level in LEVELS_PCT
            assert spent * 100 >= cap * level > start * 100 or cap == 0
            said.append(level)
    assert said == sorted(set(said))
