"""The ledger's reading half: what is asked of the file goes to threads of its own, and the loop never waits for SQLite.

Rule 1: every method belongs to the loop's thread; what it returns is one moment of the ledger, as it was committed.
Rule 2: a page never waits behind an audit: each has a thread.
"""

from __future__ import annotations

import asyncio
import threading
from asyncio import Future
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from app.ledger.checkpoint import Checkpoint, Signer
from app.ledger.delivery import DeliveryRow
from app.ledger.errors import LedgerClosed
from app.ledger.findings import AuditReport
from app.ledger.heads import LabourSum
from app.ledger.listing import Page
from app.ledger.proofs import Consistency, Inclusion
from app.ledger.sqlite.audit import audit
from app.ledger.sqlite.reader import Reader
from app.ledger.sqlite.schema import open_reader
from app.ledger.sqlite.soundness import quick_check

T = TypeVar("T")


class Readings:
    """Reads of the ledger at `path`; `labelled` gives the ids of the keys with a word in their label,
    `newest` what the file must hold at least."""

    def __init__(
        self,
        path: Path,
        signer: Signer,
        vfs: str | None,
        labelled: Callable[[str], list[str]],
        newest: Callable[[], Sequence[Checkpoint]],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._verifier = signer.verifier
        self._vfs = vfs
        self._labelled = labelled
        self._newest = newest
        self._stop = threading.Event()
        self._reader = Reader(path, signer, vfs)
        self._reads = ThreadPoolExecutor(1, "ledger-reader")
        self._audits = ThreadPoolExecutor(1, "ledger-audit")

    def _sign_with(self, signer: Signer) -> None:
        """The signing key was passed on to `signer`."""
        self._verifier = signer.verifier
        self._reader.signer = signer

    def _stop_reading(self) -> None:
        """End the threads as soon as they have answered; an audit under way fails with LedgerClosed."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._reads.submit(self._reader.close)
        self._reads.shutdown(wait=False)
        self._audits.shutdown(wait=False)

    def _check_soundness(self) -> Future[None]:
        """Whether SQLite can read the whole file; the future may bring LedgerCorrupt."""

        def work() -> None:
            connection = open_reader(self._path, self._vfs)
            try:
                quick_check(connection, self._path, self._stop.is_set)
            finally:
                connection.close()

        return self._loop.run_in_executor(self._audits, work)

    async def _read(self, function: Callable[..., T], *arguments: Any) -> T:
        if self._stop.is_set():
            raise LedgerClosed("The ledger is closed: nothing can be read any more.")
        return await self._loop.run_in_executor(self._reads, function, *arguments)

    async def page(
        self,
        before: int | None,
        limit: int,
        *,
        log: str | None = None,
        search: str = "",
        since_us: int | None = None,
        until_us: int | None = None,
    ) -> Page:
        """Up to `limit` (at most 500) records with n < `before`, the newest first; None begins at the newest.

        `search` finds part of a key's id or label, model, endpoint, outcome, kind or note, in any case, or an id by its
        first 8 or more digits. `since_us` and `until_us` bound when the record's work started. One call looks at a few
        thousand records at most: where matches are rare it may return few rows or none, and `next` says where to go on.
        """
        word = search.strip().lower()
        words = (word, *self._labelled(word)) if word else ()
        return await self._read(self._reader.page, before, limit, log, words, since_us, until_us)

    async def entries(self, log_id: str, from_seq: int, limit: int) -> tuple[bytes, ...]:
        """The exact bytes of up to `limit` (at most 1024) records from `from_seq` upwards, as they were hashed; they
        end before one that is not. NotInLog; LedgerCorrupt where that is the first."""
        return await self._read(self._reader.entries, log_id, from_seq, limit)

    async def checkpoint(self, log_id: str, size: int | None = None, *, cosigned: bool = False) -> str:
        """The newest signed checkpoint of the log, or the one over its first `size` records: a C2SP signed note, with
        the cosignatures that are known of it where they are asked for."""
        return await self._read(partial(self._reader.checkpoint, log_id, size, cosigned=cosigned))

    async def checkpoint_for(self, log_id: str, known: int, size: int) -> str:
        """A signed checkpoint over at most `size` records, by a key that whoever has read `known` of them and reads on
        up to there knows: see `ledger.signing_keys`."""
        return await self._read(self._reader.checkpoint_for, log_id, known, size)

    async def cosigned_size(self, log_id: str) -> int:
        """How many records the newest checkpoint covers that a receiver has cosigned; NotInLog where none has."""
        return await self._read(self._reader.cosigned_size, log_id)

    async def inclusion(self, log_id: str, seq: int, size: int | None = None) -> Inclusion:
        """Record `seq` with the proof that it is in the newest checkpoint, or in that over the first `size` records,
        which comes with it."""
        return await self._read(self._reader.inclusion, log_id, seq, size)

    async def consistency(self, log_id: str, since: int) -> Consistency:
        """The proof that the newest checkpoint only appended to the first `since` records."""
        return await self._read(self._reader.consistency, log_id, since)

    async def deliveries(self) -> tuple[DeliveryRow, ...]:
        """How far each delivery is, as it is kept."""
        return await self._read(self._reader.deliveries)

    async def labour(self) -> dict[str, LabourSum]:
        """What was logged of the operator's time: log → sum; logs without any are left out."""
        return await self._read(self._reader.labour)

    async def verify(self, progress: Callable[[int, int], None] | None = None) -> AuditReport:
        """Read everything again and say whether it is what was signed; `progress(read, all)` is called on the loop."""
        if self._stop.is_set():
            raise LedgerClosed("The ledger is closed: nothing can be verified any more.")

        def tell(done: int, total: int) -> None:
            if progress is not None and not self._stop.is_set():
                self._loop.call_soon_threadsafe(progress, done, total)

        stopped, vfs = self._stop.is_set, self._vfs
        work = partial(
            audit,
            self._path,
            self._verifier,
            remembered=self._newest(),
            progress=tell,
            stopped=stopped,
            vfs=vfs,
        )
        return await self._loop.run_in_executor(self._audits, work)
