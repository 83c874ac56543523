"""What is held of a log, as one side of a comparison (`ledger.comparing`) and as others may see it.

Rule: it blocks, on a store of the caller's.
"""

from __future__ import annotations

from app.ledger.descent import ShownRecord
from app.ledger.merkle import consistency_proof, inclusion_proof
from app.receiver.kept import KeptLog
from app.receiver.store import CopyStore


def shown_record(store: CopyStore, log: KeptLog, seq: int, size: int) -> ShownRecord:
    """Record `seq` in the tree over the first `size` records (seq < size <= the log's), under the newest checkpoint."""
    (body,) = store.bodies(log, seq, 1)
    nodes = store.nodes(log)
    growth = consistency_proof(nodes, size, log.size) if size < log.size else []
    return ShownRecord(body, tuple(inclusion_proof(nodes, seq, size)), log.head.checkpoint, tuple(growth))


class HeldCopy:
    """A receiver's copy of one log, as far as it was held when it was looked up; `note` is its newest checkpoint with
    our cosignature under it."""

    def __init__(self, store: CopyStore, log: KeptLog, note: str) -> None:
        self._store = store
        self._log = log
        self._note = note

    async def newest(self) -> str:
        """See LogCopy."""
        return self._note

    async def record(self, seq: int, size: int) -> ShownRecord:
        """See LogCopy."""
        return shown_record(self._store, self._log, seq, size)

    async def exhibit(self, seq: int) -> tuple[ShownRecord, int]:
        """See LogCopy."""
        shown = shown_record(self._store, self._log, seq, self._log.size)
        return ShownRecord(shown.leaf, shown.path, self._note), self._log.size
