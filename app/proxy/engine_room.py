"""Which requests may be at the engine together.

Rule 1: what somebody said of the engine counts; only where nobody can say is it found out by watching. Rule 2: Ollama
works side by side on requests of one model; requests of two models go together only where both lie in its memory, and
otherwise the one must leave before the other can begin. Rule 3: another engine, or the same one after a restart with
another version, is another one: nothing is believed of it that was seen of the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.proxy.side_by_side import SideBySide, Visit
from app.proxy.turns import Room

POOLS_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """What is known of an engine without watching it."""

    identity: tuple[str, ...]
    """Another one means another engine."""
    width: int | None
    """How many requests it works on side by side (of one model, where `by_model`); None where nobody knows."""
    by_model: bool
    """Each model has its own places, and needs the engine's memory."""
    loaded: frozenset[str]
    """The models in its memory."""


NOBODY_KNOWS = EngineTraits((), None, by_model=False, loaded=frozenset())


class EngineRoom:
    """What is known of the engine, and what goes on in it. `now_us` is a monotonic clock."""

    def __init__(self, now_us: Callable[[], int], traits: EngineTraits = NOBODY_KNOWS) -> None:
        self._now_us = now_us
        self._traits = traits
        self._seen: dict[str, SideBySide] = {}

    def know(self, traits: EngineTraits) -> None:
        """The engine has changed, or more is known of it."""
        if traits.identity != self._traits.identity:
            self._seen.clear()
        self._traits = traits

    def pool(self, model: str) -> str:
        """With which other requests one of `model` shares the engine's places."""
        return model if self._traits.by_model else ""

    def room(self, pool: str, running: Mapping[str, int]) -> Room:
        """Whether one more of `pool` may begin beside so many of each pool."""
        traits = self._traits
        if running and (len(running) > 1 or pool not in running):
            loaded = traits.loaded
            for other in running:
                if other != pool and not (pool in loaded and other in loaded):
                    return Room.ALONE
        at_engine = running.get(pool, 0)
        if not at_engine:
            return Room.FREE
        return Room.FREE if at_engine < self.width(pool) else Room.FULL

    def width(self, pool: str) -> int:
        """How many of `pool` may be at the engine at once now."""
        if self._traits.width is not None:
            return self._traits.width
        seen = self._seen.get(pool)
        return 1 if seen is None else seen.allowed(self._now_us())

    def begin(self, pool: str, now_us: int, *, streamed: bool) -> Visit | None:
        """A request goes to the engine; its visit, or None where there is nothing to find out."""
        if self._traits.width is not None:
            return None
        seen = self._seen.get(pool)
        if seen is None:
            if len(self._seen) >= POOLS_REMEMBERED:
                self._seen = {name: kept for name, kept in self._seen.items() if kept.busy}
            seen = self._seen[pool] = SideBySide()
        return seen.begin(now_us, streamed=streamed)
