"""A bill is one exact fraction, rounded once; a hold is never too small for the bill that follows."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing.money import to_pico
from app.billing.pricing import BillingMode, Pricing
from app.billing.tariff import Interval, Tariff

RATE = to_pico("0.15")
HOUR_US = 3_600_000_000


def pricing(
    mode: BillingMode = BillingMode.MARGINAL,
    tariff: Tariff | None = None,
    margin_ppm: int = 0,
    base: int = 0,
    labor: int = 0,
) -> Pricing:
    return Pricing(mode, tariff or Tariff.flat(RATE, "USD"), margin_ppm, base, labor)


def test_the_seeds_example_costs_what_it_says() -> None:
    energy_uj = 201_780_000  # 59 W for 3.42 s
    assert pricing().request_cost([(energy_uj, RATE)], 3_420_000) == 8_407_500


def test_the_margin_multiplies() -> None:
    assert pricing(margin_ppm=100_000).request_cost([(201_780_000, RATE)], 0) == 9_248_250
    assert pricing(margin_ppm=-1_000_000).request_cost([(201_780_000, RATE)], 0) == 0


@pytest.mark.parametrize(
    ("tenths", "pico"), [(5, 0), (6, 1), (15, 2), (25, 2), (24, 2), (-5, 0), (-15, -2), (-25, -2)]
)
def test_a_bill_that_lies_between_two_goes_to_the_nearer_one_and_a_tie_to_the_even_one(
    tenths: int, pico: int
) -> None:
    tenth_of_a_pico = 360_000_000_000  # microjoules at one pico a kWh
    assert pricing().request_cost([(tenth_of_a_pico * abs(tenths), 1 if tenths > 0 else -1)], 0) == pico
    assert pricing(margin_ppm=-900_000).request_cost([(3_600_000_000_000, tenths)], 0) == pico


@pytest.mark.parametrize(("minutes", "pico"), [(30, 0), (31, 1), (90, 2), (150, 2)])
def test_labour_between_two_picos_goes_to_the_nearer_one_and_a_tie_to_the_even_one(
    minutes: int, pico: int
) -> None:
    assert pricing(labor=1).labor_cost(minutes * HOUR_US // 60) == pico


def test_a_kilowatt_hour_is_three_and_a_half_million_joules_and_a_bit_also_on_a_large_bill() -> None:
    assert pricing().request_cost([(3_600_000_000_000 * 10**6, RATE)], 0) == RATE * 10**6


def test_only_dedicated_mode_charges_the_base_rate() -> None:
    base = to_pico("0.36")
    assert pricing(BillingMode.MARGINAL, base=base).request_cost([], HOUR_US) == 0
    assert pricing(BillingMode.DEDICATED, base=base).request_cost([], HOUR_US) == base
    assert pricing(BillingMode.DEDICATED, base=base).request_cost([(201_780_000, RATE)], 1_000_000) == (
        8_407_500 + to_pico("0.0001")
    )


@given(
    st.sampled_from(BillingMode),
    st.lists(st.tuples(st.integers(0, 10**13), st.integers(-(10**12), 10**13)), max_size=4),
    st.integers(0, 10**11),
    st.integers(-1_000_000, 5_000_000),
    st.integers(0, 10**14),
)
def test_a_bill_is_rounded_once_from_the_exact_fraction(
    mode: BillingMode, energies: list[tuple[int, int]], share_us: int, margin_ppm: int, base: int
) -> None:
    exact = sum((Fraction(e * p, 3_600_000_000_000) for e, p in energies), Fraction(0))
    if mode is BillingMode.DEDICATED:
        exact += Fraction(base * share_us, HOUR_US)
    exact *= 1 + Fraction(margin_ppm, 1_000_000)
    assert pricing(mode, margin_ppm=margin_ppm, base=base).request_cost(energies, share_us) == round(exact)


@given(
    st.sampled_from(BillingMode),
    st.floats(0, 2000),
    st.floats(0.001, 600),
    st.integers(0, 100),
    st.lists(st.integers(-(10**12), 10**13), min_size=3, max_size=3),
    st.integers(-500_000, 1_000_000),
    st.integers(0, 10**13),
    st.floats(0, 1),
)
def test_no_bill_passes_the_ceiling_that_was_held_for_it(
    mode: BillingMode,
    watts: float,
    seconds: float,
    t_s: int,
    prices: list[int],
    margin_ppm: int,
    base: int,
    used: float,
) -> None:
    tariff = Tariff.of(
        "USD",
        [
            Interval(None, 20_000_000, prices[0]),
            Interval(20_000_000, 60_000_000, prices[1]),
            Interval(60_000_000, None, prices[2]),
        ],
    )
    terms = pricing(mode, tariff, margin_ppm, base)
    t0_us = t_s * 1_000_000
    dur_us = int(Fraction(seconds) * 1_000_000 * Fraction(used))
    energy_uj = int(Fraction(watts) * dur_us)
    cost = terms.request_cost(tariff.spread(energy_uj, t0_us, t0_us + dur_us), dur_us)
    ceiling = terms.ceiling(watts, seconds, t0_us)
    assert ceiling >= 0
    assert cost <= ceiling


def test_the_ceiling_is_tight_and_rounds_up() -> None:
    assert pricing().ceiling(59.0, 3.42, 0) == 8_407_500
    assert pricing().ceiling(1e-9, 1e-9, 0) == 1
    assert pricing().ceiling(0.0, 30.0, 0) == 0
    assert pricing().ceiling(-5.0, 30.0, 0) == 0
    assert pricing().ceiling(59.0, -1.0, 0) == 0
    assert pricing(tariff=Tariff.flat(-RATE, "USD")).ceiling(59.0, 30.0, 0) == 0


def test_no_time_costs_nothing_even_where_time_itself_has_a_price() -> None:
    terms = pricing(BillingMode.DEDICATED, base=to_pico(1000))
    assert terms.ceiling(59.0, 0.0, 0) == 0
    assert terms.ceiling(59.0, -1.0, 0) == 0


def test_a_whole_second_is_held_for_like_any_other_time() -> None:
    assert pricing().ceiling(60.0, 1.0, 0) == 2_500_000
    assert pricing().ceiling(60.0, 0.5, 0) == 1_250_000


def test_in_dedicated_mode_the_hold_is_for_the_time_too_rounded_up_to_the_microsecond() -> None:
    terms = pricing(BillingMode.DEDICATED, base=HOUR_US)  # one pico a microsecond
    assert terms.ceiling(0.0, 30.0, 0) == 30_000_000
    assert terms.ceiling(0.0, 1.5e-6, 0) == 2
    assert terms.ceiling(59.0, 3.42, 0) == 3_420_000 + 8_407_500
    assert terms.ceiling(118.0, 3.42, 0) == 3_420_000 + 2 * 8_407_500
    assert pricing(BillingMode.MARGINAL, base=HOUR_US).ceiling(0.0, 30.0, 0) == 0


def test_the_hold_is_made_at_the_dearest_price_of_its_own_period_and_of_no_other() -> None:
    evening_us = 20 * HOUR_US
    day = Tariff.of(
        "USD",
        [
            Interval(None, evening_us, RATE),
            Interval(evening_us, evening_us + 10_000_000, 3 * RATE),
            Interval(evening_us + 10_000_000, None, 2 * RATE),
        ],
    )

    def rate(at_us: int) -> float:
        return pricing(tariff=day).ceiling(59.0, 3.42, at_us) / 8_407_500

    assert rate(evening_us - 3_420_001) == 1
    assert rate(evening_us - 3_420_000) == 3  # rounded up, the period touches the first dear moment
    assert rate(evening_us - 1) == 3
    assert rate(evening_us + 9_999_999) == 3
    assert rate(evening_us + 10_000_000) == 2


def test_a_negative_price_never_makes_room_beforehand() -> None:
    assert pricing(tariff=Tariff.flat(-RATE, "USD")).ceiling(1e6, 1e6, 0) == 0


@pytest.mark.parametrize("watts", [float("nan"), float("inf")])
def test_a_ceiling_of_no_number_is_an_error_and_not_a_hold(watts: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        pricing().ceiling(watts, 30.0, 0)


def test_labour_is_charged_by_the_hour_without_margin() -> None:
    terms = pricing(margin_ppm=100_000, labor=to_pico(20))
    assert terms.labor_cost(HOUR_US // 4) == to_pico(5)
    assert terms.labor_cost(0) == 0
    with pytest.raises(ValueError, match="positive duration"):
        terms.labor_cost(-1)


def test_impossible_terms_are_refused() -> None:
    with pytest.raises(ValueError, match="margin"):
        pricing(margin_ppm=-1_000_001)
    with pytest.raises(ValueError, match="hourly rate"):
        pricing(base=-1)
    with pytest.raises(ValueError, match="hourly rate"):
        pricing(labor=-1)
