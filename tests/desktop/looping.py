"""How the loop's tests run a story, and how they see that a loop rests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from PySide6.QtCore import QTimer

LIMIT_S = 20.0  # a wake-up that is lost fails here; nothing waits this long otherwise


def play(loop: Any, story: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a story on the loop. A lost wake-up would be made good by the limit's own timer, so the time counts."""
    began = time.monotonic()
    result = loop.run_until_complete(asyncio.wait_for(story(), LIMIT_S))
    assert time.monotonic() - began < LIMIT_S / 2
    return result


def turns_while_idle(loop: Any, milliseconds: int = 250) -> int:
    """How many turns Qt gives a loop that has nothing to do. Only Qt's own timers look at it."""
    counts: list[int] = []
    # A turn in which the last callbacks run may still be due, hence a first look some time after the start.
    QTimer.singleShot(100, lambda: counts.append(loop.turns))
    QTimer.singleShot(100 + milliseconds, lambda: (counts.append(loop.turns), loop.stop()))
    loop.run_forever()
    return counts[1] - counts[0]
