"""Whether a GPU's energy counter may be believed.

Rule 1: a counter is believed only after it has agreed with the integral of power over 30 seconds; some are off by
a whole factor (zeus#181). Rule 2: one that disagrees by 10 % or more is demoted for good. Rule 3: one that begins anew
(its driver was reset, or it was away) has to prove itself again, and is not forgiven.
"""

from __future__ import annotations

WINDOW_US = 30_000_000
TOLERANCE_PCT = 10


class CounterTrust:
    """Compares the counter with the integral, window by window. Pure; microjoules and microseconds."""

    __slots__ = ("_counted_uj", "_demoted", "_integrated_uj", "_passed", "_span_us")

    def __init__(self) -> None:
        self._span_us = 0
        self._counted_uj = 0
        self._integrated_uj = 0
        self._passed = False
        self._demoted = False

    @property
    def trusted(self) -> bool:
        """True once a window agreed, and none disagreed since."""
        return self._passed and not self._demoted

    @property
    def demoted(self) -> bool:
        """True for good once a window disagreed."""
        return self._demoted

    def begin_again(self) -> None:
        """The counter went back or came back: what it had shown before says nothing of it now."""
        self._passed = False
        self._span_us = self._counted_uj = self._integrated_uj = 0

    def observe(self, counted_uj: int, integrated_uj: int, span_us: int) -> None:
        """One interval between two samples, as the counter and as the integral of power saw it."""
        if self._demoted:
            return
        self._span_us += span_us
        self._counted_uj += counted_uj
        self._integrated_uj += integrated_uj
        if self._span_us < WINDOW_US:
            return
        off_uj = abs(self._counted_uj - self._integrated_uj)
        if off_uj and off_uj * 100 >= self._integrated_uj * TOLERANCE_PCT:
            self._demoted = True
        elif self._integrated_uj:
            self._passed = True
        self._span_us = self._counted_uj = self._integrated_uj = 0
