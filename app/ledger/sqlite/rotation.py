"""Passing the signing key on: one record in every log, all in one commit, which the new key signs.

Rule: from that commit on the old key signs nothing; whoever has it can neither go on with a log nor begin one.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from pathlib import Path

import apsw

from app.ledger.checkpoint import Signer, verify_checkpoint
from app.ledger.errors import CheckpointError, LedgerError
from app.ledger.signing_keys import passed_on
from app.ledger.sqlite.schema import open_reader
from app.ledger.sqlite.transaction import Transaction


class RotateKey:
    """Hand every log over from `old` to `new`."""

    __slots__ = ("at_us", "future", "new", "new_id", "old")

    def __init__(
        self, old: Signer, new: Signer, at_us: int, new_id: Callable[[], str], future: Future[None]
    ) -> None:
        self.old = old
        self.new = new
        self.at_us = at_us
        self.new_id = new_id
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        if self.new.name != self.old.name or self.new.vkey == self.old.vkey or transaction.signer is not None:
            raise LedgerError("The new signing key must be another one, under the same name.")
        for log in transaction.logs:
            seq = transaction.head(log).size
            transaction.append(log, passed_on(self.new_id(), self.at_us, log, seq, self.old, self.new))
        transaction.signer = self.new
        return None


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
