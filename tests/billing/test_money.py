"""Money goes in as text or Decimal, stays an exact integer, and comes out readable."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.basics.rounding import round_half_even
from app.billing.money import (
    MAX_PICO,
    PICO,
    format_money,
    pico_to_decimal,
    pico_to_float,
    to_pico,
)

amounts = st.integers(min_value=-MAX_PICO, max_value=MAX_PICO)


@given(amounts)
def test_an_amount_survives_the_way_to_decimal_and_back(pico: int) -> None:
    assert to_pico(pico_to_decimal(pico)) == pico
    assert to_pico(str(pico_to_decimal(pico))) == pico


@given(st.integers(), st.integers(min_value=1))
def test_rounding_is_what_python_rounds_a_fraction_to(numerator: int, denominator: int) -> None:
    assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@pytest.mark.parametrize(
    ("numerator", "rounded"),
    [(1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (6, 3), (7, 4), (-1, 0), (-3, -2), (-5, -2), (-7, -4)],
)
def test_a_half_goes_to_the_even_neighbour_and_not_up(numerator: int, rounded: int) -> None:
    assert round_half_even(numerator, 2) == rounded
    assert round_half_even(numerator * 500, 1000) == rounded


def test_a_number_is_rounded_once_however_many_digits_were_typed() -> None:
    assert to_pico("0.0000000000005" + "0" * 100 + "1") == 1
    assert to_pico("0.0000000000015" + "0" * 100 + "1") == 2
    assert to_pico("0.0000000000024" + "9" * 100) == 2
    assert to_pico("0e999999999") == 0


@pytest.mark.parametrize(
    ("typed", "pico"),
    [
        ("0.15", 150_000_000_000),
        (10, 10 * PICO),
        (Decimal("-0.03"), -30_000_000_000),
        ("0.0000000000005", 0),
        ("0.0000000000015", 2),
        ("0.0000000000025", 2),
        ("-0.0000000000015", -2),
        ("0.0000000000009", 1),
        ("0.00000000000099", 1),
        ("0.00000000000009", 0),
        ("1e-400000", 0),
        ("1e-999999999", 0),
        (0, 0),
        ("9223372.036854775807", MAX_PICO),
    ],
)
def test_what_people_type_is_rounded_once_half_even(typed: Decimal | str | int, pico: int) -> None:
    assert to_pico(typed) == pico


@pytest.mark.parametrize("value", [0.15, True, None, b"1", Fraction(1, 2)])
def test_a_float_never_becomes_money(value: object) -> None:
    with pytest.raises(TypeError):
        to_pico(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", ["", "ten", "NaN", "inf", "-Infinity", "1e999999999", "9223372.036854775808"]
)
def test_what_is_no_amount_is_refused_with_a_sentence(value: str) -> None:
    with pytest.raises(ValueError, match="is not an amount of money"):
        to_pico(value)


def test_the_float_is_the_nearest_one() -> None:
    assert pico_to_float(8_407_500) == 0.0000084075


@pytest.mark.parametrize(
    ("units", "currency", "shown"),
    [
        ("0", "USD", "$0.00"),
        ("3.42", "USD", "$3.42"),
        ("10", "USD", "$10.00"),
        ("0.000084", "USD", "0.0084 ¢"),
        ("0.0000084075", "USD", "0.00084 ¢"),
        ("0.0084", "USD", "0.84 ¢"),
        ("0.00999", "USD", "$0.01"),
        ("0.01", "USD", "$0.01"),
        ("0.017", "USD", "$0.017"),
        ("0.0342", "USD", "$0.034"),
        ("0.999", "USD", "$1.00"),
        ("1234.5", "USD", "$1,234.50"),
        ("-3.42", "USD", "−$3.42"),
        ("-0.000084", "USD", "−0.0084 ¢"),
        ("0.0042", "EUR", "0.42 ct"),
        ("0.0042", "GBP", "0.42 p"),
        ("12.5", "EUR", "€12.50"),
        ("0.0042", "CHF", "CHF 0.0042"),
        ("12.5", "CHF", "CHF 12.50"),
        ("1500", "JPY", "¥1,500"),
        ("0.25", "JPY", "¥0.25"),
        ("1501", "JPY", "¥1,501"),
        ("1501", "KRW", "₩1,501"),
        ("12.5", "AUD", "A$12.50"),
        ("12.5", "CAD", "CA$12.50"),
        ("12.5", "NZD", "NZ$12.50"),
        ("12.5", "GBP", "£12.50"),
        ("12.5", "INR", "₹12.50"),
        ("0.0042", "INR", "₹0.0042"),
        ("1.005", "USD", "$1.00"),
        ("1.015", "USD", "$1.02"),
        ("0.00845", "USD", "0.84 ¢"),
        ("0.00855", "USD", "0.86 ¢"),
        ("24.5", "JPY", "¥24"),
    ],
)
def test_money_is_shown_with_as_many_digits_as_say_something(units: str, currency: str, shown: str) -> None:
    assert format_money(to_pico(units), currency) == shown


def test_a_gain_shows_its_plus_only_when_asked() -> None:
    assert format_money(to_pico("3.42"), "USD", signed=True) == "+$3.42"
    assert format_money(to_pico("-3.42"), "USD", signed=True) == "−$3.42"
    assert format_money(0, "USD", signed=True) == "$0.00"


def test_the_smallest_gain_and_the_smallest_loss_have_their_sign() -> None:
    assert format_money(-1, "USD") == "−0.0000000001 ¢"
    assert format_money(1, "USD", signed=True) == "+0.0000000001 ¢"


@given(amounts.filter(bool), st.sampled_from(["USD", "EUR", "GBP", "JPY", "CHF"]))
def test_what_is_not_nothing_never_looks_like_nothing(pico: int, currency: str) -> None:
    assert any(digit in "123456789" for digit in format_money(pico, currency))


@pytest.mark.parametrize("currency", ["usd", "US", "DOLLAR", "U5D", ""])
def test_a_currency_is_three_capital_letters(currency: str) -> None:
    with pytest.raises(ValueError, match="ISO 4217"):
        format_money(1, currency)
