"""A tariff has a price for every moment, and energy is divided exactly where the price changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing.tariff import Interval, Tariff, TariffError, canonical_text

HOUR = 3_600_000_000
DEAR, CHEAP, NEGATIVE = 300, 100, -20

DAY = Tariff.of(
    "EUR",
    [
        Interval(None, 8 * HOUR, CHEAP),
        Interval(8 * HOUR, 20 * HOUR, DEAR),
        Interval(20 * HOUR, None, NEGATIVE),
    ],
)


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    cuts = sorted(draw(st.sets(st.integers(-1000, 1000), max_size=6)))
    edges = [None, *cuts, None]
    prices = draw(st.lists(st.integers(-(10**12), 10**12), min_size=len(edges) - 1, max_size=len(edges) - 1))
    return Tariff.of(
        "USD",
        [Interval(a, b, p) for a, b, p in zip(edges[:-1], edges[1:], prices, strict=True)],
    )


def test_a_flat_tariff_has_one_price_for_ever() -> None:
    flat = Tariff.flat(150, "USD")
    assert {flat.price_at(t) for t in (-(10**18), 0, 10**18)} == {150}
    assert flat.split(5, 9) == ((5, 9, 150),)


def test_a_price_holds_from_its_first_moment_until_just_before_its_last() -> None:
    assert DAY.price_at(8 * HOUR - 1) == CHEAP
    assert DAY.price_at(8 * HOUR) == DEAR
    assert DAY.price_at(20 * HOUR - 1) == DEAR
    assert DAY.price_at(20 * HOUR) == NEGATIVE


def test_a_period_is_split_at_every_price_it_touches() -> None:
    assert DAY.split(7 * HOUR, 21 * HOUR) == (
        (7 * HOUR, 8 * HOUR, CHEAP),
        (8 * HOUR, 20 * HOUR, DEAR),
        (20 * HOUR, 21 * HOUR, NEGATIVE),
    )
    assert DAY.split(8 * HOUR, 20 * HOUR) == ((8 * HOUR, 20 * HOUR, DEAR),)
    assert DAY.split(8 * HOUR, 8 * HOUR) == ()


def test_a_period_that_ends_before_it_begins_cannot_be_split() -> None:
    with pytest.raises(TariffError):
        DAY.split(2, 1)


@given(tariffs(), st.integers(-1200, 1200), st.integers(0, 2400))
def test_the_parts_of_a_split_touch_cover_the_period_and_have_the_price_of_their_time(
    tariff: Tariff, t0: int, span: int
) -> None:
    parts = tariff.split(t0, t0 + span)
    at = t0
    for start, end, price in parts:
        assert start == at < end
        assert tariff.price_at(start) == tariff.price_at(end - 1) == price
        at = end
    assert at == t0 + span


@given(tariffs(), st.integers(0, 10**15), st.integers(-1200, 1200), st.integers(-100, 2400))
def test_energy_spread_over_prices_adds_up_and_is_even_in_time(
    tariff: Tariff, energy: int, t0: int, span: int
) -> None:
    shares = tariff.spread(energy, t0, t0 + span)
    assert sum(part for part, _ in shares) == energy
    if span > 0:
        for (part, price), (start, end, expected) in zip(shares, tariff.split(t0, t0 + span), strict=False):
            assert price == expected or len(tariff.intervals) == 1
            assert (
                len(tariff.intervals) == 1 or abs(part - energy * (end - start) / span) <= 1 + energy * 1e-12
            )
    else:
        assert shares == ((energy, tariff.price_at(t0)),)


@given(tariffs(), st.integers(-1200, 1200), st.integers(0, 50))
def test_the_highest_price_is_not_below_any_price_of_the_period(tariff: Tariff, t0: int, span: int) -> None:
    assert tariff.highest_price(t0, t0 + span) == max(tariff.price_at(t) for t in range(t0, t0 + span + 1))


def test_the_same_prices_have_the_same_name_and_other_prices_another() -> None:
    twin = Tariff.of("EUR", DAY.intervals)
    assert twin.id == DAY.id
    assert twin == DAY
    names = {
        DAY.id,
        Tariff.of("USD", DAY.intervals).id,
        Tariff.flat(100, "EUR").id,
        Tariff.flat(-100, "EUR").id,
        Tariff.flat(101, "EUR").id,
    }
    assert len(names) == 5
    assert all(len(name) == 18 and name.startswith("t_") for name in names)


def test_the_name_of_a_flat_tariff_is_fixed_for_ever_because_records_carry_it() -> None:
    assert canonical_text("USD", [Interval(None, None, 150_000_000_000)]) == "USD\n- - 150000000000\n"
    assert Tariff.flat(150_000_000_000, "USD").id == "t_1a76a6ee1b268041"


@pytest.mark.parametrize(
    ("intervals", "said"),
    [
        ([], "at least one"),
        ([Interval(0, None, 1)], "cover all time"),
        ([Interval(None, 0, 1)], "cover all time"),
        ([Interval(None, 5, 1), Interval(6, None, 1)], "gap"),
        ([Interval(None, 5, 1), Interval(4, None, 1)], "overlaps"),
        ([Interval(None, 9, 1), Interval(9, 5, 1), Interval(5, None, 1)], "ends before it begins"),
        ([Interval(None, None, 1), Interval(5, None, 1)], "overlaps"),
        ([Interval(None, 5, 1), Interval(None, None, 1)], "overlaps"),
    ],
)
def test_gaps_overlaps_and_wrong_order_are_refused(intervals: list[Interval], said: str) -> None:
    with pytest.raises(TariffError, match=said):
        Tariff.of("USD", intervals)


@pytest.mark.parametrize(
    ("intervals", "said"),
    [
        (
            [Interval(None, 5, 1), Interval(6, None, 1)],
            "Price 2 of the tariff leaves a gap after the one before it.",
        ),
        (
            [Interval(None, 5, 1), Interval(5, 9, 1), Interval(8, None, 1)],
            "Price 3 of the tariff overlaps or precedes the one before it.",
        ),
        (
            [Interval(None, 5, 1), Interval(5, None, 1), Interval(9, None, 1)],
            "Price 3 of the tariff overlaps the one before, which has no end.",
        ),
        (
            [Interval(None, 9, 1), Interval(9, 9, 1), Interval(9, None, 1)],
            "Price 2 of the tariff ends before it begins.",
        ),
    ],
)
def test_the_sentence_counts_the_prices_as_people_do(intervals: list[Interval], said: str) -> None:
    with pytest.raises(TariffError) as error:
        Tariff.of("USD", intervals)
    assert str(error.value) == said


def test_a_tariff_with_a_name_that_is_not_its_own_is_refused() -> None:
    with pytest.raises(TariffError, match="id was made from"):
        Tariff(DAY.id, "EUR", Tariff.flat(1, "EUR").intervals)


def test_a_currency_must_be_one() -> None:
    with pytest.raises(ValueError, match="ISO 4217"):
        Tariff.flat(1, "euro")
