"""How often the container has ended by itself lately, and whether it may be started once more.

Rule: pure; times come from the caller, in seconds of a clock that never runs backwards.
"""

from __future__ import annotations

from collections import deque

LIMIT = 3
WINDOW_S = 600.0


class Crashes:
    """At most `limit` restarts within `window_s`."""

    def __init__(self, limit: int = LIMIT, window_s: float = WINDOW_S) -> None:
        self._limit = limit
        self._window_s = window_s
        self._restarts: deque[float] = deque()

    @property
    def count(self) -> int:
        """Restarts that count at present."""
        return len(self._restarts)

    def may_restart(self, now_s: float) -> bool:
        """Count one more restart at `now_s`; False, counting nothing, where that would be one too many."""
        while self._restarts and now_s - self._restarts[0] >= self._window_s:
            self._restarts.popleft()
        if len(self._restarts) >= self._limit:
            return False
        self._restarts.append(now_s)
        return True

    def forget(self) -> None:
        """A person has started it: count anew."""
        self._restarts.clear()
