"""What goes wrong at the door, in the log: a counted line a minute, and never a word that a client sent.

Rule 1: of an exception only type and place are written (see `where`). Rule 2: whoever sends rubbish
a thousand times a second costs one line a minute.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from app.basics.traces import where

log = logging.getLogger(__name__)

EVERY_S = 60.0


class Mishaps:
    """Counts them, kind by kind."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._counts: dict[str, int] = {}
        self._said_s: dict[str, float] = {}

    def note(self, kind: str) -> None:
        """One more. `kind` is a few words of ours, such as «malformed requests»."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._say(kind)

    def tell(self, *, all_of_them: bool = False) -> None:
        """Write down what was counted since it was last told, where a minute has passed since."""
        for kind in tuple(self._counts):
            self._say(kind, now=all_of_them)

    def _say(self, kind: str, *, now: bool = False) -> None:
        said = self._said_s.get(kind)
        if not now and said is not None and self._now_s() - said < EVERY_S:
            return
        self._said_s[kind] = self._now_s()
        log.warning("At the door: %d %s.", self._counts.pop(kind), kind)


class QuietLoop:
    """What a loop says of failures that nobody caught, in our words; until `close`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, mishaps: Mishaps) -> None:
        self._loop = loop
        self._mishaps = mishaps
        self._before = loop.get_exception_handler()
        loop.set_exception_handler(self._handle)

    def close(self) -> None:
        """Put back what was there before."""
        if self._loop.get_exception_handler() == self._handle:
            self._loop.set_exception_handler(self._before)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        message, error = str(context.get("message")), context.get("exception")
        if message.startswith("socket.accept() out of"):
            self._mishaps.note(
                "times no connection was taken, for this process has all the files open that it may"
            )
        elif self._before is not None:
            self._before(loop, context)
        else:
            log.error("In the loop: %s (%s).", message, where(error))
