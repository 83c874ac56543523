"""The graph's memory: four rings, means in buckets, and gaps that stay gaps."""

import math
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.power.history import DAY_US, HOUR_US, MINUTE_US, SECOND_US, SPANS_US, STEPS_US, PowerHistory

NOON = 1_760_000_400 * SECOND_US
"""A multiple of 15 minutes."""


def test_noon_is_a_bucket_border_of_every_ring() -> None:
    assert all(NOON % step == 0 for step in STEPS_US)


def test_nothing_is_there_before_the_first_sample() -> None:
    assert PowerHistory().series(5 * MINUTE_US) == []
    assert PowerHistory().series(5 * MINUTE_US, NOON) == []


def test_a_bucket_shows_means_and_the_most_requests_at_once() -> None:
    history = PowerHistory()
    history.add(NOON, 100.0, 20.0, 1, 1000, total_w=150.0)
    history.add(NOON + 500_000, 200.0, 40.0, 3, 2001, total_w=260.0)
    history.add(NOON + 900_000, 150.0, 30.0, 2, 3000, total_w=205.0)
    (point,) = history.series(5 * MINUTE_US)
    assert (point.at_us, point.requests) == (NOON, 3)
    assert (point.gpu_w, point.marginal_w, point.total_w) == (150.0, 30.0, 205.0)
    assert point.cost_pico_per_hour == 2000
    assert not point.is_gap


def test_without_a_total_the_gpu_is_all_there_is() -> None:
    history = PowerHistory()
    history.add(NOON, 100.0, 20.0, 1, 1000)
    assert history.series(MINUTE_US)[0].total_w == 100.0


@pytest.mark.parametrize(("span", "step"), list(zip(SPANS_US, STEPS_US, strict=True)))
def test_each_span_has_its_own_step(span: int, step: int) -> None:
    history = PowerHistory()
    for tick in range(2 * span // step):
        history.add(NOON + tick * step, float(tick), 0.0, 0, 0)
    points = history.series(span)
    assert len(points) == span // step
    assert [after.at_us - before.at_us for before, after in zip(points, points[1:], strict=False)] == [
        step
    ] * (len(points) - 1)
    assert points[-1].gpu_w == 2 * span // step - 1


def test_a_longer_span_than_a_week_shows_the_week() -> None:
    history = PowerHistory()
    history.add(NOON, 1.0, 0.0, 0, 0)
    assert len(history.series(30 * DAY_US)) == 1


def test_a_stretch_without_samples_is_one_point_without_watts() -> None:
    history = PowerHistory()
    history.add(NOON, 100.0, 0.0, 1, 5)
    history.add(NOON + 60 * SECOND_US, 90.0, 0.0, 1, 5)
    before, gap, after = history.series(5 * MINUTE_US)
    assert (before.gpu_w, after.gpu_w) == (100.0, 90.0)
    assert gap.is_gap
    assert gap.at_us == NOON + SECOND_US
    assert all(math.isnan(watts) for watts in (gap.gpu_w, gap.total_w, gap.marginal_w))
    assert (gap.requests, gap.cost_pico_per_hour) == (0, 0)


def test_time_since_the_last_sample_is_a_gap_too() -> None:
    history = PowerHistory()
    history.add(NOON, 100.0, 0.0, 1, 5)
    points = history.series(5 * MINUTE_US, NOON + MINUTE_US)
    assert [point.is_gap for point in points] == [False, True]
    assert history.series(5 * MINUTE_US, NOON + HOUR_US) == []


def test_a_timers_jitter_is_no_gap() -> None:
    history = PowerHistory()
    for tick in (0, 990_000, 2_010_000, 3_000_000):
        history.add(NOON + tick, 100.0, 0.0, 0, 0)
    assert not any(point.is_gap for point in history.series(MINUTE_US))


def test_a_clock_that_is_set_back_goes_on_from_there() -> None:
    history = PowerHistory()
    for tick in range(10):
        history.add(NOON + tick * SECOND_US, 100.0, 0.0, 0, 0)
    history.add(NOON - DAY_US, 50.0, 0.0, 0, 0)
    assert [point.gpu_w for point in history.series(5 * MINUTE_US)] == [50.0]
    assert len(history.series(5 * MINUTE_US, NOON + 9 * SECOND_US)) >= 9


def test_a_cheap_currency_does_not_overflow() -> None:
    history = PowerHistory()
    for tick in range(10_000):
        history.add(NOON + tick, 1.0, 0.0, 0, 10**16)
    assert history.series(7 * DAY_US)[0].cost_pico_per_hour == 10**16


def test_memory_does_not_grow_with_time() -> None:
    history = PowerHistory()

    def size() -> int:
        return sum(sys.getsizeof(getattr(ring, name)) for ring in history._rings for name in ring.__slots__)

    before = size()
    for tick in range(20_000):
        history.add(NOON + tick * MINUTE_US, 1.0, 1.0, 1, 1)
    assert size() <= before < 150_000


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20 * MINUTE_US), st.floats(0, 500)), min_size=1, max_size=60),
    st.sampled_from(SPANS_US),
)
def test_points_are_in_order_inside_the_window_and_within_what_was_measured(
    samples: list[tuple[int, float]], span: int
) -> None:
    history = PowerHistory()
    samples.sort()
    for at_us, gpu_w in samples:
        history.add(NOON + at_us, gpu_w, 0.0, 0, 0)
    points = history.series(span)
    times = [point.at_us for point in points]
    assert times == sorted(set(times))
    step = STEPS_US[SPANS_US.index(span)]
    newest = NOON + samples[-1][0]
    assert all(newest - span - step < time <= newest for time in times)
    assert not points[0].is_gap
    assert not points[-1].is_gap
    low, high = min(w for _, w in samples), max(w for _, w in samples)
    assert all(low - 1e-6 <= point.gpu_w <= high + 1e-6 for point in points if not point.is_gap)
