"""Requests that are to cost nothing though a hold row says what they have cost so far: noted where it takes no room.

A client whose answer cannot be recorded hears so and pays nothing. Until that is written, a kill would leave the hold
row alone, and the next start would bill it; and a disk that is full takes no other row. So the note goes into a file
beside the ledger that has its full length from the start: what is written in place needs no new room (but on file
systems that never write in place, or a disk that fails altogether: there it is lost, and the request is billed).

Rule: an entry speaks of a hold that is still there and of nothing else, so that old ones need not be cleared away.
"""

from __future__ import annotations

import logging
import os
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from uuid import UUID

from app.basics.threads import Aside

logger = logging.getLogger(__name__)

ENTRY_B = 32
"""A request's id (16 bytes) and the beginning of that id's SHA-256, so that a torn entry is none."""
ENTRIES = 512
PATIENCE_S = 1.0
"""So long a client's refusal waits for the note of it."""


class Waivers:
    """The file; `prepare` and `read` belong to the ledger's thread, the rest to the loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = 0
        self._aside = Aside("ledger-waivers")
        self._waiting: SimpleQueue[str] = SimpleQueue()
        self._told = False

    def prepare(self) -> bool:
        """Have the file at its full length; False where there is no room for it."""
        try:
            if self._path.exists() and self._path.stat().st_size == ENTRY_B * ENTRIES:
                return True
            handle = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                # Noise, for some file systems keep zeros in no space at all; it is no entry.
                file.write(os.urandom(ENTRY_B * ENTRIES))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            return False
        return True

    def read(self) -> frozenset[str]:
        """The ids of the requests that were noted last."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return frozenset()
        entries = (data[at : at + ENTRY_B] for at in range(0, len(data), ENTRY_B))
        return frozenset(str(UUID(bytes=entry[:16])) for entry in entries if entry == _entry(entry[:16]))

    async def note(self, request_id: str) -> None:
        """Note that this request costs nothing. Where it cannot be noted within PATIENCE_S, nobody waits for it."""
        try:
            self._waiting.put(request_id)
            await self._aside.run(self._write, timeout_s=PATIENCE_S)
            self._told = False
        except (OSError, TimeoutError) as error:
            if not self._told:
                logger.warning("That a refused request costs nothing could not be noted: %r", error)
            self._told = True

    def close(self) -> None:
        """Let go of the thread."""
        self._aside.close()

    def _write(self) -> None:
        """All that wait, at once: who comes second finds nothing to do, for the first has done it."""
        waiting = [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]
        if not waiting:
            return
        with self._path.open("rb+") as file:
            for request_id in waiting:
                file.seek(self._next * ENTRY_B)
                file.write(_entry(UUID(request_id).bytes))
                self._next = (self._next + 1) % ENTRIES
            file.flush()
            os.fsync(file.fileno())


def _entry(id_bytes: bytes) -> bytes:
    return id_bytes + sha256(id_bytes).digest()[:16]
