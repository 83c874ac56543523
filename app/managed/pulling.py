"""A pull's progress as a face shows it: how fast, and how long it will take.

Rule: pure; times come from the caller, in seconds of a clock that never runs backwards.
"""

from __future__ import annotations

from collections import deque

from app.containers.base import PullProgress
from app.engine.host import Progress

_SPAN_S = 8.0
"""The speed is the mean of this long."""
_LEAST_S = 0.2
"""A face is told at most this often."""


class PullRate:
    """Makes `Progress` of what a daemon says about one pull."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._points: deque[tuple[float, int]] = deque()
        self._told_s = float("-inf")

    def at(self, now_s: float, pull: PullProgress) -> Progress | None:
        """The progress now; None where a face was told a moment ago."""
        if self._points and pull.done_b < self._points[-1][1]:
            # A layer began again after its line broke: speeds are counted from there.
            self._points.clear()
        self._points.append((now_s, pull.done_b))
        while self._points[0][0] < now_s - _SPAN_S and len(self._points) > 2:
            self._points.popleft()
        if now_s - self._told_s < _LEAST_S and pull.layers_done < pull.layers:
            return None
        self._told_s = now_s
        (from_s, from_b), (to_s, to_b) = self._points[0], self._points[-1]
        rate = (to_b - from_b) / (to_s - from_s) if to_s > from_s else 0.0
        left_b = max(0, pull.total_b - pull.done_b)
        what = f"{self._what} ({pull.status.lower()})" if pull.status else self._what
        return Progress(what, pull.done_b, pull.total_b, rate, left_b / rate if rate > 0 else None)
