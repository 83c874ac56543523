"""The socket's watts for each watt counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.power.supply import LEAST, MOST, SupplyPair, SupplyUnclear, idle_wall_w, ratio


def pairs(factor: float, *, lamp_w: float = 0.0, rest_w: float = 20, work_w: float = 220) -> list[SupplyPair]:
    counted = [rest_w] * 5 + [work_w] * 5
    return [SupplyPair(watts, watts * factor + lamp_w + 45) for watts in counted]


@given(st.floats(LEAST + 0.01, MOST - 0.01), st.floats(0, 200))
def test_what_else_hangs_at_the_plug_does_not_count(factor: float, lamp_w: float) -> None:
    assert ratio(pairs(factor, lamp_w=lamp_w)) == pytest.approx(factor)


def test_what_the_processor_draws_more_at_work_is_taken_off() -> None:
    seen = [
        SupplyPair(pair.counted_w, pair.wall_w + (20 * 1.1 if pair.counted_w > 100 else 0))
        for pair in pairs(1.1)
    ]
    assert ratio(seen, unmeasured_w=20) == pytest.approx(1.1)


def test_one_wild_answer_of_the_plug_changes_nothing() -> None:
    seen = pairs(1.1)
    seen[7] = SupplyPair(220, 2000)
    assert ratio(seen) == pytest.approx(1.1)


@pytest.mark.parametrize("factor", [0.5, 0.95, 1.5, -1.0])
def test_a_ratio_that_no_power_supply_has_is_refused(factor: float) -> None:
    with pytest.raises(SupplyUnclear, match="no power supply does that"):
        ratio(pairs(factor))


def test_rest_alone_tells_nothing() -> None:
    with pytest.raises(SupplyUnclear, match="let it work for a while"):
        ratio(pairs(1.1, work_w=50))
    with pytest.raises(SupplyUnclear, match="too short a time"):
        ratio(pairs(1.1)[3:6])
    with pytest.raises(SupplyUnclear, match="Nothing"):
        ratio([])


def test_the_watts_at_rest_are_those_of_the_quiet_quarter() -> None:
    assert idle_wall_w(pairs(1.1)) == pytest.approx(20 * 1.1 + 45)
