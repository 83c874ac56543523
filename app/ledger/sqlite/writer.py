"""The one thread that writes: it drains the queue, commits, and tells the loop, for ever.

Rule 1: a future is resolved only after its commit is durable, and one call into the loop resolves a whole batch.
Rule 2: what cannot be written waits. A full or broken disk makes a fault, not an error: the operations stay, the commit
is tried again until it succeeds or the ledger is closed, and the fault clears by itself.

Beside the database lies a reserve of 1 MiB. When the disk is full it is given up, so that what is under way can
still be settled, and it is taken back once there is room again.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue

import apsw

from app.ledger.checkpoint import Checkpoint, Signer
from app.ledger.drafts import UsageDraft
from app.ledger.errors import LedgerClosed, LedgerError, Unwritable
from app.ledger.heads import LogHead
from app.ledger.outcomes import RequestOutcome
from app.ledger.parties import Parties
from app.ledger.sqlite.deliveries import PutDelivery
from app.ledger.sqlite.journal import Committed, Journal
from app.ledger.sqlite.schema import Ownership, explain
from app.ledger.sqlite.transaction import Append, RenewHold, Write
from app.ledger.sqlite.waivers import Waivers

logger = logging.getLogger(__name__)

BATCH_MAX = 256
QUIET_S = 0.02
QUIET_PAGES = 250
WAL_PAGES = 1500
"""The write-ahead log is moved into the file when nothing came for QUIET_S and it has QUIET_PAGES (as many as commits
and their rows usually write); under load once it has WAL_PAGES, so that fewer than one commit in a hundred waits."""
PAGES_A_COMMIT = 5
ROWS_A_PAGE = 6
LINGER_FROM = 4
LINGER_EACH_S = 0.000_02
LINGER_MAX_S = 0.002
"""With so many requests in flight others will settle soon: a commit that waits a little, for each of them, serves
several at once. It halves what a record costs at 32 connections; a request alone never waits. Longer is worse again:
while one half of the requests is written the loop works on the other, and neither may wait for its other half."""
COMPANY_S = 0.1
"""What only says how far running requests and deliveries are waits so long for something else to be committed with, so
that it costs no commit of its own where others come; where none comes, all of them together cost one."""
PATIENT = frozenset({RenewHold, PutDelivery})
RETRY_S = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Waits between tries while the disk refuses; the last one repeats."""
RESERVE_B = 1 << 20


class Reserve:
    """A file of 1 MiB that can be given up when the disk is full."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def held(self) -> bool:
        """True while there is something to give up."""
        try:
            return self._path.stat().st_size == RESERVE_B
        except OSError:
            return False

    def take(self) -> bool:
        """Have the reserve on the disk; False where there is no room for it and as much again twice over."""
        if self.held():
            return True
        try:
            if shutil.disk_usage(self._path.parent).free < 3 * RESERVE_B:
                return False
            handle = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(
                        os.urandom(RESERVE_B)
                    )  # noise, for some file systems keep zeros in no space at all
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                self.give_up()
                return False
        except OSError:
            return False
        return True

    def give_up(self) -> None:
        """Free its space."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("The reserve %s cannot be given up: %s", self._path, error)


class Opened:
    """What the loop needs to know once the file is open."""

    __slots__ = ("heads", "parties", "recovered")

    def __init__(self, journal: Journal, recovered: tuple[UsageDraft, ...]) -> None:
        self.heads: dict[str, LogHead] = dict(journal.heads)
        self.parties: Parties = journal.parties
        self.recovered = recovered


class Writer:
    """Owns the file and the thread. Everything but `start`, `stop`, `join` and `queue` happens on that thread.

    The callbacks are called on the loop: `opened(Opened | LedgerError)` once, `committed(Committed)` after each commit,
    `faulted(sentence | None)` when a fault comes or goes, `stopped()` at the end.
    """

    def __init__(
        self,
        path: Path,
        signer: Signer,
        loop: AbstractEventLoop,
        *,
        opened: Callable[[Opened | LedgerError], None],
        committed: Callable[[Committed], None],
        faulted: Callable[[str | None], None],
        stopped: Callable[[], None],
        remembered: Sequence[Checkpoint] = (),
        recover: bool = True,
        refilling: bool = False,
        vfs: str | None = None,
    ) -> None:
        self.queue: SimpleQueue[Write | None] = SimpleQueue()
        self.in_flight: set[str] = set()
        """Requests that hold money now; the loop keeps it."""
        self.trying = threading.Lock()
        """Held by the thread while it writes a batch, all but the waits between its tries. Whoever else holds it (for
        a turn of the loop at most) knows that what is queued stays as it is meanwhile."""
        self.waived: set[str] = set()
        """Records that are to cost nothing; changed under `trying`."""
        self._path = path
        self._signer = signer
        self._loop = loop
        self._opened = opened
        self._committed = committed
        self._faulted = faulted
        self._stopped = stopped
        self._remembered = remembered
        self._recover = recover
        self._refilling = refilling
        self._vfs = vfs
        self._reserve = Reserve(path.with_name(path.name + ".reserve"))
        self.waivers = Waivers(path.with_name(path.name + ".waivers"))
        self._fault: str | None = None
        self._wal_pages = 0
        self._clear_at = 0.0
        self._deadline: float | None = None
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)

    def start(self) -> None:
        """Begin; `opened` tells how that went."""
        self._thread.start()

    def stop(self, grace_s: float) -> None:
        """Finish what is queued, then end; what a fault still keeps from the disk after `grace_s` fails."""
        self._deadline = time.monotonic() + grace_s
        self.queue.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; False where it did not end in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def left_over(self) -> Committed:
        """What was queued and never written, once `stopped` was called: nobody takes it any more."""
        gone = LedgerClosed("The ledger was closed before this was written.")
        rest = [self.queue.get_nowait() for _ in range(self.queue.qsize())]
        return Committed([(operation, gone) for operation in rest if operation is not None], {}, None)

    def _tell(self, callback: Callable[..., None], *values: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *values)
        except RuntimeError:
            logger.warning("The loop closed before the ledger; nobody hears of what was written since.")

    def _run(self) -> None:
        try:
            with Ownership(self._path):
                journal, recovered = self._open()
                try:
                    self._tell(self._opened, Opened(journal, recovered))
                    if not self._ready():
                        self._set_fault(explain(apsw.FullError(), self._path))
                    self._serve(journal)
                finally:
                    self._close(journal)
        except LedgerError as error:
            self._tell(self._opened, error)
        except Exception as error:
            logger.exception("The ledger's thread failed.")
            self._set_fault(
                f"The ledger's own thread failed ({error!r}): restart the program, and report this."
            )
        finally:
            self._tell(self._stopped)

    def _open(self) -> tuple[Journal, tuple[UsageDraft, ...]]:
        try:
            return self._open_and_recover()
        except LedgerError as error:
            if not (isinstance(error.__cause__, apsw.FullError | apsw.IOError) and self._reserve.held()):
                raise
            self._reserve.give_up()
            return self._open_and_recover()

    def _open_and_recover(self) -> tuple[Journal, tuple[UsageDraft, ...]]:
        journal = Journal(self._path, self._signer, self._vfs, self._remembered, refilling=self._refilling)
        try:
            return journal, journal.recover(self.waivers.read()) if self._recover else ()
        except apsw.Error as error:
            self._close(journal)
            raise LedgerError(explain(error, self._path)) from error

    def _close(self, journal: Journal) -> None:
        try:
            journal.close()
        except apsw.Error as error:
            # Every commit is in the write-ahead log, which the next opening reads.
            logger.warning("%s", explain(error, self._path))

    def _serve(self, journal: Journal) -> None:
        running = True
        while running:
            batch, running = self._next_batch()
            if batch:
                with self.trying:
                    self._commit(journal, batch)
                self._wal_pages += PAGES_A_COMMIT + len(batch) // ROWS_A_PAGE
            if self._wal_pages >= (WAL_PAGES if batch else QUIET_PAGES):
                self._move_wal(journal)
            if self._fault is not None:
                self._try_to_clear()

    def _next_batch(self) -> tuple[list[Write], bool]:
        """The operations that wait, at most BATCH_MAX; none where there is something to tidy up and nothing comes.
        The second is False when they were the last."""
        queue, patience = self.queue, None
        if self._wal_pages >= QUIET_PAGES:
            patience = QUIET_S
        elif self._fault is not None:
            patience = RETRY_S[-1]
        try:
            first = queue.get(timeout=patience)
        except Empty:
            return [], True
        if first is None:
            return [], False
        batch = [first]
        if first.__class__ in PATIENT and not self._wait_for_company(batch):
            return batch, False
        if batch[-1].__class__ is Append and (others := len(self.in_flight)) >= LINGER_FROM:
            time.sleep(min(others * LINGER_EACH_S, LINGER_MAX_S))
        for _ in range(min(queue.qsize(), BATCH_MAX)):
            operation = queue.get_nowait()
            if operation is None:
                return batch, False
            batch.append(operation)
        return batch, True

    def _wait_for_company(self, batch: list[Write]) -> bool:
        """Add what comes within COMPANY_S, up to the first operation that cannot wait; False after the last one."""
        until = time.monotonic() + COMPANY_S
        while batch[-1].__class__ in PATIENT and len(batch) < BATCH_MAX:
            try:
                operation = self.queue.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                return True
            if operation is None:
                return False
            batch.append(operation)
        return True

    def _commit(self, journal: Journal, batch: list[Write]) -> None:
        tries = 0
        while True:
            try:
                if self.waived:
                    self._waive(batch)
                done = journal.commit(batch)
            except apsw.Error as error:
                sentence = explain(error, self._path)
                self._set_fault(sentence)
                if isinstance(error, apsw.FullError | apsw.IOError) and self._reserve.held():
                    self._reserve.give_up()
                    self._make_room(journal)
                elif not self._wait(tries):
                    self._abandon(
                        batch, LedgerClosed(f"The ledger was closed before this was written. {sentence}")
                    )
                    return
                else:
                    tries += 1
                    self._make_room(journal)
            except Unwritable as error:
                if len(batch) == 1:
                    self._abandon(batch, error)
                    return
                middle = len(batch) // 2
                self._commit(journal, batch[:middle])
                self._commit(journal, batch[middle:])
                return
            except Exception as error:
                logger.exception(
                    "A commit failed on something else than the disk; nothing of it was written."
                )
                self._abandon(
                    batch, LedgerError(f"Nothing was recorded, for the writer itself failed: {error!r}.")
                )
                return
            else:
                self._tell(self._committed, done)
                return

    def _wait(self, tries: int) -> bool:
        """Let some time pass before the next try; False when the time given by `stop` is over."""
        delay = RETRY_S[min(tries, len(RETRY_S) - 1)]
        until = time.monotonic() + delay
        self.trying.release()
        try:
            while (now := time.monotonic()) < until:
                if self._deadline is not None and now >= self._deadline:
                    return False
                time.sleep(min(0.05, until - now))
            return True
        finally:
            self.trying.acquire()

    def _waive(self, batch: list[Write]) -> None:
        for operation in batch:
            if isinstance(operation, Append) and operation.draft.id in self.waived:
                assert isinstance(operation.draft, UsageDraft)
                self.waived.discard(operation.draft.id)
                operation.draft = replace(operation.draft, cost=0, outcome=RequestOutcome.STOPPED.value)

    def _abandon(self, batch: list[Write], error: LedgerError) -> None:
        self._tell(self._committed, Committed([(operation, error) for operation in batch], {}, None))

    def _make_room(self, journal: Journal) -> None:
        """A page changed a hundred times stands a hundred times in the write-ahead log and once in the file: moving
        the log, where the little that it takes is left, frees much of it for what waits."""
        try:
            journal.checkpoint_wal()
            self._wal_pages = 0
        except apsw.Error as error:
            logger.info("The write-ahead log cannot be moved now: %s", error)

    def _move_wal(self, journal: Journal) -> None:
        try:
            journal.checkpoint_wal()
            self._wal_pages = 0
        except apsw.Error as error:
            self._wal_pages -= WAL_PAGES  # not with every commit again
            self._reserve.give_up()
            self._make_room(journal)
            self._set_fault(explain(error, self._path))

    def _set_fault(self, sentence: str | None) -> None:
        if sentence != self._fault:
            self._fault = sentence
            self._tell(self._faulted, sentence)
            if sentence is not None:
                logger.error("%s", sentence)

    def _try_to_clear(self) -> None:
        """Called after a commit succeeded or in a quiet moment: the fault is over once the reserve is whole."""
        if (now := time.monotonic()) >= self._clear_at:
            self._clear_at = now + RETRY_S[-1]
            if self._ready():
                self._set_fault(None)

    def _ready(self) -> bool:
        """Have on the disk what a full one is met with; False where there is no room for it."""
        return self.waivers.prepare() and self._reserve.take()
