"""A pull's progress as a face shows it: how fast, and how long it will take.

Rule: pure; times come from the caller, in seconds of a clock that never runs backwards.
"""

from __future__ import annotations

from app.basics.rate import Rate
from app.containers.base import PullProgress
from app.engine.host import Progress

_LEAST_S = 0.2
"""A face is told at most this often."""


class PullRate:
    """Makes `Progress` of what a daemon says about one pull."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._rate = Rate()
        self._told_s = float("-inf")

    def at(self, now_s: float, pull: PullProgress) -> Progress | None:
        """The progress now; None where a face was told a moment ago."""
        # A layer that began again after its line broke takes bytes away: speeds are counted from there.
        self._rate.tell(now_s, pull.done_b)
        if now_s - self._told_s < _LEAST_S and pull.layers_done < pull.layers:
            return None
        self._told_s = now_s
        what = f"{self._what} ({pull.status.lower()})" if pull.status else self._what
        left_s = self._rate.left_s(pull.total_b - pull.done_b)
        return Progress(what, pull.done_b, pull.total_b, self._rate.per_s, left_s)
