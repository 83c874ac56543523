"""How fast something comes, as people read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.basics.rate import Rate


def test_what_was_there_at_the_beginning_is_no_speed() -> None:
    rate = Rate()
    rate.tell(5.0, 1_000)
    assert (rate.per_s, rate.left_s(100)) == (0, None)
    rate.tell(7.0, 1_200)
    assert (rate.per_s, rate.left_s(400)) == (100, 4)


def test_a_burst_moves_the_speed_a_little_and_a_lasting_change_moves_it_all_the_way() -> None:
    rate = Rate()
    for second in range(10):
        rate.tell(float(second), 100 * second)
    rate.tell(9.5, 1_900)
    assert 100 < rate.per_s < 400
    for second in range(10, 60):
        rate.tell(float(second), 1_900 + 50 * (second - 9))
    assert rate.per_s == pytest.approx(50, rel=0.01)


def test_steps_too_short_to_measure_are_put_together() -> None:
    rate = Rate()
    for tenth in range(21):
        rate.tell(tenth / 10, tenth * 10)
    assert rate.per_s == pytest.approx(100)


def test_what_begins_anew_begins_without_a_speed() -> None:
    rate = Rate()
    rate.tell(0.0, 0)
    rate.tell(1.0, 500)
    rate.tell(2.0, 20)
    assert rate.per_s == 0
    rate.tell(3.0, 120)
    assert rate.per_s == 100


@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 10**9)), min_size=1), st.integers(-(10**9), 10**10)
)
def test_neither_speed_nor_time_left_is_ever_negative(steps: list[tuple[float, int]], left: int) -> None:
    rate, now_s = Rate(), 0.0
    for passed_s, done in steps:
        now_s += passed_s
        rate.tell(now_s, done)
        assert rate.per_s >= 0
        assert (rate.left_s(left) or 0) >= 0
