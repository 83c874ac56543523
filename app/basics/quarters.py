"""Quarters of an hour since the epoch: days begin with one in every zone, so sums by quarter serve any of them.

(A few zones were off the quarter in the last century: a sum since such a midnight begins with the quarter it lies in.)
"""

from __future__ import annotations

QUARTER_US = 900_000_000


def quarter_of(at_us: int) -> int:
    """The number of the quarter of an hour that wall time `at_us` (µs since the epoch) lies in."""
    return at_us // QUARTER_US
