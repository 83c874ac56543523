"""What a card says of its power, as a curve of energy.

Rule 1: a card renews its figures every 100 ms and shows each until the next, so a reading that did not change says
nothing, and one that did says when: between the last two readings, in their middle as far as anybody knows. There the
curve gets a knot. Rule 2: what a figure speaks of decides the energy up to its knot: the counter is the energy itself;
an instant power is the mean since the figure before (measured on an RTX 3090 and an H200, docs/power-probe.md); an
average over a window W is undone by C(t) = W·A(t) + C(t - W), with the first average before the first knot; a power of
the moment is joined to the next by a straight line.
Pure. Times are monotonic microseconds, power in microwatts, energy in the units of `exact`.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

from app.power.exact import PARTS_PER_US, UNITS_PER_UJ
from app.power.knots import Knots

UPDATE_US = 100_000
"""A card renews its figures so often (SC'24, arXiv 2312.02741, and our own look at two cards)."""

WINDOW_US = 1_000_000
"""The window of NVML's average power."""

STUCK_US = 5 * UPDATE_US
"""A counter that stands still for longer is broken: even a card at rest moves it with every renewal."""


class PowerSpan(Enum):
    """What a sensor's power speaks of."""

    MOMENT = auto()
    """The moment of the reading: sysfs files, simulations."""
    UPDATE = auto()
    """The time since the card renewed the figure before: NVML's instant power."""
    SECOND = auto()
    """The last second: NVML's average power."""


class PowerCurve(Protocol):
    """The energy by one figure of one card; made with its first reading."""

    @property
    def knots(self) -> Knots:
        """What it has told so far."""

    @property
    def doubt_us(self) -> int:
        """The last knot may lie so much of time earlier or later, the two together."""

    def read(self, at_us: int, figure: int) -> bool:
        """A later reading. False where the curve has broken off, so that a new one must begin."""

    @property
    def power_uw(self) -> int | None:
        """The power at the last knot, where the figure tells it; None where it follows from the knots alone, whose
        distances are in doubt."""


class Renewals:
    """When a figure that stays the same between renewals was renewed."""

    __slots__ = ("_figure", "_read_us", "doubt_us", "knot_us", "read_gap_us")

    def __init__(self, at_us: int, figure: int) -> None:
        self._figure = figure
        self._read_us = at_us
        self.knot_us = at_us - UPDATE_US // 2
        self.doubt_us = UPDATE_US
        """How far apart the earliest and the latest moment are at which the last change may have come."""
        self.read_gap_us = 0

    def read(self, at_us: int, figure: int) -> int | None:
        """The knot that a later reading makes; None where it says nothing."""
        self.read_gap_us = at_us - self._read_us
        before_us, self._read_us = self._read_us, at_us
        if figure != self._figure:
            self._figure = figure
            earliest_us = max(before_us, at_us - UPDATE_US)
            knot_us, self.doubt_us = (earliest_us + at_us) // 2, at_us - earliest_us
        elif at_us - UPDATE_US - self.knot_us >= 2 * UPDATE_US:
            # It was surely renewed meanwhile, and came out the same.
            knot_us, self.doubt_us = at_us - UPDATE_US, 0
        else:
            return None
        if knot_us <= self.knot_us:
            return None
        self.knot_us = knot_us
        return knot_us


class MomentCurve:
    """Powers of the moment: the straight line between two readings."""

    __slots__ = ("_power_uw", "doubt_us", "knots")

    def __init__(self, at_us: int, power_uw: int) -> None:
        self.knots = Knots(at_us, power_uw)
        self._power_uw = power_uw
        self.doubt_us = UPDATE_US

    def read(self, at_us: int, figure: int) -> bool:
        """A later power."""
        span_us = at_us - self.knots.last_us
        self.knots.add(at_us, (figure + self._power_uw) * span_us * (PARTS_PER_US // 2))
        self._power_uw = figure
        self.doubt_us = span_us
        return True

    @property
    def power_uw(self) -> int | None:
        """The last one read."""
        return self._power_uw


class UpdateCurve:
    """Instant powers: each the mean since the one before."""

    __slots__ = ("_power_uw", "_renewals", "knots")

    def __init__(self, at_us: int, power_uw: int) -> None:
        self._renewals = Renewals(at_us, power_uw)
        self._power_uw = power_uw
        self.knots = Knots(self._renewals.knot_us, power_uw)

    @property
    def doubt_us(self) -> int:
        """See `PowerCurve`."""
        return self._renewals.doubt_us

    def read(self, at_us: int, figure: int) -> bool:
        """A later power."""
        knot_us = self._renewals.read(at_us, figure)
        before_uw, self._power_uw = self._power_uw, figure
        if knot_us is None:
            return True
        span_us = knot_us - self.knots.last_us
        recent_us = min(span_us, UPDATE_US)
        # Of what lies further back than one renewal, the figure before tells as long as it was still seen, and where
        # nobody looked it is the mean of both.
        seen = self._renewals.read_gap_us <= 2 * UPDATE_US
        earlier_uw = before_uw if seen else (before_uw + figure) // 2
        self.knots.add(knot_us, (figure * recent_us + earlier_uw * (span_us - recent_us)) * PARTS_PER_US)
        return True

    @property
    def power_uw(self) -> int | None:
        """The mean since the knot before."""
        return self._power_uw


class SecondCurve:
    """Averages over the last second, undone."""

    __slots__ = ("_most_uw", "_renewals", "knots")

    def __init__(self, at_us: int, power_uw: int, most_uw: int) -> None:
        self._renewals = Renewals(at_us, power_uw)
        self._most_uw = most_uw
        self.knots = Knots(self._renewals.knot_us, power_uw)

    @property
    def doubt_us(self) -> int:
        """See `PowerCurve`."""
        return self._renewals.doubt_us

    def read(self, at_us: int, figure: int) -> bool:
        """A later average."""
        knot_us = self._renewals.read(at_us, figure)
        if knot_us is None:
            return True
        knots = self.knots
        drawn = figure * WINDOW_US * PARTS_PER_US + knots.at(knot_us - WINDOW_US) - knots.total
        # A knot that was placed a little early or late makes the next step too large or too small; the one after it
        # mends that, since each is reckoned from the whole window.
        most = self._most_uw * (knot_us - knots.last_us) * PARTS_PER_US
        knots.add(knot_us, min(max(0, drawn), most))
        return True

    @property
    def power_uw(self) -> int | None:
        """An average tells none of the moment."""
        return None


class CounterCurve:
    """The card's own energy counter, in microjoules."""

    __slots__ = ("_counted_uj", "_most_uw", "_moved_us", "_read_us", "_renewals", "knots")

    def __init__(self, at_us: int, counted_uj: int, most_uw: int) -> None:
        self._renewals = Renewals(at_us, counted_uj)
        self._counted_uj = counted_uj
        self._most_uw = most_uw
        self._moved_us = self._read_us = at_us
        self.knots = Knots(self._renewals.knot_us)

    @property
    def doubt_us(self) -> int:
        """See `PowerCurve`."""
        return self._renewals.doubt_us

    @property
    def stuck(self) -> bool:
        """Whether it stands still although the card cannot."""
        return self._read_us - self._moved_us > STUCK_US

    def read(self, at_us: int, figure: int) -> bool:
        """A later count. False where the driver has reset it: it went back, or further than a card can draw."""
        counted_uj = figure - self._counted_uj
        still_us = at_us - self._moved_us + UPDATE_US
        if counted_uj < 0 or counted_uj * 1_000_000 > self._most_uw * still_us:
            return False
        self._read_us = at_us
        knot_us = self._renewals.read(at_us, figure)
        if counted_uj and knot_us is not None:
            self.knots.add(knot_us, counted_uj * UNITS_PER_UJ)
            self._counted_uj = figure
        if counted_uj:
            self._moved_us = at_us
        return True

    @property
    def power_uw(self) -> int | None:
        """A counter tells none."""
        return None


def power_curve(span: PowerSpan, at_us: int, power_uw: int, most_uw: int) -> PowerCurve:
    """The curve of a power that speaks of `span`, begun with a first reading; no later one is above `most_uw`."""
    if span is PowerSpan.MOMENT:
        return MomentCurve(at_us, power_uw)
    if span is PowerSpan.UPDATE:
        return UpdateCurve(at_us, power_uw)
    return SecondCurve(at_us, power_uw, most_uw)
