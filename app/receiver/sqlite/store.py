"""The copy in a SQLite file: `CopyStore` over one connection.

Rule: what is derived (leaf hash, id, start) stands beside a record's bytes only to be found by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from app.ledger.sqlite.nodes import StoredNodes
from app.ledger.sqlite.soundness import wrong_index
from app.receiver.errors import EnrolmentError, StoreDamaged
from app.receiver.kept import KeptLog
from app.receiver.parties import Charge, Enrolment, FlatRow, Listed
from app.receiver.rows import CHARGE, ENROLMENT, FLAT, LOG, PROOFS, charge_of, enrolment_of, flat_of, log_of
from app.receiver.sqlite.schema import open_file, told
from app.receiver.sqlite.work import SqliteWork
from app.receiver.store import LogName


class SqliteCopy:
    """Open it in the thread that uses it."""

    kind = "SQLite"

    def __init__(self, path: Path) -> None:
        """Raises StoreFault."""
        self._path = path
        self._connection = open_file(path)

    def close(self) -> None:
        """Let go of the file. Again is harmless."""
        self._connection.close()

    @contextmanager
    def work(self, asked: Mapping[LogName, Sequence[bytes]]) -> Iterator[SqliteWork]:
        """See CopyStore."""
        with self._told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield SqliteWork(self._connection, asked)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except apsw.Error as error:
            raise told(error, self._path) from error
        except (TypeError, ValueError) as error:  # a NULL, a text that is no UTF-8, …
            raise StoreDamaged(
                f"{self._path} holds what this program never wrote ({error}): put back a good copy of it."
            ) from error

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._told():
            return self._connection.execute(query, tuple(values)).fetchall()

    def enrolments(self) -> tuple[Enrolment, ...]:
        """See CopyStore."""
        rows = self._all(f"SELECT {ENROLMENT} FROM enrolment ORDER BY created, id")
        return tuple(map(enrolment_of, rows))

    def enrol(self, enrolment: Enrolment) -> None:
        """See CopyStore."""
        with self._told():
            try:
                self._connection.execute(
                    f"INSERT INTO enrolment ({ENROLMENT}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                    " sha256 = excluded.sha256, vkey = excluded.vkey, removed = excluded.removed",
                    (
                        enrolment.id,
                        enrolment.name,
                        enrolment.sha256,
                        enrolment.vkey,
                        enrolment.created_s,
                        enrolment.removed_s,
                    ),
                )
            except apsw.ConstraintError:
                raise EnrolmentError(f"A gateway called {enrolment.name} is enrolled already.") from None

    def remove(self, enrolment: str, now_s: int) -> None:
        """See CopyStore."""
        self._all("UPDATE enrolment SET removed = ? WHERE id = ? AND removed IS NULL", (now_s, enrolment))

    def logs(self, enrolment: str | None, name: str | None = None) -> tuple[Listed, ...]:
        """See CopyStore."""
        rows = self._all(
            f"SELECT {LOG}, begun, heard, {PROOFS} FROM log"
            " WHERE (?1 IS NULL OR enrolment = ?1) AND (?2 IS NULL OR name = ?2) ORDER BY k",
            (enrolment, name),
        )
        return tuple(Listed(log_of(row[:-3]), *row[-3:]) for row in rows)

    def bodies(self, log: KeptLog, begin: int, limit: int) -> tuple[bytes, ...]:
        """See CopyStore."""
        rows = self._all(
            "SELECT body FROM record WHERE log = ? AND seq >= ? ORDER BY seq LIMIT ?",
            (log.head.k, begin, limit),
        )
        return tuple(row[0] for row in rows)

    def newest(self, enrolment: str | None, log: KeptLog | None, limit: int) -> tuple[bytes, ...]:
        """See CopyStore."""
        if log is not None:
            query = "SELECT body FROM record WHERE log = ? ORDER BY seq DESC LIMIT ?"
            rows = self._all(query, (log.head.k, limit))
        else:
            query = (
                "SELECT body FROM record WHERE ?1 IS NULL OR log IN (SELECT k FROM log WHERE enrolment = ?1)"
                " ORDER BY n DESC LIMIT ?2"
            )
            rows = self._all(query, (enrolment, limit))
        return tuple(row[0] for row in rows)

    def nodes(self, log: KeptLog) -> StoredNodes:
        """See CopyStore."""
        return StoredNodes(self._connection, log.head.k)

    def charges(self, enrolment: str | None, limit: int) -> tuple[Charge, ...]:
        """See CopyStore."""
        rows = self._all(
            f"SELECT {CHARGE} FROM charge WHERE ?1 IS NULL OR enrolment = ?1 ORDER BY n DESC LIMIT ?2",
            (enrolment, limit),
        )
        return tuple(map(charge_of, rows))

    def flat_rows(self, enrolment: str | None, after: int, limit: int) -> list[tuple[int, FlatRow]]:
        """See CopyStore."""
        rows = self._all(
            f"SELECT n, {FLAT} FROM flat WHERE n > ?1 AND (?2 IS NULL OR enrolment = ?2) ORDER BY n LIMIT ?3",
            (after, enrolment, limit),
        )
        return [(n, flat_of(row)) for n, *row in rows]

    def stretch(self, log: KeptLog, begin: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        """See CopyStore."""
        rows = self._all(
            "SELECT seq, leaf, body FROM record WHERE log = ? AND seq >= ? ORDER BY seq LIMIT ?",
            (log.head.k, begin, limit),
        )
        return [(seq, leaf, body) for seq, leaf, body in rows]

    def wrong_index(self) -> str | None:
        """See CopyStore."""
        with self._told():
            return wrong_index(self._connection)
