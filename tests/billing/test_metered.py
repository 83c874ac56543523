"""Energy is priced by what held when it was metered, and whoever holds the parts comes to the same cost."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing.metered import MeteredEnergy, parts_by_price
from app.billing.pricing import BillingMode, Pricing
from app.billing.tariff import Interval, Tariff, TariffError
from tests.billing.test_tariff import tariffs

EDGE = 1_000
TWO_PRICES = Tariff.of("EUR", [Interval(None, EDGE, 100), Interval(EDGE, None, 300)])

readings = st.lists(st.tuples(st.integers(0, 400), st.integers(-20, 10**6)), max_size=12)


def test_what_was_metered_before_the_price_changed_keeps_the_price_it_was_metered_at() -> None:
    metered = MeteredEnergy(TWO_PRICES, 0)
    metered.upto(70, EDGE)
    metered.upto(
        80, 11 * EDGE
    )  # ten times as long, and next to nothing used: spread over all it would be priced anew
    assert metered.by_price == ((70, 100), (10, 300))
    assert metered.text == "[[0,70],[1000,10]]"


def test_a_reading_that_straddles_an_edge_is_divided_there_and_only_what_is_new_in_it() -> None:
    metered = MeteredEnergy(TWO_PRICES, 0)
    metered.upto(50, 900)
    metered.upto(90, 1100)
    assert metered.by_price == ((70, 100), (20, 300))


def test_under_one_price_there_is_nothing_to_tell() -> None:
    flat = MeteredEnergy(Tariff.flat(7, "EUR"), 0)
    flat.upto(5, EDGE * 9)
    assert (flat.by_price, flat.text) == (((5, 7),), None)
    early = MeteredEnergy(TWO_PRICES, 0)
    early.upto(5, EDGE)
    assert (early.by_price, early.text) == (((5, 100),), None)


def test_what_the_meter_takes_back_is_taken_from_the_newest_part_first() -> None:
    metered = MeteredEnergy(TWO_PRICES, 0)
    metered.upto(70, EDGE)
    metered.upto(100, 2 * EDGE)
    metered.upto(60, 2 * EDGE)
    assert metered.by_price == ((60, 100), (0, 300))


def test_a_clock_that_is_set_back_moves_nothing() -> None:
    metered = MeteredEnergy(TWO_PRICES, 0)
    metered.upto(10, 2 * EDGE)
    before = metered.by_price
    metered.upto(10, 0)
    assert metered.by_price == before


@given(tariffs(), st.integers(-1000, 1000), readings)
def test_the_parts_add_up_are_never_negative_and_are_all_that_is_needed_to_price_again(
    tariff: Tariff, t0_us: int, steps: list[tuple[int, int]]
) -> None:
    metered = MeteredEnergy(tariff, t0_us)
    at_us, energy_uj = t0_us, 0
    for later_us, more_uj in steps:
        at_us, energy_uj = at_us + later_us, max(0, energy_uj + more_uj)
        metered.upto(energy_uj, at_us)
    assert sum(uj for uj, _ in metered.by_price) == energy_uj
    assert all(uj >= 0 for uj, _ in metered.by_price)
    if (text := metered.text) is not None:
        assert tuple(parts_by_price(tariff, text, energy_uj, t0_us)) == metered.by_price


@given(tariffs(), st.lists(st.tuples(st.integers(1, 400), st.integers(0, 10**12)), min_size=1, max_size=12))
def test_a_bill_metered_at_every_edge_is_exact_against_decimal(
    tariff: Tariff, steps: list[tuple[int, int]]
) -> None:
    metered = MeteredEnergy(tariff, -1000)
    at_us, energy_uj = -1000, 0
    with localcontext(prec=80, rounding=ROUND_HALF_EVEN):
        exact = Decimal(0)
        for longest_us, more_uj in steps:
            price = tariff.price_at(at_us)
            at_us = min(at_us + longest_us, tariff.changes_after(at_us))
            energy_uj += more_uj
            metered.upto(energy_uj, at_us)
            exact += Decimal(more_uj) * price
        wanted = (exact * Decimal("1.09") * Decimal("1.1") / Decimal(3_600_000_000_000)).to_integral_value()
    pricing = Pricing(BillingMode.MARGINAL, tariff, 100_000, 0, 0, ac_factor_ppm=1_090_000)
    assert pricing.request_cost(metered.by_price, 0) == int(wanted)


@given(
    tariffs(),
    st.integers(-1000, 1000),
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 1000)), min_size=1, max_size=8),
)
def test_what_is_held_ahead_at_full_power_covers_the_bill_whatever_prices_come(
    tariff: Tariff, t0_us: int, used_uj: int, steps: list[tuple[int, int]]
) -> None:
    pricing = Pricing(BillingMode.DEDICATED, tariff, 250_000, 10**15, 0, ac_factor_ppm=1_090_000)
    metered = MeteredEnergy(tariff, t0_us)
    metered.upto(used_uj, t0_us + 700)
    held_us = sum(step_us for step_us, _ in steps)
    held = pricing.request_cost(metered.by_price, 700) + pricing.ceiling(1000.0, held_us / 1e6, t0_us + 700)
    at_us, energy_uj = t0_us + 700, used_uj
    for step_us, watts in steps:
        at_us, energy_uj = at_us + step_us, energy_uj + watts * step_us
        metered.upto(energy_uj, at_us)
        assert (
            pricing.request_cost(metered.by_price, at_us - t0_us) <= held + 1
        )  # each of the two sums is rounded


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[0,70],[1001,10]]", "begins where no price changes"),
        ("[[0,70],[1000,11]]", "do not add up"),
        ("[[0,90],[1000,-10]]", "do not add up"),
        ("[[1,80]]", "do not begin when it began"),
        ("[]", "do not begin when it began"),
        ("[[0,70],[1000]]", "cannot be read"),
        ("{", "cannot be read"),
        ("7", "cannot be read"),
    ],
)
def test_parts_that_are_not_those_of_the_energy_are_refused_in_a_sentence(text: str, says: str) -> None:
    with pytest.raises(TariffError, match=says):
        parts_by_price(TWO_PRICES, text, 80, 0)
