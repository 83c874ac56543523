"""Reasons not to serve.

Rule 1: the set of blockers is the state; no blocker means serving. Rule 2: a blocker is data. It says what stands in
the way, what will end it, how long a client should wait, and what becomes of the machine meanwhile; it does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, auto


class Weight(IntEnum):
    """Which blocker the faces show first: the heavier one."""

    INFORMATIVE = auto()
    TEMPORARY = auto()
    CHOSEN = auto()
    """The contributor asked for it."""
    FAULT = auto()
    ENDING = auto()


class Lending(IntEnum):
    """Whether the machine stays lent while a blocker stands; of several blockers the greatest counts."""

    GOES_ON = auto()
    """It passes by itself or is mended: models stay where they are, uptime is billed, the engine is kept running."""
    ENDS_WITH_REQUESTS = auto()
    """What runs may end in peace; then uptime ends and the GPU is given back."""
    ENDS = auto()
    """At once: what runs is cut after it is settled, uptime ends, the GPU is given back."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """One reason not to serve.

    `code` is for machines (`paused`, `snoozed`, `finishing`, `cap_reached`, `engine_down`, `storage_fault`,
    `starting`, `stopping`); `sentence` says it to a person; `ends` says what will end it; `until_us` is the wall
    time at which it ends by itself, where that is known; `retry_after_s` is what a client is told where it is not.
    """

    code: str
    sentence: str
    ends: str
    weight: Weight
    retry_after_s: int = 60
    until_us: int | None = None
    lending: Lending = Lending.GOES_ON

    def wait_s(self, now_us: int) -> int:
        """Whole seconds that a client should wait, at least one; never so few that it comes back too early."""
        if self.until_us is None:
            return self.retry_after_s
        return max(1, -((now_us - self.until_us) // 1_000_000))


class Blockers:
    """The blockers of one moment, at most one a code: of two with one code the later one counts."""

    __slots__ = ("_all", "lending")

    def __init__(self, present: Iterable[Blocker] = ()) -> None:
        by_code = {blocker.code: blocker for blocker in present}
        self._all = tuple(sorted(by_code.values(), key=lambda blocker: -blocker.weight))
        self.lending = max((blocker.lending for blocker in self._all), default=Lending.GOES_ON)
        """What becomes of the machine."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blockers) and self._all == other._all

    def __hash__(self) -> int:
        return hash(self._all)

    def __contains__(self, code: str) -> bool:
        return self.get(code) is not None

    def __bool__(self) -> bool:
        return bool(self._all)

    def get(self, code: str) -> Blocker | None:
        """The present blocker with this code."""
        return next((blocker for blocker in self._all if blocker.code == code), None)

    def first(self) -> Blocker | None:
        """The most important blocker, or None while serving."""
        return self._all[0] if self._all else None

    def all(self) -> tuple[Blocker, ...]:
        """Every blocker, the most important first."""
        return self._all
