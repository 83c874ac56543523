"""How near the spending cap is: a warning at 80 and at 95 % of it, each once.

Rule 1: pure. Rule 2: a level that was reached stays said until the cap, or what is spent, has moved well away from it:
prices below zero could bring spending to and fro over the same line.
"""

from __future__ import annotations

LEVELS_PCT = (80, 95)
REARM_PCT = 5
"""So far below a level, and it is worth a word again."""


def level_pct(spent_pico: int, cap_pico: int) -> int | None:
    """The highest level that is reached; None below all of them. A cap of nothing is reached at once."""
    return max((level for level in LEVELS_PCT if spent_pico * 100 >= cap_pico * level), default=None)


class CapWarning:
    """What was reached before the start was said before."""

    def __init__(self, spent_pico: int, cap_pico: int) -> None:
        self._said = level_pct(spent_pico, cap_pico) or 0

    @property
    def said_pct(self) -> int:
        """The level that was said; 0 for none."""
        return self._said

    def told(self, spent_pico: int, cap_pico: int) -> int | None:
        """So much is spent of the cap; the level that is to be said now, or None."""
        level = level_pct(spent_pico, cap_pico) or 0
        if level > self._said:
            self._said = level
            return level
        if level < self._said and spent_pico * 100 < cap_pico * (self._said - REARM_PCT):
            self._said = level
        return None
