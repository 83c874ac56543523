"""How many requests the engine really works on side by side, where nobody can say: found out by watching.

Rule 1: pure; the clock is handed in with every call. Rule 2: one request more than is known to run is let through, as a
trial, and not another one before it has shown something. Its first output (its end, where it is not streamed) came
while the others were still running: so many run side by side. It came only after one of them had ended, and no sooner
than it would have come had it begun then: it had waited, and the next trial comes a minute later, then two, at last
once an hour. Rule 3: what a trial shows is believed only where both stories can be told apart. Rule 4: answers that are
over in a tenth of a second need no queue: nobody waits long for them, and there is nothing to tell apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MOST = 64
"""More are never let through unless somebody says so."""
FLEETING_US = 100_000
LONG_US = 500_000
"""An answer that takes this long already ends what is believed of fleeting ones."""
PAUSE_US = 60_000_000
LONGEST_PAUSE_US = 3_600_000_000
UNTOLD_MOST = 3
"""After so many trials in a row that showed nothing, there is a pause as after one that failed."""
DOUBTS_MOST = 3
"""So many must have waited, one after the other, before what ran side by side once is no longer believed."""
_SHARE = 0.25
"""Of the newest in a running average."""


@dataclass(slots=True, eq=False)
class Visit:
    """One request at the engine. Times are monotonic microseconds."""

    seen: SideBySide
    """What it is a visit to."""
    order: int
    begun_us: int
    streamed: bool
    beside: int
    """How many were at the engine when it came."""
    trial: bool
    shown_us: int | None = None
    """When its first output came, or its end where it is not streamed."""
    freed_us: int | None = None
    """When the first of those ended that were there before it, if that was before it had shown anything."""
    freed_pace_us: float = 0.0
    """How long a token had taken in the answer that ended then."""


class SideBySide:
    """What is known of one pool of the engine's: requests of one model, or all of them."""

    __slots__ = (
        "_doubts",
        "_first_us",
        "_order",
        "_pace_us",
        "_pause_us",
        "_paused_until_us",
        "_trials",
        "_untold",
        "_visits",
        "_whole_us",
        "proven",
    )

    def __init__(self) -> None:
        self.proven = 1
        """So many ran side by side."""
        self._visits: list[Visit] = []
        self._order = 0
        self._trials = 0
        self._untold = 0
        self._doubts = 0
        self._pause_us = PAUSE_US
        self._paused_until_us: int | None = None
        self._first_us: float | None = None
        """How long a first output takes where nothing is waited for."""
        self._pace_us: float | None = None
        """How long a token takes there, its part of all that comes before the first included."""
        self._whole_us: float | None = None

    def allowed(self, now_us: int) -> int:
        """How many may be at the engine at once now."""
        if self._fleeting(now_us):
            return MOST
        trying = not self._trials and (self._paused_until_us is None or now_us >= self._paused_until_us)
        return min(MOST, self.proven + trying)

    @property
    def busy(self) -> bool:
        """Whether a request is at the engine."""
        return bool(self._visits)

    def begin(self, now_us: int, *, streamed: bool) -> Visit:
        """A request goes to the engine."""
        beside = len(self._visits)
        self._order += 1
        visit = Visit(
            self, self._order, now_us, streamed, beside, beside >= self.proven and not self._fleeting(now_us)
        )
        self._trials += visit.trial
        self._visits.append(visit)
        return visit

    def showed(self, visit: Visit, now_us: int) -> None:
        """Its first output came. Again is harmless."""
        if visit.shown_us is None:
            self._show(visit, now_us)
            if not visit.beside:
                pass
            elif visit.freed_us is None:
                self._ran(visit.beside + 1)
            elif self._came_with_the_place(visit, now_us):
                self._waited(visit, now_us)
            elif visit.trial:
                self._tell_nothing(now_us)
            if visit.beside < self.proven and visit.freed_us is None:
                self._first_us = _low(self._first_us, now_us - visit.begun_us)

    def end(self, visit: Visit, now_us: int, tokens: int | None) -> None:
        """It has left the engine. `tokens`: how many it made; None where the answer is not whole."""
        self._visits.remove(visit)
        took_us = now_us - visit.begun_us
        pace_us = took_us / max(1, tokens) if tokens is not None else 0.0
        if tokens is not None:
            if not visit.streamed and visit.shown_us is None:
                self._show(visit, now_us)
                self._judge_whole(visit, now_us, tokens)
            if visit.beside < self.proven:
                if self._whole_us is not None:
                    # The first answer may have waited for its model to be loaded: it says nothing of the pace.
                    self._pace_us = _low(self._pace_us, pace_us)
                self._whole_us = _average(self._whole_us, took_us)
        if visit.trial and visit.shown_us is None:
            self._tell_nothing(now_us)
            self._trials -= 1
        for other in self._visits:
            if other.shown_us is None and other.freed_us is None and other.order > visit.order:
                other.freed_us, other.freed_pace_us = now_us, pace_us or math.inf

    def _show(self, visit: Visit, now_us: int) -> None:
        visit.shown_us = now_us
        self._trials -= visit.trial

    def _came_with_the_place(self, visit: Visit, now_us: int) -> bool:
        """Whether a first output came so soon after another answer's end that it must have waited for that."""
        assert visit.freed_us is not None
        after_us = now_us - visit.freed_us
        first_us = self._first_us
        return 8 * after_us < visit.freed_us - visit.begun_us or (
            first_us is not None and after_us < 2 * first_us
        )

    def _judge_whole(self, visit: Visit, now_us: int, tokens: int) -> None:
        """An answer in one piece shows all that it shows at its end."""
        if not visit.beside:
            return
        if visit.freed_us is None:
            self._ran(visit.beside + 1)
            return
        waited_us = visit.freed_us - visit.begun_us
        took_us = now_us - visit.begun_us
        # Beside the others it takes about as long as alone, after one of them so much longer.
        alone_us = None if self._pace_us is None else min(self._pace_us, visit.freed_pace_us) * max(1, tokens)
        if alone_us is None or waited_us < alone_us / 2:
            if visit.trial:
                self._tell_nothing(now_us)
        elif took_us < alone_us + waited_us / 2:
            self._ran(visit.beside + 1)
        else:
            self._waited(visit, now_us)

    def _ran(self, beside: int) -> None:
        self._doubts = 0
        if beside > self.proven:
            self.proven = beside
            self._untold = 0
            self._pause_us, self._paused_until_us = PAUSE_US, None

    def _waited(self, visit: Visit, now_us: int) -> None:
        if not visit.trial:
            self._doubts += 1
            if self._doubts < DOUBTS_MOST:
                return
            self.proven = max(1, min(self.proven, visit.beside))
        self._pause(now_us)

    def _tell_nothing(self, now_us: int) -> None:
        self._untold += 1
        if self._untold >= UNTOLD_MOST:
            self._pause(now_us)

    def _pause(self, now_us: int) -> None:
        self._untold = self._doubts = 0
        self._paused_until_us = now_us + self._pause_us
        self._pause_us = min(2 * self._pause_us, LONGEST_PAUSE_US)

    def _fleeting(self, now_us: int) -> bool:
        if self._whole_us is None or self._whole_us >= FLEETING_US:
            return False
        return not self._visits or now_us - self._visits[0].begun_us < LONG_US


def _low(before: float | None, newest: float) -> float:
    """An average that follows at once what is quicker: what took longer may have had other reasons."""
    if before is None or newest < before:
        return newest
    return before + _SHARE * (min(newest, 2 * before) - before)


def _average(before: float | None, newest: float) -> float:
    return newest if before is None else before + _SHARE * (newest - before)
