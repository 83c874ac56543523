"""Notices that the machine has slept.

Rule 1: two clocks tell it, one that stands still in sleep and one that goes on; nothing of the desktop is asked.
Rule 2: only while somebody wants to know; an idle gateway wakes no CPU for this.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable

TICK_S = 20.0
_LEAST_S = 5.0
"""Shorter gaps are a busy machine, or a wall clock that was set right."""

log = logging.getLogger(__name__)

Clocks = Callable[[], tuple[float, float]]
"""Seconds of a clock that goes on in sleep, and of one that stands still."""


def clocks() -> tuple[float, float]:
    """This machine's two clocks."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME), time.clock_gettime(time.CLOCK_MONOTONIC)
    # Elsewhere a wall clock that is set looks like a sleep: one needless check of the GPU, and no harm.
    return time.time(), time.monotonic()


class Gap:
    """Compares readings of the two clocks."""

    def __init__(self, reading: tuple[float, float], least_s: float = _LEAST_S) -> None:
        self._last = reading
        self._least_s = least_s

    def slept_s(self, reading: tuple[float, float]) -> float:
        """How long the machine slept since the last reading; 0 where it did not."""
        going, standing = reading[0] - self._last[0], reading[1] - self._last[1]
        self._last = reading
        gap = going - standing
        return gap if gap >= self._least_s else 0.0


class Waking:
    """Calls `on_woke` at most `tick_s` after the machine woke up, between `start` and `stop`. Use it on the loop."""

    def __init__(
        self, on_woke: Callable[[], Awaitable[None]], *, tick_s: float = TICK_S, clocks: Clocks = clocks
    ) -> None:
        self._on_woke = on_woke
        self._tick_s = tick_s
        self._clocks = clocks
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on; nothing where it looks already."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look(), name="waking")

    def stop(self) -> None:
        """Look no more, and call off what `on_woke` is doing."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _look(self) -> None:
        gap = Gap(self._clocks())
        while True:
            await asyncio.sleep(self._tick_s)
            slept_s = gap.slept_s(self._clocks())
            if slept_s:
                log.info("The machine slept for %.0f s.", slept_s)
                await self._on_woke()
