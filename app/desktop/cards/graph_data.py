"""The graph's geometry: pieces between gaps, ticks, a round top, the point under the crosshair.

Rule 1: pure Python without Qt, numpy or a clock. Rule 2: a bucket is drawn as the step it is; nothing is drawn
where nothing was measured.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from app.power.history import DAY_US, HOUR_US, MINUTE_US, SECOND_US, SPANS_US, STEPS_US, PowerPoint

_LEAST_TOP_W: Final = 50.0
_MOST_TICKS: Final = 5
_MARGINAL_W: Final = 0.5
"""Less than half a watt for clients rounds to nothing, and is drawn as nothing."""


@dataclass(frozen=True, slots=True)
class Span:
    """One choice of the graph."""

    label: str
    span_us: int
    step_us: int
    """Width of one bucket."""
    refresh_us: int
    """How often a new picture can differ enough to be worth drawing."""
    tick_us: int


SPANS: Final = tuple(
    Span(label, span, step, refresh, tick)
    for label, span, step, refresh, tick in zip(
        ("5 min", "1 h", "24 h", "7 d"),
        SPANS_US,
        STEPS_US,
        (SECOND_US, 5 * SECOND_US, 30 * SECOND_US, 5 * MINUTE_US),
        (MINUTE_US, 10 * MINUTE_US, 4 * HOUR_US, DAY_US),
        strict=True,
    )
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch without a gap: the upper edge of its steps, as corners in seconds since the epoch and watts."""

    x: tuple[float, ...]
    y: tuple[float, ...]


def pieces(points: Sequence[PowerPoint], step_us: int) -> tuple[list[Piece], list[Piece]]:
    """What to fill, from zero up, in this order: the whole power wherever clients have a part in it, and over it
    the idle power, that is, what would have been drawn without clients. What stays in sight of the first is theirs.
    """
    whole, idle = _Edge(), _Edge()
    last = len(points) - 1
    for index, point in enumerate(points):
        if point.is_gap:
            whole.lift()
            idle.lift()
            continue
        start = point.at_us / 1e6
        end = (points[index + 1].at_us if index < last else point.at_us + step_us) / 1e6
        idle.draw(start, end, max(0.0, point.total_w - max(0.0, point.marginal_w)))
        if point.marginal_w >= _MARGINAL_W:
            whole.draw(start, end, point.total_w)
        else:
            whole.lift()
    return whole.finished(), idle.finished()


class _Edge:
    """A pen that draws steps from left to right, and may be lifted."""

    def __init__(self) -> None:
        self._done: list[Piece] = []
        self._x: list[float] = []
        self._y: list[float] = []

    def draw(self, start: float, end: float, level: float) -> None:
        self._x += (start, end)
        self._y += (level, level)

    def lift(self) -> None:
        if self._x:
            self._done.append(Piece(tuple(self._x), tuple(self._y)))
            self._x, self._y = [], []

    def finished(self) -> list[Piece]:
        self.lift()
        return self._done


def round_top(points: Sequence[PowerPoint]) -> tuple[float, float]:
    """The axis' end and the distance of its ticks in watts: round, above every point, with two to five ticks."""
    highest = max((point.total_w for point in points if not point.is_gap), default=0.0)
    wanted = max(_LEAST_TOP_W, highest * 1.05)
    magnitude = 10.0 ** math.floor(math.log10(wanted / _MOST_TICKS))
    step = next(
        magnitude * factor for factor in (1, 2, 2.5, 5, 10) if magnitude * factor * _MOST_TICKS >= wanted
    )
    return step * math.ceil(wanted / step - 1e-9), step


def point_at(points: Sequence[PowerPoint], at_us: int) -> PowerPoint | None:
    """The bucket that covers a moment; None before the first one."""
    index = bisect_right(points, at_us, key=lambda point: point.at_us) - 1
    return points[index] if index >= 0 else None


def time_ticks(start_us: int, end_us: int, tick_us: int) -> list[int]:
    """Round local times from `start_us` up to `end_us`, also on days of 23 and 25 hours.

    Up to an hour apart they are even in time; further apart they are even on the clock, as 0, 4, 8 … o'clock are.
    """
    if tick_us <= HOUR_US:
        offset = _local(end_us).utcoffset() or timedelta()
        offset_us = round(offset.total_seconds() * 1e6)
        first = -(-(start_us + offset_us) // tick_us) * tick_us - offset_us
        return list(range(first, end_us, tick_us))
    tick = timedelta(microseconds=tick_us)
    moment = _local(start_us).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    ticks: list[int] = []
    while (tick_at_us := round(moment.astimezone().timestamp() * 1e6)) < end_us:
        if tick_at_us >= start_us:
            ticks.append(tick_at_us)
        moment += tick
    return ticks


def _local(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1e6).astimezone()


def cap_reached_at(points: Sequence[PowerPoint], remaining_pico: int, now_us: int) -> int | None:
    """When the cap is reached if clients go on as in `points`; wall time, or None where that says nothing.

    The mean runs over measured time only, at least an hour of it, and a moment more than a year away is no forecast.
    """
    covered_us = 0
    weighted = 0
    for point, following in pairwise(points):
        if not point.is_gap:
            covered_us += following.at_us - point.at_us
            weighted += point.cost_pico_per_hour * (following.at_us - point.at_us)
    if covered_us < HOUR_US or weighted <= 0:
        return None
    until_us = remaining_pico * HOUR_US * covered_us // weighted
    return now_us + until_us if until_us < 365 * DAY_US else None
