"""Read-only views of the store: pages for the faces, raw bodies and proofs for the client.

Rule 1: nothing here writes; every read is a few short statements on a read-only connection.
Rule 2: the work of a call is bounded, whatever the ledger's size or the search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from app.ledger.errors import LedgerCorrupt, LedgerError
from app.ledger.listing import Page
from app.ledger.merkle import consistency_proof, inclusion_proof
from app.ledger.proofs import Consistency, Inclusion
from app.ledger.sqlite.nodes import StoredNodes
from app.ledger.sqlite.pages import Window
from app.ledger.sqlite.schema import explain, open_reader

PAGE_MAX = 500
ENTRIES_MAX = 1024
_BODIES = (
    "SELECT seq, CASE typeof(body) WHEN 'blob' THEN body END FROM record"
    " WHERE log = ? AND seq >= ? ORDER BY seq LIMIT ?"
)


class Reader:
    """One read-only connection. Not thread-safe; opened with the first call. Every method may raise LedgerError."""

    def __init__(self, path: Path, vfs: str | None = None) -> None:
        self._path = path
        self._vfs = vfs
        self._connection: apsw.Connection | None = None

    def close(self) -> None:
        """Close the connection, if it was ever opened."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _snapshot(self) -> Iterator[apsw.Connection]:
        """All reads inside see one moment of the ledger."""
        if self._connection is None:
            self._connection = open_reader(self._path, self._vfs)
        connection = self._connection
        try:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")
        except UnicodeDecodeError as error:
            raise LedgerCorrupt(explain(apsw.CorruptError(), self._path)) from error
        except apsw.Error as error:
            raise LedgerError(explain(error, self._path)) from error

    def page(
        self,
        before: int | None,
        limit: int,
        log: str | None = None,
        words: Sequence[str] = (),
        since_us: int | None = None,
        until_us: int | None = None,
    ) -> Page:
        """See `Ledger.page`; a record matches where any of `words` (lower case) stands in its listed words."""
        limit = max(1, min(limit, PAGE_MAX))
        with self._snapshot() as connection:
            newest = connection.execute("SELECT coalesce(max(n), 0) FROM record").get
            before = newest + 1 if before is None else min(before, newest + 1)
            k = None if log is None else _log(connection, log)[0]
            window = Window(connection, k, tuple(words), since_us, until_us)
            if len(words) == 1 and (page := window.by_id(words[0], before, limit)):
                return page
            return window.scan(before, limit)

    def entries(self, log: str, from_seq: int, limit: int) -> tuple[bytes, ...]:
        """The exact bytes of up to `limit` (at most ENTRIES_MAX) records of `log`, from `from_seq` upwards."""
        limit = max(0, min(limit, ENTRIES_MAX))
        with self._snapshot() as connection:
            k, _, _ = _log(connection, log)
            rows = connection.execute(
                _BODIES,
                (k, from_seq, limit),
            )
            return tuple(_body(log, seq, body) for seq, body in rows)

    def checkpoint(self, log: str) -> str:
        """The newest signed checkpoint."""
        with self._snapshot() as connection:
            return _log(connection, log)[2]

    def inclusion(self, log: str, seq: int) -> Inclusion:
        """The proof that record `seq` is in the tree of the newest checkpoint."""
        with self._snapshot() as connection:
            k, size, checkpoint = _log(connection, log)
            row = connection.execute(_BODIES, (k, seq, 1)).fetchone()
            if row is None or row[0] != seq or not 0 <= seq < size:
                raise LedgerError(f"The log {log} has no record {seq}; it holds {size}.")
            proof = inclusion_proof(StoredNodes(connection, k), seq, size)
            return Inclusion(log, seq, size, _body(log, *row), tuple(proof), checkpoint)

    def consistency(self, log: str, since: int) -> Consistency:
        """The proof that the newest checkpoint only appended to the first `since` records."""
        with self._snapshot() as connection:
            k, size, checkpoint = _log(connection, log)
            if not 0 < since <= size:
                raise LedgerError(
                    f"The log {log} holds {size} records, so nothing is proven from {since} on."
                )
            proof = consistency_proof(StoredNodes(connection, k), since, size)
            return Consistency(log, since, size, tuple(proof), checkpoint)


def _log(connection: apsw.Connection, log: str) -> tuple[int, int, str]:
    row = connection.execute("SELECT k, size, checkpoint FROM log WHERE name = ?", (log,)).fetchone()
    if row is None:
        raise LedgerError(f"There is no log {log!r:.80} here.")
    return row[0], row[1], row[2]


def _body(log: str, seq: int, body: object) -> bytes:
    if not isinstance(body, bytes):
        raise LedgerCorrupt(f"Record {seq} of {log} is damaged: run the ledger's verification.")
    return body
