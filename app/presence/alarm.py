"""One alarm on the wall clock.

A timer of the loop stands still while the machine sleeps, and knows nothing of a clock that is set. So the wall clock
is looked at again at least every LOOK_S while an alarm is set, and never while none is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.basics.clock import wall_us
from app.basics.signal import Signal

LOOK_S = 20.0
"""So late an alarm may be after the machine woke up."""

CallLater = Callable[[float, Callable[[], None]], asyncio.TimerHandle]


class Alarm:
    """Tells `rang` when the wall clock has passed the time it is set to, and `set_back` when the clock was set back
    while it waited. `call_later` is the loop's, but in tests."""

    def __init__(self, *, now_us: Callable[[], int] = wall_us, call_later: CallLater | None = None) -> None:
        self.rang: Signal[[]] = Signal()
        self.set_back: Signal[[]] = Signal()
        self._now_us = now_us
        self._call_later = call_later
        self._at_us: int | None = None
        self._seen_us = 0
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at_us: int | None) -> None:
        """Ring once at `at_us` (wall, microseconds) in place of what was set before; None: not at all."""
        if at_us == self._at_us:
            return
        self.stop()
        if at_us is not None:
            self._at_us = at_us
            self._wait(at_us)

    def stop(self) -> None:
        """Ring no more."""
        self._at_us = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, at_us: int) -> None:
        call_later = self._call_later or asyncio.get_running_loop().call_later
        self._seen_us = self._now_us()
        left_s = (at_us - self._seen_us) / 1e6
        self._timer = call_later(min(max(0.0, left_s), LOOK_S), self._look)

    def _look(self) -> None:
        self._timer = None
        at_us = self._at_us
        if at_us is None:
            return
        before_us = self._seen_us
        if self._now_us() < at_us:
            self._wait(at_us)
            if self._seen_us < before_us:
                self.set_back()
            return
        self._at_us = None
        self.rang()
