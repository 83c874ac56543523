"""What can go wrong in the ledger, each in one sentence for people.

Rule: no exception of SQLite, of the file system or of the cryptography library leaves this room untranslated.
"""

from __future__ import annotations


class LedgerError(Exception):
    """Base of everything this room raises on purpose; `str()` is one sentence: what, why, what to do."""


class NotInLog(LedgerError):
    """There is no such log, or no such record or size in it (yet); nothing is wrong with the ledger."""


class KeyNotYetKnown(NotInLog):
    """Whoever has read so little of a log knows no key that vouches for what comes next, before `size` records."""

    def __init__(self, log: str, known: int, asked: int, size: int) -> None:
        super().__init__(
            f"Of {log} the key that signs today is told in a later record, and by the key of before there is no"
            f" checkpoint between {known} and {asked} records: the next one is over {size}."
        )
        self.size = size


class LedgerBusy(LedgerError):
    """Another process owns this ledger."""


class LedgerCorrupt(LedgerError):
    """The file cannot be read as a ledger of this program's."""


class LedgerTampered(LedgerError):
    """The state on disk is not the one last signed; appending to it would sign a forgery."""


WAYS_OUT = (
    "put back your newest copy with `mortdecai-gateway ledger restore FILE`, fetch what that lacks from the client's"
    " receiver with `mortdecai-gateway ledger refill`, or go on without it with `mortdecai-gateway ledger"
    " accept-rollback`"
)
"""What can be done where the newest records are lost; the end of a sentence, without its full stop."""

OUTLIVED = (
    "signed with another key than today's, as a copy from before the signing key passed on is: put back your newest"
    " copy with `mortdecai-gateway ledger restore FILE`, or fetch what this one lacks from the client's receiver with"
    " `mortdecai-gateway ledger refill`; nothing else can go on with it"
)
"""The same of a copy by the key of before."""


class LedgerRollback(LedgerError):
    """The file holds less than, or something else than, what is remembered outside it."""


class TailMissing(LedgerError):
    """Somebody else has newer records of this log than the ledger: nothing may be recorded over the place of these."""


class LedgerClosed(LedgerError):
    """The ledger is closed, or was closed before the operation could be made durable."""


class LedgerFault(LedgerError):
    """The disk takes nothing now: what was asked for waits to be written, and whoever asked need not."""


class Unwritable(LedgerError):
    """The database refuses what an operation would write, whatever else is written with it."""


class DuplicateRecord(Unwritable):
    """A record of this id is already in the ledger (a programming error; nothing was written twice)."""


class RecordError(LedgerError):
    """A draft or a body does not fit the closed schema."""


class CheckpointError(LedgerError):
    """A checkpoint is malformed, or its signature is wrong."""


class UnsignedCheckpoint(CheckpointError):
    """A checkpoint carries no signature of the key asked for."""


class BadProof(LedgerError):
    """A proof file is malformed, or does not prove what it claims."""
