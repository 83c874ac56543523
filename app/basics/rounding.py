"""The one rounding of the house: to the nearest integer, half to even, in integers alone."""

from __future__ import annotations


def round_half_even(numerator: int, denominator: int) -> int:
    """The integer nearest to `numerator` / `denominator` (which must be positive), ties to the even one."""
    quotient, rest = divmod(numerator, denominator)
    twice = rest + rest
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient
