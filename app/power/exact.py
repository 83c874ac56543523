"""Exact arithmetic for energy: integers inside, one rounding at the very end.

Rule 1: inside the accounts, time is counted in parts of a microsecond and energy in microwatts times such parts.
A slice of time divides among up to sixteen requests without a remainder, so nothing has to be rounded on the way.
Rule 2: watts become integers here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

PARTS_PER_US = 720_720
"""The least common multiple of 1 to 16: parts of time in one microsecond."""

UNITS_PER_UJ = 1_000_000 * PARTS_PER_US
"""One microwatt during one part of time is one unit of energy; so many of them are a microjoule."""

PLAUSIBLE_W = 5_000.0
"""No single GPU draws more; a reading above it is a broken sensor, not a reading."""


def microwatts(watts: float) -> int:
    """Watts as a whole number of microwatts; what is negative or no number counts as zero."""
    if not math.isfinite(watts) or watts <= 0.0:
        return 0
    return round(watts * 1_000_000)


def plausible_w(watts: float | None) -> float | None:
    """The same watts where a GPU may really draw them, otherwise None."""
    if watts is None or not 0.0 <= watts <= PLAUSIBLE_W:
        return None
    return watts


def whole_parts(amounts: Sequence[int], unit: int) -> list[int]:
    """Amounts in whole units that add up to the whole units of their sum (largest remainder, ties to the first).

    Amounts may be negative; each result is the amount's floor or one more.
    """
    floors = [amount // unit for amount in amounts]
    missing = sum(amounts) // unit - sum(floors)
    by_remainder = sorted(range(len(amounts)), key=lambda index: -(amounts[index] % unit))
    for index in by_remainder[:missing]:
        floors[index] += 1
    return floors
