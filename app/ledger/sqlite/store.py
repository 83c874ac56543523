"""The ledger as the rest of the house sees it: an object on the event loop over one writer thread and one file.

Rule 1: every method belongs to the loop's thread and returns at once; writes give a future that is resolved once they
are durable. Rule 2: what is shown (sums, clients, keys, checkpoints) is what has been committed, never what is queued.

Cancelling whoever awaits a future never takes back the operation.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from app.basics.signal import Signal
from app.ledger.checkpoint import Checkpoint, Signer
from app.ledger.delivery import DeliveryRow, DeliveryWay
from app.ledger.drafts import Draft, TariffDraft, UsageDraft
from app.ledger.errors import LedgerClosed, LedgerCorrupt, LedgerError
from app.ledger.heads import LogHead, Receipt, Totals, add_totals
from app.ledger.holds import HoldRow
from app.ledger.merkle import Frontier
from app.ledger.sqlite.deliveries import DropDelivery, PutDelivery
from app.ledger.sqlite.journal import CHECK_AT_ONCE_B, Committed
from app.ledger.sqlite.members import Members
from app.ledger.sqlite.refill import PutBack
from app.ledger.sqlite.transaction import Append, DropHold, PutHold, RecordTariff, RenewHold, Write
from app.ledger.sqlite.writer import Opened, Writer

logger = logging.getLogger(__name__)
HOLD_LATER_S = 0.02
LOOK_AGAIN_S = 0.005
CLOSE_GRACE_S = 5.0


class Ledger(Members):
    """Open it with `await Ledger.open(…)`, end it with `await ledger.close()`."""

    def __init__(
        self,
        path: Path,
        signer: Signer,
        gateway_id: str,
        clock_us: Callable[[], int],
        remembered: Sequence[Checkpoint],
        recover: bool,
        refilling: bool,
        vfs: str | None,
    ) -> None:
        """Use `open`."""
        super().__init__(path, signer, vfs, gateway_id, clock_us)
        self._heads: dict[str, LogHead] = {}
        self._recovered: tuple[UsageDraft, ...] = ()
        self._fault: str | None = None
        self._damage: str | None = None
        """What only a good copy of the file ends."""
        self._faulted: Signal[[str | None]] = Signal()
        self._grown: Signal[[Mapping[str, int]]] = Signal()
        self._later: dict[str, tuple[float, HoldRow]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._opening: Future[None] = self._loop.create_future()
        self._ended: Future[None] = self._loop.create_future()
        self._closing = False
        self._writer = Writer(
            path,
            signer,
            self._loop,
            opened=self._on_opened,
            committed=self._on_committed,
            faulted=self._on_fault,
            stopped=self._on_stopped,
            remembered=remembered,
            recover=recover,
            refilling=refilling,
            vfs=vfs,
        )
        self._put = self._writer.queue.put
        self._in_flight = self._writer.in_flight

    @classmethod
    async def open(
        cls,
        path: Path | str,
        *,
        signer: Signer,
        gateway_id: str,
        clock_us: Callable[[], int],
        remembered: Sequence[Checkpoint] = (),
        recover: bool = True,
        refilling: bool = False,
        vfs: str | None = None,
    ) -> Ledger:
        """Open or create the ledger at `path` and record what a crash cut off (see `recovered`).

        `gateway_id` begins the names of the logs created from now on; `clock_us` gives wall time; `remembered` is what
        the file must hold at least, as `newest` once said it; without `recover` what a crash cut off waits for the next
        opening, since it may be among the records that are to be put back; `refilling`: nothing else than these is
        taken, and so the key of before may have signed the file; `vfs` names SQLite's file layer, for tests
        with a failing disk.

        Raises LedgerRollback (the file is older than what is remembered; nothing was written to it), LedgerBusy
        (another process has it), LedgerCorrupt, LedgerTampered (it is not as it was signed, or another key signed it)
        or LedgerError.
        """
        if not 0 < len(gateway_id) <= 128 or any(char.isspace() or char in "+/" for char in gateway_id):
            raise LedgerError(
                f"The gateway's id {gateway_id!r:.80} must have no spaces, plus signs or slashes."
            )
        ledger = cls(Path(path), signer, gateway_id, clock_us, remembered, recover, refilling, vfs)
        ledger._writer.start()
        try:
            await asyncio.shield(ledger._opening)
        except BaseException:
            await asyncio.shield(ledger.close())
            raise
        if ledger._path.stat().st_size > CHECK_AT_ONCE_B:
            ledger._check_soundness().add_done_callback(ledger._on_checked)
        return ledger

    async def close(self) -> None:
        """Write what is queued, empty the write-ahead log, end the threads; again is harmless.

        Bounded in time: what a broken disk keeps from being written for CLOSE_GRACE_S fails with LedgerClosed.
        """
        if not self._closing:
            self._sweep(everything=True)
            self._closing = True
            self._stop_reading()
            self._writer.waivers.close()
            self._writer.stop(CLOSE_GRACE_S)
        try:
            async with asyncio.timeout(CLOSE_GRACE_S + 3):
                await asyncio.shield(self._ended)
        except TimeoutError:
            logger.error(
                "The disk that holds %s does not answer; the ledger's thread is left behind.", self._path
            )
            return
        self._writer.join(1.0)

    # What the writer's thread tells the loop.

    def _on_opened(self, outcome: Opened | LedgerError) -> None:
        if isinstance(outcome, Opened):
            self._heads, self._parties, self._recovered = outcome.heads, outcome.parties, outcome.recovered
        if self._opening.done():
            return
        if isinstance(outcome, LedgerError):
            self._opening.set_exception(outcome)
        else:
            self._opening.set_result(None)

    def _on_committed(self, done: Committed) -> None:
        grown = {
            name: head.size
            for name, head in done.heads.items()
            if (before := self._heads.get(name)) is None or before.size < head.size
        }
        self._heads.update(done.heads)
        if done.parties is not None:
            self._parties = done.parties
        for operation, outcome in done.outcomes:
            future = operation.future
            if future is None:
                if isinstance(outcome, Exception):
                    logger.error("A hold was not kept: %s", outcome)
            elif not future.done():
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
        if grown:
            self._grown(grown)

    def _on_fault(self, sentence: str | None) -> None:
        self._fault = sentence
        self._faulted(self.fault)

    def _on_checked(self, done: Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, LedgerCorrupt):
            logger.error("%s", error)
            self._damage = str(error)
            self._faulted(self.fault)

    def _on_stopped(self) -> None:
        self._on_opened(LedgerClosed("The ledger's thread ended before the ledger was open."))
        self._closing = True
        self._stop_reading()
        self._on_committed(self._writer.left_over())
        self._ended.set_result(None)

    # Records.

    def append(self, log_id: str, draft: Draft, release: str | None = None) -> Future[Receipt]:
        """Record `draft` in the log `log_id` and, in the same commit, end the hold of the request `release`.

        The future brings the Receipt once that is durable, or DuplicateRecord, RecordError, TailMissing or LedgerError
        for this one record. Raises LedgerClosed.
        """
        future: Future[Receipt] = self._loop.create_future()
        if release is not None:
            self._in_flight.discard(release)
            if self._later.pop(release, None) is not None:
                release = None  # it never became a row
        operation = Append(log_id, draft, release, future)
        if isinstance(draft, UsageDraft):
            # It is over already, and whoever asked is to be billed for it, wherever its record comes to stand.
            self._submit(operation)
        else:
            self._record(operation, future)
        return future

    async def gave_up(self, recorded: Future[Receipt], waive: str | None = None) -> bool:
        """Whether the disk still does not take what `recorded` waits for, once the writer has tried what it can at once
        (it may give up its reserve). Ask while there is a `fault`.

        True: it stays queued; where `waive` is the id of its usage record, that will cost nothing and say `stopped`.
        False: it is durable as it was, or nobody waits for it any more.
        """
        while not recorded.done():
            if self._writer.trying.acquire(blocking=False):
                try:
                    await asyncio.sleep(0)  # what the writer told before it let go is heard in this turn
                    if not recorded.done():
                        if waive is not None:
                            self._writer.waived.add(waive)
                        return True
                finally:
                    self._writer.trying.release()
            else:
                await asyncio.sleep(LOOK_AGAIN_S)
        return False

    async def waive(self, request_id: str) -> None:
        """Note that this request, of which nothing can be recorded now, costs nothing: for the case that we are killed
        before its record is durable. Returns once that is on the disk, or soon after it could not be."""
        await self._writer.waivers.note(request_id)

    def record_tariff(self, log_id: str, draft: TariffDraft) -> Future[Receipt | None]:
        """Record the terms from now on, unless the log's newest tariff record says the same already (then None)."""
        future: Future[Receipt | None] = self._loop.create_future()
        self._record(RecordTariff(log_id, draft, future), future)
        return future

    def _submit(self, operation: Write) -> None:
        if self._closing:
            raise LedgerClosed("The ledger is closed: nothing can be written any more.")
        self._put(operation)

    # Holds.

    def hold(self, row: HoldRow) -> Future[None]:
        """Make the hold durable, or replace the one of the same request."""
        future: Future[None] = self._loop.create_future()
        self._later.pop(row.request_id, None)
        self._submit(PutHold(row, future))
        self._in_flight.add(row.request_id)
        return future

    def hold_later(self, row: HoldRow) -> None:
        """Make the hold a row only if the request still runs after HOLD_LATER_S: most end sooner and never cost one.

        For answers that leave in one piece, after their record is durable: a crash loses no byte a client has seen.
        """
        if self._closing:
            raise LedgerClosed("The ledger is closed: nothing can be held any more.")
        self._later[row.request_id] = (self._loop.time() + HOLD_LATER_S, row)
        self._in_flight.add(row.request_id)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(HOLD_LATER_S, self._sweep)

    def _sweep(self, *, everything: bool = False) -> None:
        """Turn the holds that are due into rows; they are in the order of their times."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        now = self._loop.time()
        while self._later:
            request_id, (due, row) = next(iter(self._later.items()))
            if due > now and not everything:
                self._sweeper = self._loop.call_at(due, self._sweep)
                return
            del self._later[request_id]
            self._put(PutHold(row, None))

    def renew(
        self,
        request_id: str,
        amount_pico: int,
        seen_us: int,
        *,
        e_uj: int | None = None,
        cost_pico: int | None = None,
    ) -> Future[None]:
        """Hold `amount_pico` from now on, and note what the request has accrued; None leaves that as it was.

        The future fails with LookupError where there is no such hold.
        """
        future: Future[None] = self._loop.create_future()
        if (waiting := self._later.get(request_id)) is not None:
            due, row = waiting
            self._later[request_id] = due, row.renewed(amount_pico, seen_us, e_uj, cost_pico)
            future.set_result(None)
        else:
            self._submit(RenewHold(request_id, amount_pico, seen_us, e_uj, cost_pico, future))
        return future

    def release(self, request_id: str) -> Future[None]:
        """End a hold without a record: the request never reached the engine. Unknown holds have ended already."""
        future: Future[None] = self._loop.create_future()
        self._in_flight.discard(request_id)
        if self._later.pop(request_id, None) is not None:
            future.set_result(None)
        else:
            self._submit(DropHold(request_id, future))
        return future

    @property
    def recovered(self) -> tuple[UsageDraft, ...]:
        """The requests that a crash had cut off, recorded when this ledger was opened."""
        return self._recovered

    # Deliveries.

    def keep_delivery(self, row: DeliveryRow) -> Future[None]:
        """Keep how far a delivery is, in place of what was kept of it; it may wait a moment for company."""
        future: Future[None] = self._loop.create_future()
        self._submit(PutDelivery(row, future))
        return future

    def forget_delivery(self, log_id: str, way: DeliveryWay) -> Future[None]:
        """Keep nothing of it any more."""
        future: Future[None] = self._loop.create_future()
        self._submit(DropDelivery(log_id, way, future))
        return future

    # A lost tail.

    def put_back(self, log_id: str, bodies: Sequence[bytes]) -> Future[Receipt]:
        """Append records that were lost from the log's end, byte for byte and all or none; the future may bring
        LedgerError where they do not fit there. That they were ours is the caller's to prove."""
        future: Future[Receipt] = self._loop.create_future()
        self._submit(PutBack(log_id, bodies, future))
        return future

    def frontier(self, log_id: str) -> Frontier:
        """A copy of the log's right edge, as it was committed; LedgerError where there is no such log."""
        return self._head(log_id).frontier.copy()

    # Sums and faults.

    @property
    def spent_pico(self) -> int:
        """The sum of all records' costs, over all logs."""
        return sum(head.cum for head in self._heads.values())

    def totals(self, log_id: str | None = None) -> Totals:
        """The counters of one log, or over all; LedgerError where there is no such log."""
        if log_id is None:
            return add_totals(self._heads.values())
        return self._head(log_id).totals()

    def _head(self, log_id: str) -> LogHead:
        head = self._heads.get(log_id)
        if head is None:
            raise LedgerError(f"There is no log {log_id!r:.80} here.")
        return head

    @property
    def fault(self) -> str | None:
        """One sentence while the disk refuses, or has used up its reserve, or the file was found damaged; else None."""
        return self._damage or self._fault

    def on_fault(self, callback: Callable[[str | None], None]) -> Callable[[], None]:
        """Call `callback` with each new `fault`, and at once where one stands; returns the un-subscriber."""
        if self.fault is not None:
            callback(self.fault)
        return self._faulted.connect(callback)

    def on_committed(self, callback: Callable[[Mapping[str, int]], None]) -> Callable[[], None]:
        """Call `callback` after every commit that brought records, once it is durable and shown, with the logs that
        grew and the number of records that each has now; returns the un-subscriber."""
        return self._grown.connect(callback)

    def newest(self) -> tuple[Checkpoint, ...]:
        """Size and root of every log, the oldest log first, as they were committed and signed."""
        return tuple(Checkpoint(head.name, head.size, head.frontier.root()) for head in self._heads.values())
