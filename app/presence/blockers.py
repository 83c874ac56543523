"""Reasons not to serve.

Rule 1: the set of blockers is the state; no blocker means serving. Rule 2: a blocker is data. It says what
stands in the way, what will end it, and how long a client should wait; it does nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Weight(IntEnum):
    """Which blocker the faces show first: the heavier one."""

    INFORMATIVE = 10
    TEMPORARY = 20
    CHOSEN = 30
    """The contributor asked for it."""
    FAULT = 40
    ENDING = 50


@dataclass(frozen=True, slots=True)
class Blocker:
    """One reason not to serve.

    `code` is for machines (`paused`, `snoozed`, `finishing`, `cap_reached`, `engine_down`, `storage_fault`,
    `starting`, `stopping`); `sentence` says it to a person; `ends` says what will end it; `until_us` is the wall
    time at which it ends by itself, where that is known; `retry_after_s` is what a client is told.
    """

    code: str
    sentence: str
    ends: str
    weight: Weight
    retry_after_s: int = 60
    until_us: int | None = None


class Blockers:
    """The present set, at most one blocker a code."""

    __slots__ = ("_present",)

    def __init__(self) -> None:
        self._present: dict[str, Blocker] = {}

    def put(self, blocker: Blocker) -> bool:
        """Add or replace; True where that changed anything."""
        if self._present.get(blocker.code) == blocker:
            return False
        self._present[blocker.code] = blocker
        return True

    def lift(self, code: str) -> bool:
        """Take the blocker away; True where it was there."""
        return self._present.pop(code, None) is not None

    def __contains__(self, code: str) -> bool:
        return code in self._present

    def __bool__(self) -> bool:
        return bool(self._present)

    def get(self, code: str) -> Blocker | None:
        """The present blocker with this code."""
        return self._present.get(code)

    def first(self) -> Blocker | None:
        """The most important blocker, or None while serving."""
        if not self._present:
            return None
        return max(self._present.values(), key=lambda blocker: blocker.weight)

    def all(self) -> tuple[Blocker, ...]:
        """Every blocker, the most important first."""
        return tuple(sorted(self._present.values(), key=lambda blocker: -blocker.weight))
