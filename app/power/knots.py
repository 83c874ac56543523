"""Energy as a curve: how much a GPU has drawn in all, known at knots and straight between them.

Rule 1: the curve never falls, and every knot lies after the one before, so what two moments enclose is never
negative, and what several stretches enclose adds up exactly. Rule 2: only the last seconds are kept, and the sum.
"""

from __future__ import annotations

from bisect import bisect_right

from app.power.exact import PARTS_PER_US

KEPT_US = 5_000_000
"""So much of the past can be asked for: more than the longest averaging window and the longest gap together."""

_PRUNE_AT = 1024


class Knots:
    """Moments (monotonic microseconds) and the energy drawn until then (units of `exact`, from 0 at the first)."""

    __slots__ = ("_moments", "_sums", "before_uw")

    def __init__(self, at_us: int, before_uw: int = 0) -> None:
        self._moments = [at_us]
        self._sums = [0]
        self.before_uw = before_uw
        """The power that is taken for granted before the first knot, in units a part of time: microwatts."""

    @property
    def first_us(self) -> int:
        """The oldest moment that is still known."""
        return self._moments[0]

    @property
    def last_us(self) -> int:
        """Where the curve ends."""
        return self._moments[-1]

    @property
    def total(self) -> int:
        """All of it, up to its end."""
        return self._sums[-1]

    def add(self, at_us: int, units: int) -> None:
        """`units` more were drawn until `at_us`, which lies after the last knot."""
        self._moments.append(at_us)
        self._sums.append(self._sums[-1] + units)
        if len(self._moments) > _PRUNE_AT:
            gone = bisect_right(self._moments, at_us - KEPT_US) - 1
            if gone > 0:
                del self._moments[:gone], self._sums[:gone]

    def bend(self, at_us: int, before_uw: int) -> None:
        """Between the last two knots the power rose: it was `before_uw` until `at_us`, and higher only then."""
        if len(self._moments) < 2 or not self._moments[-2] < at_us < self._moments[-1]:
            return
        sum_ = self._sums[-2] + before_uw * (at_us - self._moments[-2]) * PARTS_PER_US
        self._moments.insert(-1, at_us)
        self._sums.insert(-1, min(sum_, self._sums[-1]))

    def at(self, at_us: int) -> int:
        """The energy drawn until `at_us`; straight on before the first knot, and no more after the last one."""
        index = bisect_right(self._moments, at_us)
        if index == len(self._moments):
            return self._sums[-1]
        if index == 0:
            return self._sums[0] - self.before_uw * (self._moments[0] - at_us) * PARTS_PER_US
        begin_us, end_us = self._moments[index - 1], self._moments[index]
        before, after = self._sums[index - 1], self._sums[index]
        return before + (after - before) * (at_us - begin_us) // (end_us - begin_us)
