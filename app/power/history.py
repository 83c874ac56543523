"""The last week of power and cost, for the graph.

Rule 1: pure and bounded: four rings of buckets, no clock, no disk; memory does not grow with time.
Rule 2: silence stays silence. Where no sample fell, the series has a gap (NaN watts), never a drawn-through
line and never a zero, because the sensor rests while nobody uses it.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

SPANS_US = (5 * MINUTE_US, HOUR_US, DAY_US, 7 * DAY_US)
"""What the graph offers, shortest first."""
STEPS_US = (SECOND_US, 10 * SECOND_US, 2 * MINUTE_US, 15 * MINUTE_US)
"""The width of one bucket for each of those spans."""

GAP_US = 2 * SECOND_US
"""An empty stretch shorter than this is a timer's jitter and draws no gap."""


@dataclass(frozen=True, slots=True)
class PowerPoint:
    """One bucket of the graph: means of what was sampled in it; in a gap the three watts are NaN."""

    at_us: int
    """Start of the bucket, wall clock, microseconds since the epoch."""
    gpu_w: float
    total_w: float
    """GPU plus the rest of the machine."""
    marginal_w: float
    """The part of it that running requests add."""
    requests: int
    """The most requests that ran at once in the bucket."""
    cost_pico_per_hour: int

    @property
    def is_gap(self) -> bool:
        """True where nothing was measured."""
        return math.isnan(self.total_w)


class _Ring:
    """Buckets of one width: bucket k of time lives in slot k modulo the size, whatever the clock did."""

    __slots__ = ("_cost", "_gpu", "_index", "_marginal", "_n", "_requests", "_size", "_total", "step_us")

    def __init__(self, step_us: int, size: int) -> None:
        self.step_us = step_us
        self._size = size
        self._index = array("q", [-1]) * size
        self._n = array("q", [0]) * size
        self._gpu = array("d", [0.0]) * size
        self._total = array("d", [0.0]) * size
        self._marginal = array("d", [0.0]) * size
        self._requests = array("q", [0]) * size
        # A sum of pico-units in a cheap currency passes 64 bits, so these are Python's own integers.
        self._cost: list[int] = [0] * size

    def add(
        self, at_us: int, gpu_w: float, total_w: float, marginal_w: float, requests: int, cost: int
    ) -> None:
        index = at_us // self.step_us
        slot = index % self._size
        if self._index[slot] != index:
            # Also where the clock went back: what the slot held is of another time and out of the window.
            self._index[slot] = index
            self._n[slot] = 1
            self._gpu[slot] = gpu_w
            self._total[slot] = total_w
            self._marginal[slot] = marginal_w
            self._requests[slot] = requests
            self._cost[slot] = cost
            return
        self._n[slot] += 1
        self._gpu[slot] += gpu_w
        self._total[slot] += total_w
        self._marginal[slot] += marginal_w
        self._requests[slot] = max(self._requests[slot], requests)
        self._cost[slot] += cost

    def series(self, span_us: int, now_us: int) -> list[PowerPoint]:
        """Filled buckets of the window that ends with the bucket of `now_us`, gaps marked once each."""
        last = now_us // self.step_us
        count = min(self._size, max(1, -(-span_us // self.step_us)))
        points: list[PowerPoint] = []
        empty_since: int | None = None
        for index in range(last - count + 1, last + 1):
            slot = index % self._size
            if self._index[slot] != index:
                if points and empty_since is None:
                    empty_since = index
                continue
            if empty_since is not None:
                self._mark_gap(points, empty_since, index)
                empty_since = None
            points.append(self._point(slot))
        if empty_since is not None:
            self._mark_gap(points, empty_since, last + 1)
        return points

    def _mark_gap(self, points: list[PowerPoint], start: int, stop: int) -> None:
        if (stop - start) * self.step_us >= GAP_US:
            points.append(PowerPoint(start * self.step_us, math.nan, math.nan, math.nan, 0, 0))

    def _point(self, slot: int) -> PowerPoint:
        n = self._n[slot]
        return PowerPoint(
            at_us=self._index[slot] * self.step_us,
            gpu_w=self._gpu[slot] / n,
            total_w=self._total[slot] / n,
            marginal_w=self._marginal[slot] / n,
            requests=self._requests[slot],
            cost_pico_per_hour=round(self._cost[slot] / n),
        )


class PowerHistory:
    """Samples in, points of the graph out: 5 min by 1 s, 1 h by 10 s, 24 h by 2 min, 7 d by 15 min."""

    __slots__ = ("_last_us", "_rings")

    def __init__(self) -> None:
        self._rings = tuple(_Ring(step, span // step) for span, step in zip(SPANS_US, STEPS_US, strict=True))
        self._last_us: int | None = None

    def add(
        self,
        at_us: int,
        gpu_w: float,
        marginal_w: float,
        requests: int,
        cost_pico_per_hour: int,
        *,
        total_w: float | None = None,
    ) -> None:
        """Take one sample at wall time `at_us`. Without `total_w` the whole is the GPU alone.

        Any rate will do, and time may jump: samples after a jump overwrite what stood in their place.
        """
        whole = gpu_w if total_w is None else total_w
        self._last_us = at_us
        for ring in self._rings:
            ring.add(at_us, gpu_w, whole, marginal_w, requests, cost_pico_per_hour)

    def series(self, span_us: int, now_us: int | None = None) -> list[PowerPoint]:
        """Points of the last `span_us` microseconds, oldest first, from the finest ring that reaches so far.

        `now_us` (wall) is the window's right edge; without it, the last sample is. A stretch without samples
        is one point whose watts are NaN, at its start; before the first sample there is nothing.
        """
        if self._last_us is None:
            return []
        end_us = self._last_us if now_us is None else now_us
        for span, ring in zip(SPANS_US, self._rings, strict=True):
            if span_us <= span:
                return ring.series(span_us, end_us)
        return self._rings[-1].series(span_us, end_us)
