"""Which endpoints the engine turned out not to have, so that it is not asked for them again and again.

Rule: nothing is known beforehand, for engines differ by version and kind: what one has is found out by asking. What is
missing is forgotten after a while, and at once where another version or another engine answers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from app.access.refusals import Refusal
from app.basics.clock import mono_us

FORGOTTEN_US = 60_000_000


class Spoken:
    """The paths that are missing. `engine`: what tells one engine from another, its address and version say."""

    def __init__(self, engine: Callable[[], Hashable], now_us: Callable[[], int] = mono_us) -> None:
        self._engine = engine
        self._now_us = now_us
        self._missing: dict[str, tuple[Hashable, int]] = {}

    def missing(self, path: str) -> Refusal:
        """Remember that `path` is not there; the refusal that says so."""
        self._missing[path] = (self._engine(), self._now_us())
        return not_spoken(path)

    def require(self, path: str) -> None:
        """Refusal 501 where it was missing a moment ago."""
        if self._missing and path in self._missing:
            engine, since_us = self._missing[path]
            if engine == self._engine() and self._now_us() - since_us < FORGOTTEN_US:
                raise not_spoken(path)
            del self._missing[path]


def not_spoken(path: str) -> Refusal:
    """501 for a path that the engine turned out not to have, for it is older than the dialect or another program."""
    return Refusal(
        501,
        "not_spoken",
        f"This gateway's engine does not have {path}: use another endpoint, or ask the contributor for a newer engine.",
    )
