"""The power of what only counts energy.

Rule: it is the mean since the counter last moved, for a counter is renewed more seldom than it is read; one that rests
for a second says nothing about now, and one that went back begins anew.
"""

from __future__ import annotations

from app.power.exact import plausible_w

REST_US = 1_000_000


class CountedPower:
    """One counter, look by look. Microjoules, microseconds, watts."""

    def __init__(self) -> None:
        self.power_w: float | None = None
        """Now, as far as the counter tells; None before its second move."""
        self._last: tuple[int, int] | None = None
        """When it was seen to move, and what it said then."""

    def look(self, at_us: int, energy_uj: int | None) -> float | None:
        """Take what the counter says at `at_us`, None where it says nothing; returns the power."""
        last = self._last
        if energy_uj is None or last is None or energy_uj < last[1]:
            self.power_w = None
            self._last = None if energy_uj is None else (at_us, energy_uj)
        elif energy_uj > last[1] and at_us > last[0]:
            self.power_w = plausible_w((energy_uj - last[1]) / (at_us - last[0]))
            self._last = (at_us, energy_uj)
        elif at_us - last[0] >= REST_US:
            self.power_w = None
        return self.power_w

    def forget(self) -> None:
        """Nobody looked for a while: what was drawn meanwhile is nobody's power."""
        self.power_w = self._last = None
