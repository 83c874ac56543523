"""Who may be connected: bounds for all and for each address, and how long a connection may keep us waiting.

A connection costs a descriptor, and whoever needs no key to open one could take them all. Rule 1: where there is no
room, the connection that has kept us waiting longest goes, those first that have never asked anything; only where all
are being answered is the newcomer sent away. Rule 2: some room is kept for this machine, so that its user always gets
in. Rule 3: headers arrive within `head_s`, however slowly they trickle; an idle connection stays for `idle_s`, which is
longer than proxies keep one (nginx 60 s, Go 90 s), since whoever closes first must not be us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from app.basics.descriptors import raise_descriptors
from app.proxy.mishaps import Mishaps

KEPT_FOR_US = 160
"""Descriptors for files, the ledger, the engine, Docker and the desktop."""
SWEEP_S = 1.0
LINGER_S = 2.0
"""So long what still comes of a refused body is thrown away, for who hears a reset in place of the end never reads the
answer (RFC 9112, 9.6). It may be anybody's, without a key: aiohttp's ten seconds would keep a connection too long."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many connections, and how long (seconds) each may keep us waiting."""

    total: int
    per_address: int
    """This machine's own addresses and the proxies that are believed have no such bound: they bring everybody."""
    kept_local: int
    """Of `total`, for this machine only."""
    head_s: float = 15.0
    idle_s: float = 120.0
    unread_s: float = 300.0
    """An answer of which nothing is taken for so long is given up."""
    body_s: float = 60.0
    """A body has come by then."""

    @classmethod
    def here(cls) -> Bounds:
        """For as many descriptors as this process may have, once it has asked for more."""
        # Each connection may need another one to the engine.
        total = min(4096, max(32, (raise_descriptors() - KEPT_FOR_US) // 2))
        return cls(total, max(16, total // 4), max(8, total // 8))


def linger_s(bounds: Bounds) -> float:
    """So long a connection stays open behind its last answer."""
    return min(LINGER_S, bounds.body_s)


class Waiting(Protocol):
    """A connection, as far as it is counted here."""

    address: str
    local: bool
    proxy: bool
    """It may bring the requests of many."""
    asked: bool
    """It has sent a whole request before."""
    partial: bool
    """A part of a request's headers has come."""
    since: float
    """When it began to keep us waiting, by the loop's clock; inf while it is being answered."""
    stuck_since: float
    """When it stopped to take what we write; inf while it does."""

    def dismiss(self) -> None:
        """Close it."""


class Connections:
    """All that are open."""

    def __init__(self, bounds: Bounds, mishaps: Mishaps, loop: asyncio.AbstractEventLoop) -> None:
        self.bounds = bounds
        self._mishaps = mishaps
        self._loop = loop
        self._by_address: dict[str, dict[Waiting, None]] = {}
        self._count = 0
        self._local = 0
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return self._count

    def admit(self, newcomer: Waiting) -> bool:
        """Count it in; False where there is no room for it, and then it is not counted."""
        crowd = self._too_many(newcomer)
        if crowd is not None and not self._make_room(crowd):
            self._mishaps.note("connections sent away, as all others were being answered")
            return False
        self._by_address.setdefault(newcomer.address, {})[newcomer] = None
        self._count += 1
        self._local += newcomer.local
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        return True

    def gone(self, connection: Waiting) -> None:
        """Count it out. Again is harmless."""
        mates = self._by_address.get(connection.address)
        if mates is None or connection not in mates:
            return
        del mates[connection]
        if not mates:
            del self._by_address[connection.address]
        self._count -= 1
        self._local -= connection.local

    def close(self) -> None:
        """Watch no longer, and tell what was counted."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._mishaps.tell(all_of_them=True)

    def _too_many(self, newcomer: Waiting) -> Iterable[Waiting] | None:
        """Among whom one must go before `newcomer` may come; None where there is room."""
        bounds = self.bounds
        full = self._count >= bounds.total
        if newcomer.local:
            return self._everybody() if full else None
        mates = self._by_address.get(newcomer.address, {})
        if len(mates) >= bounds.per_address and not newcomer.proxy:
            return mates
        if full or self._count - self._local >= bounds.total - bounds.kept_local:
            return (each for each in self._everybody() if not each.local)
        return None

    def _everybody(self) -> Iterable[Waiting]:
        return (each for mates in self._by_address.values() for each in mates)

    def _make_room(self, crowd: Iterable[Waiting]) -> bool:
        waiting = [each for each in crowd if each.since != float("inf")]
        if not waiting:
            return False
        last = min(waiting, key=lambda each: (each.asked and not each.partial, each.since))
        self._mishaps.note("waiting connections closed to make room for others")
        self.gone(last)
        last.dismiss()
        return True

    def _sweep(self) -> None:
        now = self._loop.time()
        bounds = self.bounds
        for each in tuple(self._everybody()):
            patience = bounds.idle_s if each.asked and not each.partial else bounds.head_s
            if now - each.since > patience or now - each.stuck_since > bounds.unread_s:
                if patience == bounds.head_s:
                    self._mishaps.note("connections closed that sent no whole request in time")
                self.gone(each)
                each.dismiss()
        self._mishaps.tell()
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep) if self._count else None
