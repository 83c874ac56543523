"""What a GPU drew since it was last asked: which of its figures is believed, and how far it has come.

Rule 1: the card's own counter where it has proven itself, otherwise the integral of its power, and a counter alone
where there is no power. Rule 2: where none of them tells, the answer is that nobody knows; a missing figure is never
zero (codecarbon#1316). Rule 3: whichever figure speaks, it goes on where the last one ended.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.power.counter import CounterTrust
from app.power.curves import CounterCurve, PowerCurve, PowerSpan, power_curve
from app.power.exact import UNITS_PER_UJ

SILENT_US = 1_000_000
"""After so long without a power among its readings, a card's counter speaks for it."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn between two moments, in units of `exact`; None where nobody knows."""

    begin_us: int
    until_us: int
    units: int | None
    doubt_us: int
    """So much of time is in doubt about `until_us`."""
    sums: bool
    """Whether the figure tells the sum of energy itself, rather than a power."""
    seen_us: int
    """When the reading was taken that says so."""
    power_uw: int | None
    """The power at the end, where the figure tells it (see `PowerCurve`)."""


class Samples:
    """The curves of one card. `most_w`: no reading of it is above that."""

    __slots__ = (
        "_compared_us",
        "_counter",
        "_marked",
        "_most_uw",
        "_power",
        "_power_us",
        "_span",
        "_trust",
        "_used",
        "at_us",
        "label_us",
    )

    def __init__(self, most_w: float) -> None:
        self._most_uw = round(most_w * 1_000_000)
        self.at_us = 0
        """The last reading."""
        self.label_us = 0
        """Everything before this is told."""
        self._power: PowerCurve | None = None
        self._power_us = 0
        self._span = PowerSpan.MOMENT
        self._counter: CounterCurve | None = None
        self._trust = CounterTrust()
        self._compared_us: int | None = None
        self._marked: PowerCurve | None = None
        self._used = 0

    def start(self, at_us: int, power_uw: int | None, span: PowerSpan, counted_uj: int | None) -> None:
        """A first reading, before which nothing is known: `label_us` is where its curves begin."""
        self.at_us = at_us
        self._power = self._counter = self._marked = self._compared_us = None
        self._begin_power(at_us, power_uw, span)
        self._begin_counter(at_us, counted_uj)
        began = self._power or self._counter
        self.label_us = at_us if began is None else began.knots.last_us

    def read(self, at_us: int, power_uw: int | None, span: PowerSpan, counted_uj: int | None) -> None:
        """A later reading."""
        self.at_us = at_us
        if power_uw is not None:
            power = self._power
            again = span is self._span and at_us - self._power_us <= 2 * SILENT_US
            if power is None or not again or not power.read(at_us, power_uw):
                self._begin_power(at_us, power_uw, span)
            self._power_us = at_us
        if counted_uj is not None and (self._counter is None or not self._counter.read(at_us, counted_uj)):
            self._trust.begin_again()
            self._begin_counter(at_us, counted_uj)
        self._compare()

    def drawn(self) -> Drawn | None:
        """What was drawn since the last call; None where nothing new is known of it."""
        curve = self._choose()
        begin_us = self.label_us
        if curve is None:
            later = [one.knots.first_us for one in (self._power, self._counter) if one is not None]
            if not later or min(later) <= begin_us or self._silent:
                return None
            self.label_us, self._marked = min(later), None
            return Drawn(begin_us, self.label_us, None, 0, False, self.at_us, None)
        knots = curve.knots
        if knots.last_us <= begin_us:
            return None
        if curve is not self._marked:
            self._marked, self._used = curve, knots.at(begin_us)
        units, self._used = knots.total - self._used, knots.total
        self.label_us = knots.last_us
        sums = curve.power_uw is None
        return Drawn(begin_us, self.label_us, units, curve.doubt_us, sums, self.at_us, curve.power_uw)

    def bend(self, at_us: int, before_uw: int) -> None:
        """Work began at `at_us`, in what was told last; before it the GPU drew `before_uw`."""
        if self._marked is not None:
            self._marked.knots.bend(at_us, before_uw)

    def stretch(self, until_us: int) -> None:
        """What was told last holds until then, which is a little later than was said."""
        self.label_us = max(self.label_us, until_us)

    @property
    def counter_demoted(self) -> bool:
        """Whether the card's counter was found out."""
        return self._trust.demoted

    @property
    def _silent(self) -> bool:
        """Whether the figures that began are silent again."""
        return self._power is None and self._counter is not None and self._counter.stuck

    def _choose(self) -> PowerCurve | None:
        power, counter, trust = self._power, self._counter, self._trust
        if power is not None and (
            self.at_us - self._power_us > SILENT_US or power.knots.first_us > self.label_us
        ):
            power = None
        if counter is not None and (counter.stuck or counter.knots.first_us > self.label_us):
            counter = None
        chosen: PowerCurve | None = power
        if counter is not None and (trust.trusted or (power is None and not trust.demoted)):
            chosen = counter
        return chosen

    def _begin_power(self, at_us: int, power_uw: int | None, span: PowerSpan) -> None:
        self._compared_us = None
        self._span, self._power_us = span, at_us
        self._power = None if power_uw is None else power_curve(span, at_us, power_uw, self._most_uw)

    def _begin_counter(self, at_us: int, counted_uj: int | None) -> None:
        self._compared_us = None
        self._counter = None if counted_uj is None else CounterCurve(at_us, counted_uj, self._most_uw)

    def _compare(self) -> None:
        """Hold the counter against the integral over what both have told."""
        power, counter = self._power, self._counter
        if power is None or counter is None:
            return
        until_us = min(power.knots.last_us, counter.knots.last_us)
        begin_us = self._compared_us
        if begin_us is not None and until_us > begin_us:
            counted = counter.knots.at(until_us) - counter.knots.at(begin_us)
            integral = power.knots.at(until_us) - power.knots.at(begin_us)
            self._trust.observe(counted // UNITS_PER_UJ, integral // UNITS_PER_UJ, until_us - begin_us)
        if begin_us is None or until_us > begin_us:
            self._compared_us = max(until_us, power.knots.first_us, counter.knots.first_us)
