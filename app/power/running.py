"""Which of the open requests the engine is working on.

Rule 1: a request whose output was seen is surely running. Of the others, the oldest run, as many as the engine
takes in parallel; the rest wait in the engine's queue and use nothing (Ollama: `OLLAMA_NUM_PARALLEL`, 1 by default,
first come, first served). Rule 2: only the running ones are ever walked through, so a long queue costs nothing.
"""

from __future__ import annotations

from typing import Generic, TypeVar


class Place:
    """A request's place: `order` is its turn of arrival, `seen` whether it has produced output."""

    __slots__ = ("order", "running", "seen")

    def __init__(self, order: int) -> None:
        self.order = order
        self.seen = False
        self.running = False


P = TypeVar("P", bound=Place)


class RunningSet(Generic[P]):
    """`now` is an immutable tuple, replaced at every change, so that a slice of time can keep the one it had."""

    __slots__ = ("_queued", "now", "parallel")

    def __init__(self, parallel: int) -> None:
        self.parallel = _at_least_one(parallel)
        self.now: tuple[P, ...] = ()
        self._queued: dict[int, P] = {}

    @property
    def has_room(self) -> bool:
        """True where the next to enter would run at once."""
        return len(self.now) < self.parallel

    def enter(self, place: P) -> None:
        """A new request, younger than all the others."""
        if len(self.now) < self.parallel:
            place.running = True
            self.now = (*self.now, place)
        else:
            self._queued[place.order] = place

    def leave(self, place: P) -> None:
        """The request is over; the oldest of the queue takes its turn where there is room."""
        if not place.running:
            del self._queued[place.order]
            return
        place.running = False
        self.now = () if len(self.now) == 1 else tuple([other for other in self.now if other is not place])
        if self._queued:
            self._promote()

    def output_seen(self, place: P) -> None:
        """The request has produced output, so it runs; if it was thought to wait, another one must be waiting."""
        place.seen = True
        if place.running:
            return
        del self._queued[place.order]
        place.running = True
        kept = self.now
        presumed = [other for other in kept if not other.seen]
        if presumed and len(kept) >= self.parallel:
            youngest = max(presumed, key=lambda other: other.order)
            kept = tuple(other for other in kept if other is not youngest)
            self._put_back(youngest)
        self.now = (*kept, place)

    def resize(self, parallel: int) -> None:
        """The engine takes another number at once from now on."""
        self.parallel = _at_least_one(parallel)
        presumed = sorted((other for other in self.now if not other.seen), key=lambda other: other.order)
        while presumed and len(self.now) > self.parallel:
            youngest = presumed.pop()
            self.now = tuple(other for other in self.now if other is not youngest)
            self._put_back(youngest)
        self._promote()

    def _promote(self) -> None:
        while self._queued and len(self.now) < self.parallel:
            oldest = self._queued.pop(next(iter(self._queued)))
            oldest.running = True
            self.now = (*self.now, oldest)

    def _put_back(self, place: P) -> None:
        # Rare (the engine answered out of turn), so the queue is simply sorted again.
        place.running = False
        self._queued[place.order] = place
        self._queued = dict(sorted(self._queued.items()))


def _at_least_one(parallel: int) -> int:
    if parallel < 1:
        raise ValueError(f"An engine works on at least one request at once, not on {parallel}.")
    return parallel
