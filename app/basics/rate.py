"""How fast something comes, and how long the rest will take.

Rule: pure; the clock is the caller's, in seconds, and never runs backwards. The speed is smoothed over some seconds, so
that what people read stands still.
"""

from __future__ import annotations

import math

_SMOOTH_S = 4.0
_STEP_S = 0.2
"""Shorter steps say more about a buffer than about a line."""


class Rate:
    """The speed of one transfer. What was there before the first `tell` does not count."""

    __slots__ = ("_at_s", "_done", "per_s")

    def __init__(self) -> None:
        self.per_s = 0.0
        """Units a second; 0 where it is not known yet, never less."""
        self._at_s: float | None = None
        self._done = 0

    def tell(self, now_s: float, done: int) -> None:
        """So much is there at `now_s`. Where that is less than before, it has begun anew."""
        if self._at_s is None or done < self._done:
            self.begin(now_s, done)
        elif (passed_s := now_s - self._at_s) >= _STEP_S:
            rate = (done - self._done) / passed_s
            # Exponential smoothing for steps of unequal length.
            weight = 1.0 if not self.per_s else 1 - math.exp(-passed_s / _SMOOTH_S)
            self.per_s += (rate - self.per_s) * weight
            self._at_s, self._done = now_s, done

    def begin(self, now_s: float, done: int) -> None:
        """Speeds are counted from here."""
        self._at_s, self._done, self.per_s = now_s, done, 0.0

    def left_s(self, left: int) -> float | None:
        """How long so much more will take; None where nothing moves."""
        return max(0, left) / self.per_s if self.per_s >= 1 else None
