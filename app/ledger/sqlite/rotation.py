"""Passing the signing key on: one record in every log, all in one commit, which the new key signs.

Rule 1: from that commit on the old key signs nothing; whoever has it can neither go on with a log nor begin one.
Rule 2: what it signs last stays: a receiver that has read only the beginning of a log knows no later key, and believes
these checkpoints until it has come to the record that tells it of the next one.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path

import apsw

from app.ledger.checkpoint import Signer, parse_checkpoint, verify_checkpoint
from app.ledger.delivery import DeliveryWay
from app.ledger.errors import CheckpointError, LedgerError
from app.ledger.signing_keys import passed_on
from app.ledger.sqlite.reader import Reader
from app.ledger.sqlite.schema import open_reader
from app.ledger.sqlite.transaction import Transaction

SIGNED_EVERY = 256
"""So many records lie between two of the checkpoints that stay: one push holds more."""
NEAR_EVERY = 8
"""So few where they are still to be delivered: a receiver may take less at once than one push holds."""
NEAR_MOST = 4096
"""At most so many of these, a second's work: where more is to be delivered they lie further apart."""

KEEP = "INSERT OR IGNORE INTO kept (log, size, checkpoint) VALUES (?, ?, ?)"


class RotateKey:
    """Hand every log over from `old` to `new`; `reader` is one of the ledger's, for the writer's thread alone."""

    __slots__ = ("at_us", "future", "new", "new_id", "old", "reader")

    def __init__(
        self,
        old: Signer,
        new: Signer,
        at_us: int,
        new_id: Callable[[], str],
        reader: Reader,
        future: Future[None] | None,
    ) -> None:
        self.old = old
        self.new = new
        self.at_us = at_us
        self.new_id = new_id
        self.reader = reader
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        if self.new.name != self.old.name or self.new.vkey == self.old.vkey or transaction.signer is not None:
            raise LedgerError("The new signing key must be another one, under the same name.")
        try:
            for log in transaction.logs:
                head = transaction.head(log)
                seq = head.size
                for size, note in self._last_words(transaction, log):
                    transaction.statements.append((KEEP, (head.k, size, note)))
                transaction.append(log, passed_on(self.new_id(), self.at_us, log, seq, self.old, self.new))
        finally:
            self.reader.close()
        transaction.signer = self.new
        return None

    def _last_words(self, transaction: Transaction, log: str) -> Iterator[tuple[int, str]]:
        """Checkpoints of the old key: every SIGNED_EVERY records, more of them where a receiver has not been, and one
        over all that it ever signs."""
        head = transaction.head(log)
        if log not in transaction.new_logs:
            end = parse_checkpoint(self.reader.checkpoint(log))[0].size
            sizes = {*range(SIGNED_EVERY, end, SIGNED_EVERY), *self._undelivered(log, end)}
            for size in sorted(sizes):
                yield size, self.reader.checkpoint(log, size)
        yield head.size, self.old.sign_checkpoint(log, head.size, head.frontier.root())

    def _undelivered(self, log: str, end: int) -> range:
        """Sizes between what the log's receiver has and the `end`. What lies before the old key's own time is not for
        it to vouch for: who has read no further does not know it."""
        acked = [
            row.standing.acked
            for row in self.reader.deliveries()
            if row.log == log and row.way is DeliveryWay.LEDGER
        ]
        if not acked:
            return range(0)
        begin = max(min(acked), self.reader.passed_on_at(log))
        every = max(NEAR_EVERY, ceil((end - begin) / NEAR_MOST))
        return range(begin + every, end, every)


def signed_by(path: Path, *candidates: Signer) -> Signer:
    """Which of `candidates` signed the ledger at `path` last; the first of them where none did, or there is no ledger.

    All logs are signed anew when the key passes on, so any of them tells.
    """
    try:
        connection = open_reader(path)
    except LedgerError:
        return candidates[0]
    try:
        note = connection.execute("SELECT checkpoint FROM log ORDER BY k LIMIT 1").get
    except (apsw.Error, UnicodeDecodeError):
        return candidates[0]
    finally:
        connection.close()
    for signer in candidates:
        try:
            verify_checkpoint(str(note), signer.verifier)
        except CheckpointError:
            continue
        return signer
    return candidates[0]
