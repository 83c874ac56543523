"""A wall clock that a test sets; it goes on by itself, and the monotonic one is left alone."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from app.presence import alarm


class Wall:
    """Stands at `begins` (ISO 8601, in `zone`) when it is made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, begins: str, zone: str = "UTC") -> None:
        self._real_ns = time.time_ns
        self._zone = ZoneInfo(zone)
        self._ahead_ns = 0
        self.set(begins)
        monkeypatch.setattr(time, "time_ns", lambda: self._real_ns() + self._ahead_ns)
        # An alarm looks at the wall clock now and then; here it must not take twenty seconds.
        monkeypatch.setattr(alarm, "LOOK_S", 0.02)

    def set(self, to: str) -> None:
        """Somebody sets the clock, or the machine has slept until then."""
        at = datetime.fromisoformat(to).replace(tzinfo=self._zone).astimezone(UTC)
        self._ahead_ns = int(at.timestamp()) * 10**9 - self._real_ns()
