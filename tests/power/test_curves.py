"""What a card's figures say of its energy, against cards of which everything is known."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.power.curves import (
    STUCK_US,
    UPDATE_US,
    CounterCurve,
    MomentCurve,
    PowerSpan,
    Renewals,
    SecondCurve,
    UpdateCurve,
    power_curve,
)
from app.power.exact import PARTS_PER_US, UNITS_PER_UJ
from app.power.knots import KEPT_US, Knots
from tests.power.cards import SimulatedNvml, Waveform

W = 1_000_000
MS = 1_000
MOST_UW = 5_000 * W


def joules(units: int) -> float:
    return units / UNITS_PER_UJ / 1e6


# Knots.


def test_between_two_knots_energy_rises_evenly_and_before_the_first_as_it_is_said_to() -> None:
    knots = Knots(0, before_uw=10 * W)
    knots.add(1_000 * MS, 100 * W * 1_000 * MS * PARTS_PER_US)
    assert joules(knots.at(500 * MS)) == 50.0
    assert joules(knots.at(1_000 * MS)) == joules(knots.at(9_000 * MS)) == joules(knots.total) == 100.0
    assert joules(knots.at(-1_000 * MS)) == -10.0


def test_a_bend_is_where_the_power_rose_and_changes_no_sum() -> None:
    knots = Knots(0)
    knots.add(1_000 * MS, 100 * W * 1_000 * MS * PARTS_PER_US)
    knots.bend(500 * MS, 20 * W)
    assert joules(knots.at(500 * MS)) == 10.0
    assert joules(knots.at(750 * MS)) == 55.0
    assert joules(knots.total) == 100.0
    for outside in (0, 1_000 * MS, 2_000 * MS):
        knots.bend(outside, 20 * W)
    assert joules(knots.at(250 * MS)) == 5.0


def test_a_bend_never_takes_more_than_there_is() -> None:
    knots = Knots(0)
    knots.add(1_000 * MS, 10 * W * 1_000 * MS * PARTS_PER_US)
    knots.bend(900 * MS, 500 * W)
    assert joules(knots.at(900 * MS)) == 10.0


def test_however_long_it_runs_only_the_last_seconds_are_kept() -> None:
    knots = Knots(0)
    for number in range(1, 20_000):
        knots.add(number * 10 * MS, 100 * W * 10 * MS * PARTS_PER_US)
    assert len(knots._moments) < 2_000
    assert knots.first_us <= knots.last_us - KEPT_US
    assert joules(knots.total) == 19_999.0
    assert joules(knots.at(knots.last_us - KEPT_US)) == pytest.approx(19_999.0 - 500.0)


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**15)), min_size=1), st.data())
def test_stretches_add_up_to_the_whole_however_they_are_cut(
    pieces: list[tuple[int, int]], data: st.DataObject
) -> None:
    knots = Knots(0)
    for span_us, units in pieces:
        knots.add(knots.last_us + span_us, units)
    cuts = sorted(data.draw(st.lists(st.integers(0, knots.last_us), max_size=8)))
    moments = [0, *cuts, knots.last_us]
    parts = [knots.at(after) - knots.at(before) for before, after in zip(moments, moments[1:], strict=False)]
    assert all(part >= 0 for part in parts)
    assert sum(parts) == knots.total


# When a figure was renewed.


def test_a_change_came_in_the_middle_of_the_two_readings_around_it() -> None:
    renewals = Renewals(0, 1)
    assert renewals.knot_us == -50 * MS
    assert renewals.read(60 * MS, 2) == 30 * MS
    assert renewals.doubt_us == 60 * MS


def test_after_a_pause_a_change_came_within_the_last_renewal() -> None:
    renewals = Renewals(0, 1)
    assert renewals.read(900 * MS, 2) == 850 * MS
    assert renewals.doubt_us == UPDATE_US


def test_what_stays_the_same_says_nothing_until_it_was_surely_renewed() -> None:
    renewals = Renewals(0, 1)
    assert [renewals.read(at_ms * MS, 1) for at_ms in (100, 200, 249)] == [None, None, None]
    assert renewals.read(250 * MS, 1) == 150 * MS
    assert renewals.doubt_us == 0
    assert renewals.read(300 * MS, 2) == 275 * MS


@given(st.lists(st.tuples(st.integers(1, 400_000), st.integers(0, 1)), min_size=1))
def test_every_knot_lies_after_the_one_before_and_before_its_reading(steps: list[tuple[int, int]]) -> None:
    at_us, renewals = 0, Renewals(0, 0)
    last_us = renewals.knot_us
    for span_us, figure in steps:
        at_us += span_us
        knot_us = renewals.read(at_us, figure)
        if knot_us is not None:
            assert last_us < knot_us <= at_us
            last_us = knot_us


# Each figure.


def test_powers_of_the_moment_are_joined_by_straight_lines() -> None:
    curve = MomentCurve(0, 100 * W)
    curve.read(100 * MS, 300 * W)
    assert joules(curve.knots.total) == 20.0
    assert (curve.power_uw, curve.doubt_us) == (300 * W, 100 * MS)


def test_a_renewed_power_speaks_for_the_time_since_the_one_before() -> None:
    curve = UpdateCurve(0, 100 * W)
    curve.read(100 * MS, 300 * W)
    assert (curve.knots.last_us, joules(curve.knots.total)) == (50 * MS, 30.0)
    curve.read(200 * MS, 300 * W)
    assert curve.knots.last_us == 50 * MS
    curve.read(300 * MS, 100 * W)
    # 50 to 250 ms: of the last 100 it says 100 W; before, 300 W were still to be seen.
    assert (curve.knots.last_us, joules(curve.knots.total)) == (250 * MS, 30.0 + 30.0 + 10.0)


def test_where_nobody_looked_a_renewed_power_and_the_one_before_share_the_time() -> None:
    curve = UpdateCurve(0, 100 * W)
    curve.read(1_000 * MS, 300 * W)
    assert (curve.knots.last_us, joules(curve.knots.total)) == (950 * MS, 30.0 + 200 * 0.9)


def test_a_counter_is_energy_and_one_that_went_back_or_leapt_has_broken_off() -> None:
    curve = CounterCurve(0, 1_000, MOST_UW)
    assert curve.read(100 * MS, 1_000 + 30_000_000)
    assert (curve.knots.last_us, joules(curve.knots.total)) == (50 * MS, 30.0)
    assert not curve.read(200 * MS, 1_000)
    assert not curve.read(200 * MS, 1_000 + 30_000_000 + 1_000_000_001)
    assert curve.read(200 * MS, 1_000 + 30_000_000 + 1_000_000_000)


def test_a_counter_that_does_not_move_is_stuck_and_never_zero_watts() -> None:
    curve = CounterCurve(0, 1_000, MOST_UW)
    for at_us in range(100 * MS, STUCK_US + 1, 100 * MS):
        assert curve.read(at_us, 1_000)
        assert not curve.stuck
    assert curve.read(STUCK_US + 100 * MS, 1_000)
    assert curve.stuck
    assert curve.knots.last_us == -50 * MS


def test_an_average_that_jumps_down_makes_no_negative_energy_and_is_mended_by_the_next() -> None:
    curve = SecondCurve(0, 100 * W, MOST_UW)
    curve.read(100 * MS, 50 * W)
    assert curve.knots.total == 0
    curve.read(200 * MS, 100 * W)
    assert joules(curve.knots.total) == 20.0


def test_a_span_has_its_curve() -> None:
    kinds = {PowerSpan.MOMENT: MomentCurve, PowerSpan.UPDATE: UpdateCurve, PowerSpan.SECOND: SecondCurve}
    assert {span: type(power_curve(span, 0, W, MOST_UW)) for span in PowerSpan} == kinds


@pytest.mark.parametrize("figure", ["counter", "instant", "average"])
@pytest.mark.parametrize("every_us", [7_000, 100_000])
def test_over_an_hour_the_curve_is_what_was_drawn(figure: str, every_us: int) -> None:
    rng = random.Random(11)
    steps, at_us = [(0, 20.0)], 2_000_000
    hour_us = 3_600_000_000 if every_us == 100_000 else 300_000_000
    while at_us < hour_us:
        steps.append((at_us, rng.uniform(15, 400)))
        at_us += rng.randrange(50_000, 9_000_000)
    card = SimulatedNvml(Waveform(steps), phase_us=rng.randrange(100_000))

    def read(at_us: int) -> int:
        if figure == "counter":
            return card.counter_uj(at_us)
        return round((card.instant_w(at_us) if figure == "instant" else card.average_w(at_us)) * W)

    begin_us = 1_500_000
    curve = (
        CounterCurve(begin_us, read(begin_us), MOST_UW)
        if figure == "counter"
        else power_curve(
            PowerSpan.UPDATE if figure == "instant" else PowerSpan.SECOND, begin_us, read(begin_us), MOST_UW
        )
    )
    at_us = begin_us
    while at_us < hour_us:
        at_us += every_us + rng.randrange(-1_000, 3_000)
        assert curve.read(at_us, read(at_us))
    true_uj = card.wave.between(begin_us - 50_000, curve.knots.last_us)
    error = curve.knots.total / UNITS_PER_UJ / true_uj - 1
    print(f"{figure} every {every_us / 1000:g} ms: {error * 100:+.3f} %")
    assert abs(error) <= 0.005
