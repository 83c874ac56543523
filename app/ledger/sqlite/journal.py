"""The writer's own state: the connection, the log heads, and how operations become durable.

Rule 1: one thread uses it. Rule 2: `commit` either makes everything durable and then shows it, or raises and has
changed nothing, so that it can simply be called again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from app.ledger.checkpoint import Checkpoint, Signer, verify_checkpoint
from app.ledger.drafts import UsageDraft
from app.ledger.errors import (
    OUTLIVED,
    WAYS_OUT,
    CheckpointError,
    DuplicateRecord,
    LedgerCorrupt,
    LedgerError,
    LedgerRollback,
    LedgerTampered,
    UnsignedCheckpoint,
    Unwritable,
)
from app.ledger.heads import LogHead, Receipt
from app.ledger.holds import HoldRow
from app.ledger.merkle import Frontier, tree_root
from app.ledger.parties import Parties
from app.ledger.sqlite.binding import bound
from app.ledger.sqlite.nodes import StoredNodes
from app.ledger.sqlite.refill import PutBack
from app.ledger.sqlite.rotation import KEEP
from app.ledger.sqlite.rows import stored_holds, stored_parties
from app.ledger.sqlite.schema import SPAN_RECORDS, open_writer
from app.ledger.sqlite.soundness import quick_check
from app.ledger.sqlite.transaction import NO_TIMES, Append, DropHold, Transaction, Write

logger = logging.getLogger(__name__)
RECOVER_AT_ONCE = 256
CHECK_AT_ONCE_B = 16 << 20
"""A larger file is checked beside the work that goes on: see `Ledger`."""
UNWRITABLE = (
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.TooBigError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What SQLite and its binding say to values that no retry will make acceptable."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What one commit brought: each operation with its result (or the exception that it alone met), and the new
    state of what it changed. `parties` is None where nobody came or went."""

    outcomes: list[tuple[Write, object]]
    heads: dict[str, LogHead]
    parties: Parties | None


class Journal:
    """Opens the ledger's file for writing, and writes. Not thread-safe."""

    def __init__(
        self,
        path: Path,
        signer: Signer,
        vfs: str | None = None,
        remembered: Sequence[Checkpoint] = (),
        *,
        refilling: bool = False,
    ) -> None:
        """`refilling`: another key may have signed last, since nothing is taken but what is put back.

        Raises LedgerBusy, LedgerCorrupt, LedgerTampered, LedgerRollback or LedgerError."""
        self._signer = signer
        self._refilling = refilling
        self._last_words: dict[str, LogHead] = {}
        """Logs as an earlier key signed them last: a receiver that has read no further knows no later key."""
        if remembered and not (path.exists() and path.stat().st_size):
            what = "empty" if path.exists() else "gone"
            raise LedgerRollback(
                f"ROLLBACK: {path} is {what}, and this profile's vault remembers {len(remembered)} logs in it:"
                f" {WAYS_OUT}."
            )
        self._connection = open_writer(path, vfs)
        try:
            if path.stat().st_size <= CHECK_AT_ONCE_B:
                quick_check(self._connection, path)
            self.parties = stored_parties(self._connection)
            self.held = {hold.request_id for hold in stored_holds(self._connection)}
            self.heads = self._signed_heads(path, remembered)
            self.parties = bound(self._connection, path, self.heads, self.parties)
            self._n: int = self._connection.execute("SELECT coalesce(max(n), 0) FROM record").get
            self._t0_min, self._t0_max = self._times()
            for claim in remembered:
                self._require_remembered(path, claim)
        except (
            apsw.Error,
            AttributeError,
            TypeError,
            ValueError,
        ) as error:  # a NULL, a text that is no UTF-8, …
            self._connection.close()
            raise LedgerCorrupt(
                f"{path} is damaged ({error}): put back a good copy of it, or see where with `mortdecai-gateway ledger"
                " verify`."
            ) from error
        except BaseException:
            self._connection.close()
            raise

    def _signed_heads(self, path: Path, remembered: Sequence[Checkpoint]) -> dict[str, LogHead]:
        """Each log as it was signed last. Raises LedgerTampered where the rows say something else."""
        sizes = {claim.origin: claim.size for claim in remembered}
        heads: dict[str, LogHead] = {}
        rows = self._connection.execute(
            "SELECT k, name, frontier, size, (SELECT max(seq) + 1 FROM record WHERE record.log = log.k),"
            " cum, terms, checkpoint, requests, tok_in, tok_out, dur_us, e_uj FROM log ORDER BY k"
        )
        for k, name, frontier, size, records, *counted in rows:
            try:
                head = LogHead(k, name, Frontier.from_bytes(frontier))
            except ValueError as error:
                raise LedgerTampered(_tampered(path, name, str(error))) from None
            head.cum, head.terms, head.checkpoint, *sums = counted
            head.requests, head.tok_in, head.tok_out, head.dur_us, head.e_uj = sums
            self._require_signed(path, head, sizes.get(name, 0))
            if not records == size == head.frontier.size:
                raise LedgerTampered(
                    _tampered(path, name, f"of {head.frontier.size} signed records it holds {records}")
                )
            heads[name] = head
        return heads

    def _times(self) -> tuple[int, int]:
        """The earliest and the latest beginning in the span that is not full yet."""
        unfinished = self._n - self._n % SPAN_RECORDS
        first, last = self._connection.execute(
            "SELECT min(t0), max(t0) FROM record WHERE n > ?", (unfinished,)
        ).get
        return NO_TIMES if first is None else (first, last)

    def _require_signed(self, path: Path, head: LogHead, remembered: int) -> None:
        """Never sign on top of a state that is not the one signed last: that would launder a forgery."""
        size = head.frontier.size
        try:
            claim = verify_checkpoint(head.checkpoint, self._signer.verifier, head.name)
        except UnsignedCheckpoint:
            if self._refilling:
                # Whoever puts records back has proven that these lead to what today's key has signed.
                self._last_words[head.name] = head
                return
            if size < remembered:
                raise LedgerRollback(
                    f"ROLLBACK: {path} is an older copy, with {size} of the {remembered} records of {head.name} that"
                    f" this profile's vault remembers, {OUTLIVED}."
                ) from None
            raise LedgerTampered(
                f"The log {head.name} in {path} was signed with another key than {self._signer.name}'s of today:"
                " start with the vault that holds its key, or begin a new profile."
            ) from None
        except CheckpointError as error:
            raise LedgerTampered(_tampered(path, head.name, str(error))) from None
        if claim.size != size or claim.root != head.frontier.root():
            raise LedgerTampered(_tampered(path, head.name, "its newest checkpoint is of another state"))

    def _require_remembered(self, path: Path, claim: Checkpoint) -> None:
        """Never sign on top of a state that is older than the newest one either: that would fork the log."""
        head = self.heads.get(claim.origin)
        size = 0 if head is None else head.size
        if head is None or size < claim.size:
            raise LedgerRollback(
                f"ROLLBACK: {path} is an older copy, with {size} of the {claim.size} records of {claim.origin} that"
                f" this profile's vault remembers: {WAYS_OUT}."
            )
        if size == claim.size:
            root = head.frontier.root()
        else:
            root = tree_root(StoredNodes(self._connection, head.k), claim.size)
        if root != claim.root:
            raise LedgerRollback(
                f"ROLLBACK: {path} is another ledger, for the first {claim.size} records of {claim.origin} are not"
                f" those that this profile's vault remembers: {WAYS_OUT}."
            )

    def recover(self, waived: Collection[str] = ()) -> tuple[UsageDraft, ...]:
        """Record every request that a crash cut off, each in the very commit that ends its hold; those whose ids are
        `waived` cost nothing."""
        recovered: list[UsageDraft] = []
        holds = stored_holds(self._connection)
        for at in range(0, len(holds), RECOVER_AT_ONCE):
            part = holds[at : at + RECOVER_AT_ONCE]
            try:
                recovered += self._recover(part, waived)
            except Unwritable:
                recovered += [draft for hold in part for draft in self._recover_one(hold, waived)]
        return tuple(recovered)

    def _recover(self, holds: Sequence[HoldRow], waived: Collection[str]) -> list[UsageDraft]:
        drafts = [hold.crash_record(waived=hold.request_id in waived) for hold in holds]
        ends = [Append(hold.log, draft, draft.id, None) for hold, draft in zip(holds, drafts, strict=True)]
        recovered = []
        for draft, (_, outcome) in zip(drafts, self.commit(ends).outcomes, strict=True):
            if isinstance(outcome, Exception):
                logger.error("The hold of %s cannot be recorded: %s", draft.id, outcome)
            else:
                recovered.append(draft)
        return recovered

    def _recover_one(self, hold: HoldRow, waived: Collection[str]) -> list[UsageDraft]:
        try:
            return self._recover([hold], waived)
        except DuplicateRecord:
            self.commit([DropHold(hold.request_id, None)])  # it was settled; only the row was left over
        except Unwritable as error:
            logger.error("The hold of %s cannot be recorded: %s", hold.request_id, error)
        return []

    def commit(self, operations: Sequence[Write]) -> Committed:
        """Make all of it durable. What cannot even be planned fails alone, in its outcome.

        Raises apsw.Error where SQLite could not write for now, and Unwritable where it never will because of one of
        the operations (DuplicateRecord where an id is there already). Either way nothing has changed.
        """
        transaction = Transaction(self.heads, self.parties, self.held, self._n, self._t0_min, self._t0_max)
        transaction.refilling = self._refilling
        outcomes: list[tuple[Write, Any]] = []
        for operation in operations:
            try:
                if self._refilling and not isinstance(operation, PutBack):
                    raise LedgerError("Nothing is recorded while what was lost is put back.")
                outcomes.append((operation, operation.plan(transaction)))
            except Exception as error:  # noqa: BLE001  (a draft that breaks anything at all fails alone)
                outcomes.append((operation, error))
        signer = transaction.signer or self._signer
        transaction.sign(signer)
        for name in self._last_words.keys() & transaction.touched.keys():
            last = self._last_words[name]
            transaction.statements.append((KEEP, (last.k, last.frontier.size, last.checkpoint)))
        try:
            transaction.write(self._connection)
        except UNWRITABLE as error:
            if "record.id" in str(error):
                raise DuplicateRecord("A record of this id is in the ledger already.") from error
            raise Unwritable(f"The database refuses this ({error}): nothing of it was written.") from error
        self._signer = signer
        touched = transaction.touched
        for name in touched:
            self._last_words.pop(name, None)
        self.heads.update(touched)
        self._n, self._t0_min, self._t0_max = transaction.n, transaction.t0_min, transaction.t0_max
        if transaction.hold_puts or transaction.hold_drops:
            self.held.update(transaction.hold_puts)
            self.held.difference_update(transaction.hold_drops)
        for at, (operation, result) in enumerate(outcomes):
            if result.__class__ is tuple:  # a Place
                name, seq, cum = result
                outcomes[at] = operation, Receipt(name, seq, cum, touched[name].frontier.size)
        changed = transaction.parties is not self.parties
        self.parties = transaction.parties
        return Committed(outcomes, touched, self.parties if changed else None)

    def checkpoint_wal(self, *, truncate: bool = False) -> None:
        """Move what the write-ahead log holds into the file; readers that are in its way do no harm."""
        mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if truncate else apsw.SQLITE_CHECKPOINT_PASSIVE
        try:
            self._connection.wal_checkpoint(mode=mode)
        except apsw.BusyError:
            logger.debug("The write-ahead log is being read; it is moved another time.")

    def close(self) -> None:
        """Empty the write-ahead log and close the file."""
        try:
            self.checkpoint_wal(truncate=True)
        finally:
            self._connection.close()


def _tampered(path: Path, name: str, why: str) -> str:
    return (
        f"The log {name} in {path} is not as it was signed ({why}): somebody changed the file;"
        " run the ledger's verification to see where, and put back a good copy."
    )
