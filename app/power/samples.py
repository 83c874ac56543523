"""What a GPU drew between two samples.

Rule 1: by the integral of its power (trapezoid), or by its own energy counter once that has proven itself.
Rule 2: where neither can be had, the answer is None; a missing figure is never zero (codecarbon#1316).
"""

from __future__ import annotations

from app.power.counter import CounterTrust
from app.power.exact import PARTS_PER_US, PLAUSIBLE_W, UNITS_PER_UJ


class Samples:
    """The last sample, and what lies between it and the next. Energy in units, power in microwatts."""

    __slots__ = ("_last_uj", "_trust", "at_us", "power_uw")

    def __init__(self) -> None:
        self.at_us = 0
        self.power_uw: int | None = None
        """The last power; where a sensor has only a counter, the mean since the sample before."""
        self._last_uj: int | None = None
        self._trust = CounterTrust()

    def start(self, at_us: int, power_uw: int | None, energy_uj: int | None) -> None:
        """A first sample, before which nothing is known."""
        self.at_us, self.power_uw, self._last_uj = at_us, power_uw, energy_uj

    def step(self, at_us: int, power_uw: int | None, energy_uj: int | None) -> int | None:
        """A later sample; returns what was drawn since the last one, or None where that is not known."""
        span_us = at_us - self.at_us
        integral = counted = None
        if power_uw is not None and self.power_uw is not None:
            integral = (power_uw + self.power_uw) * span_us * (PARTS_PER_US // 2)
        if energy_uj is not None and self._last_uj is not None:
            counted_uj = energy_uj - self._last_uj
            # A counter that went back or jumped was reset by its driver.
            if 0 <= counted_uj <= PLAUSIBLE_W * span_us:
                counted = counted_uj * UNITS_PER_UJ
        drawn = self._choose(integral, counted, span_us)
        if power_uw is None and drawn is not None:
            power_uw = drawn // (span_us * PARTS_PER_US)
        self.start(at_us, power_uw, energy_uj)
        return drawn

    def _choose(self, integral: int | None, counted: int | None, span_us: int) -> int | None:
        if integral is None:
            return None if self._trust.demoted else counted
        if counted is None:
            return integral
        self._trust.observe(counted // UNITS_PER_UJ, integral // UNITS_PER_UJ, span_us)
        return counted if self._trust.trusted else integral
