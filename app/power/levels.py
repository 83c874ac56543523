"""What the GPU draws while work goes on, and just before it began: learned stretch by stretch.

Rule: a stretch whose ends are in doubt is never trusted alone: the median of several says what work draws, and of rest
the stretch before the last one speaks, for work may already be in the last. Powers in microwatts, time in parts.
"""

from __future__ import annotations

STRETCHES = 5
"""The median of so many stretches of work says what work draws: one that seems twice as high had two renewals between
its readings."""


class Levels:
    """Fed every stretch between two knots."""

    __slots__ = ("_quiet", "_worked", "load_uw")

    def __init__(self) -> None:
        self.load_uw: int | None = None
        """What the GPU drew in the last stretch, where that was one of work."""
        self._worked: tuple[int, ...] = ()
        self._quiet: tuple[int, ...] = ()

    @property
    def rest_uw(self) -> int:
        """What the GPU drew just before the work that begins now; 0 where nothing is known of it."""
        return self._quiet[0] if len(self._quiet) == 2 else 0

    @property
    def spread_uw(self) -> int:
        """How far apart the middle half of the last stretches of work lies."""
        ordered = sorted(self._worked)
        quarter = len(ordered) // 4
        return ordered[-1 - quarter] - ordered[quarter] if ordered else 0

    def forget(self) -> None:
        """Nothing is known any more."""
        self.load_uw, self._worked, self._quiet = None, (), ()

    def unknown(self) -> None:
        """A stretch of which nobody knows what was drawn."""
        self.load_uw = None

    def rested(self, power_uw: int) -> None:
        """A stretch in which nobody worked."""
        self.load_uw, self._worked = None, ()
        self._quiet = (*self._quiet[-1:], power_uw)

    def worked(self, drawn: int, run: int, whole: int, power_uw: int | None, *, to_its_end: bool) -> None:
        """A stretch of `whole` parts, `run` of them with work that drew `drawn` units; `power_uw` at its end, where
        that is known."""
        self._quiet, self.load_uw = (), None
        self._worked = (*self._worked[1 - STRETCHES :], drawn // run) if run == whole else ()
        if not to_its_end or 2 * run < whole:
            return
        if power_uw is not None:
            self.load_uw = power_uw
        elif self._worked:
            self.load_uw = sorted(self._worked)[len(self._worked) // 2]
        else:
            self.load_uw = drawn // run
