"""The rules that fill the categories, to the last unit: fractions that never reach a microjoule by themselves."""

from __future__ import annotations

import pytest

from app.power.exact import PARTS_PER_US
from app.power.sums import Layers, Rates, StaticWatts, Sums

RATES = Rates(StaticWatts(15, 54, 45, 65))
W = 1_000_000
"""Microwatts."""


@pytest.mark.parametrize("dedicated", [False, True])
def test_in_a_gap_only_what_ran_is_accounted(dedicated: bool) -> None:
    sums = Sums()
    assert sums.gap(RATES, dedicated, 0, 5 * PARTS_PER_US, 7 * PARTS_PER_US) == 0
    assert (sums.measured, sums.idle, sums.loading, sums.uptime, sums.uptime_parts) == (0, 0, 0, 0, 0)
    assert sums.gap_us == 12
    assert sums.gap(RATES, dedicated, 3, 5, 7) == (119 if dedicated else 59) * W * 3
    assert sums.measured == 119 * W * 3
    assert sums.uptime == 0


@pytest.mark.parametrize("dedicated", [False, True])
def test_each_part_of_modelled_time_goes_to_its_categories(dedicated: bool) -> None:
    sums = Sums()
    assert sums.modelled(RATES, dedicated, 2, 3, 5) == (119 if dedicated else 59) * W * 2
    assert sums.measured == W * (119 * 2 + 60 * 3 + 119 * 5)
    assert sums.idle == W * (60 * 3 + 60 * 5 + (0 if dedicated else 60 * 2))
    assert sums.loading == 59 * W * 5
    assert (sums.uptime, sums.uptime_parts) == ((W * (60 * 3 + 119 * 5), 8) if dedicated else (0, 0))


@pytest.mark.parametrize("dedicated", [False, True])
def test_each_part_of_sampled_time_goes_to_its_categories(dedicated: bool) -> None:
    sums = Sums()
    layers = Layers(15 * W, 30 * W, 20 * W)
    # While work was done, rest gets its 75 W; 1000 - 3 * 75 are for the seven parts of work.
    given = sums.sampled(100 * W * 10, layers, RATES, dedicated, 2, 3, 5, 75 * W)
    work = W * (1000 - 3 * 75)
    above = work * 2 // 7 - W * 65 * 2
    assert given == above + W * ((15 + 20 + 65) if dedicated else 20) * 2
    assert sums.measured == W * (100 * 10 + 65 * 7 + 45 * 3)
    assert sums.foreign == 30 * W * 10
    assert sums.idle == W * 60 * (8 if dedicated else 10)
    assert sums.resident == W * 20 * (8 if dedicated else 10)
    loading = work - work * 2 // 7 - W * 65 * 5
    assert sums.loading == loading + W * 20 * 5
    assert sums.unattributed == W * 10 * 3
    uptime = W * ((15 + 45 + 20 + 10) * 3 + (15 + 20 + 65) * 5) + loading
    assert (sums.uptime, sums.uptime_parts) == ((uptime, 8) if dedicated else (0, 0))


@pytest.mark.parametrize("drawn", [0, 10, 30, 31])
def test_work_gets_what_is_left_above_rest_and_never_less_than_nothing(drawn: int) -> None:
    sums = Sums()
    given = sums.sampled(drawn * W, Layers(0, 0, 0), RATES, True, 2, 3, 0, 10 * W)
    assert given == W * (max(0, drawn - 30) + 65 * 2)
    assert sums.unattributed + given == W * (drawn + 65 * 2)


def test_where_nobody_works_rest_gets_everything() -> None:
    sums = Sums()
    assert sums.sampled(100 * W, Layers(0, 0, 0), RATES, False, 0, 3, 0, 10 * W) == 0
    assert sums.unattributed == 100 * W


def test_what_a_gpu_draws_fills_the_layers_from_the_bottom() -> None:
    layers = Layers(10, 20, 30)
    assert layers.of(0, 2) == (0, 0, 0, 0)
    assert layers.of(19, 2) == (19, 0, 0, 0)
    assert layers.of(21, 2) == (20, 1, 0, 0)
    assert layers.of(61, 2) == (20, 40, 1, 0)
    assert layers.of(121, 2) == (20, 40, 60, 1)


def test_the_rate_before_a_sample_is_what_lies_above_the_layers_and_never_negative() -> None:
    layers = Layers(15 * W, 30 * W, 20 * W)
    assert (RATES.billed_uw(False, None, layers), RATES.billed_uw(True, None, layers)) == (59 * W, 119 * W)
    assert (RATES.billed_uw(False, 100 * W, layers), RATES.billed_uw(True, 100 * W, layers)) == (
        55 * W,
        135 * W,
    )
    for gpu_uw in (0, 10 * W):
        assert (RATES.billed_uw(False, gpu_uw, layers), RATES.billed_uw(True, gpu_uw, layers)) == (
            20 * W,
            65 * W,
        )


def test_the_static_watts_are_taken_apart_into_what_is_there_anyway_and_what_requests_add() -> None:
    assert (RATES.idle_uw, RATES.full_uw, RATES.marginal_uw, RATES.base_uw) == (
        60 * W,
        119 * W,
        59 * W,
        60 * W,
    )
    odd = Rates(StaticWatts(54, 15, 65, 45))
    assert (odd.idle_uw, odd.full_uw, odd.marginal_uw, odd.base_uw) == (119 * W, 60 * W, 0, 60 * W)
    assert odd.system_marginal_uw == 0


def test_the_totals_name_every_sum_as_what_it_is() -> None:
    sums = Sums()
    unit = 1_000_000 * PARTS_PER_US
    sums.requests, sums.idle, sums.resident, sums.loading, sums.foreign, sums.unattributed = (
        unit * figure for figure in (1, 2, 3, 4, 5, -6)
    )
    sums.measured, sums.gap_us = unit * 9, 7
    totals = sums.totals()
    assert (totals.requests_uj, totals.idle_uj, totals.resident_uj) == (1, 2, 3)
    assert (totals.loading_uj, totals.foreign_uj, totals.unattributed_uj) == (4, 5, -6)
    assert (totals.measured_uj, totals.gap_us) == (9, 7)
