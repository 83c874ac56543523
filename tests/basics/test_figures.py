"""Numbers for people: plain digits, whatever their size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.basics.figures import plain_digits, three_figures


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (7.84e-06, "0.00000784"),
        (4.46123e-05, "0.0000446"),
        (0.0561, "0.0561"),
        (9.999, "10.0"),
        (12.34, "12.3"),
        (999.9, "1,000"),
        (1234.5, "1,234"),
        (-7.84e-06, "-0.00000784"),
    ],
)
def test_three_figures_need_no_exponent(value: float, shown: str) -> None:
    assert three_figures(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(7.84e-06, "0.00000784"), (0.0, "0"), (10.0, "10"), (3.42, "3.42"), (1e21, "1" + "0" * 21)],
)
def test_all_digits_of_a_number_stand_without_an_exponent_and_without_idle_zeros(
    value: float, shown: str
) -> None:
    assert plain_digits(value) == shown


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_plain_digits_are_that_number(value: float) -> None:
    assert float(plain_digits(value)) == value
    assert set(plain_digits(value)) <= set("-.0123456789")
