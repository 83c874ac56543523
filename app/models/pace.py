"""How fast something comes, and how long it will still take.

Rule: pure; the clock is the caller's. The speed is smoothed over some seconds, so that what people read stands still.
"""

from __future__ import annotations

import math

from app.engine.host import Progress

_SMOOTH_S = 4.0
_STEP_S = 0.2
"""Shorter steps say more about a buffer than about a line."""


class Pace:
    """The pace of one transfer. What was there before the first `tell` does not count as speed."""

    def __init__(self) -> None:
        self._at_s: float | None = None
        self._done_b = self._total_b = 0
        self._rate = 0.0

    def tell(self, now_s: float, what: str, done_b: int, total_b: int) -> Progress:
        """`done_b` of `total_b` bytes (0: unknown) are there at `now_s`."""
        known, self._total_b = self._total_b > 0, total_b
        if self._at_s is None or done_b < self._done_b or (total_b > 0 and not known):
            # The beginning, or it began anew, or goes on where it once broke off.
            self._at_s, self._done_b, self._rate = now_s, done_b, 0.0
        elif (passed_s := now_s - self._at_s) >= _STEP_S:
            rate = (done_b - self._done_b) / passed_s
            # Exponential smoothing for steps of unequal length.
            weight = 1.0 if not self._rate else 1 - math.exp(-passed_s / _SMOOTH_S)
            self._rate += (rate - self._rate) * weight
            self._at_s, self._done_b = now_s, done_b
        left_s = (total_b - done_b) / self._rate if total_b > 0 and self._rate >= 1 else None
        return Progress(what, done_b, total_b, self._rate, None if left_s is None else max(0.0, left_s))
