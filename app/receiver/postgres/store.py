"""The copy in PostgreSQL: `CopyStore` over one connection that comes back when the server does.

Rule: reads are tried a second time on a fresh connection; writing is tried again by whoever knows that it may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg

from app.receiver.errors import EnrolmentError, StoreAway, StoreDamaged
from app.receiver.kept import KeptLog
from app.receiver.parties import Charge, Enrolment, FlatRow, Listed
from app.receiver.postgres.connection import PostgresConnection, Rows
from app.receiver.postgres.indices import wrong_index
from app.receiver.postgres.schema import add_month, month_of
from app.receiver.postgres.work import PostgresNodes, PostgresWork
from app.receiver.rows import CHARGE, ENROLMENT, FLAT, LOG, PROOFS, charge_of, enrolment_of, flat_of, log_of
from app.receiver.store import LogName

T = TypeVar("T")


class PostgresCopy:
    """Open it in the thread that uses it."""

    kind = "PostgreSQL"

    def __init__(self, url: str, now_s: Callable[[], int]) -> None:
        """Raises StoreFault where the database cannot be used now."""
        self._database = PostgresConnection(url)
        self._now_s = now_s
        self._months: set[tuple[int, int]] = set()
        with self._database.use():
            pass

    def close(self) -> None:
        """Let go of the connection. Again is harmless."""
        self._database.close()

    @contextmanager
    def work(self, asked: Mapping[LogName, Sequence[bytes]]) -> Iterator[PostgresWork]:
        """See CopyStore."""
        with self._database.use() as connection:
            self._prepare_months(connection)
            with connection.transaction():
                work = PostgresWork(connection, asked)
                yield work
                work.flush()

    def _prepare_months(self, connection: Rows) -> None:
        """The tables for this month and for tomorrow's."""
        for at_s in (self._now_s(), self._now_s() + 86_400):
            month = month_of(at_s)
            if month not in self._months:
                add_month(connection, *month)
                self._months.add(month)

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        try:
            return self._rows(query, values)
        except StoreAway:
            return self._rows(query, values)

    def _rows(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._database.use() as connection:
            return connection.execute(query.encode(), values, binary=True).fetchall()

    def enrolments(self) -> tuple[Enrolment, ...]:
        """See CopyStore."""
        rows = self._read(f"SELECT {ENROLMENT} FROM enrolment ORDER BY created, id")
        return tuple(map(enrolment_of, rows))

    def enrol(self, enrolment: Enrolment) -> None:
        """See CopyStore."""
        with self._database.use() as connection:
            try:
                connection.execute(
                    f"INSERT INTO enrolment ({ENROLMENT}) VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE"
                    " SET sha256 = excluded.sha256, vkey = excluded.vkey, removed = excluded.removed",
                    (
                        enrolment.id,
                        enrolment.name,
                        enrolment.sha256,
                        enrolment.vkey,
                        enrolment.created_s,
                        enrolment.removed_s,
                    ),
                )
            except psycopg.errors.UniqueViolation:
                raise EnrolmentError(f"A gateway called {enrolment.name} is enrolled already.") from None

    def remove(self, enrolment: str, now_s: int) -> None:
        """See CopyStore."""
        with self._database.use() as connection:
            query = "UPDATE enrolment SET removed = %s WHERE id = %s AND removed IS NULL"
            connection.execute(query, (now_s, enrolment))

    def logs(self, enrolment: str | None, name: str | None = None) -> tuple[Listed, ...]:
        """See CopyStore."""
        rows = self._read(
            f"SELECT {LOG}, begun, heard, {PROOFS} FROM log"
            " WHERE (%s::text IS NULL OR enrolment = %s) AND (%s::text IS NULL OR name = %s) ORDER BY k",
            (enrolment, enrolment, name, name),
        )
        try:
            return tuple(Listed(log_of(row[:-3]), *row[-3:]) for row in rows)
        except ValueError as error:
            raise StoreDamaged(f"A log in {self._database.place} is damaged ({error}).") from None

    def bodies(self, log: KeptLog, begin: int, limit: int) -> tuple[bytes, ...]:
        """See CopyStore."""
        rows = self._read(
            "SELECT body FROM record WHERE log = %s AND seq >= %s ORDER BY seq LIMIT %s",
            (log.head.k, begin, limit),
        )
        return tuple(row[0] for row in rows)

    def newest(self, enrolment: str | None, log: KeptLog | None, limit: int) -> tuple[bytes, ...]:
        """See CopyStore."""
        if log is not None:
            query = "SELECT body FROM record WHERE log = %s ORDER BY seq DESC LIMIT %s"
            rows = self._read(query, (log.head.k, limit))
        elif enrolment is None:
            rows = self._read("SELECT body FROM record ORDER BY n DESC LIMIT %s", (limit,))
        else:
            rows = self._read(
                "SELECT newest.body FROM log CROSS JOIN LATERAL"
                " (SELECT n, body FROM record WHERE record.log = log.k ORDER BY seq DESC LIMIT %s) AS newest"
                " WHERE log.enrolment = %s ORDER BY newest.n DESC LIMIT %s",
                (limit, enrolment, limit),
            )
        return tuple(row[0] for row in rows)

    def nodes(self, log: KeptLog) -> PostgresNodes:
        """See CopyStore."""
        return PostgresNodes(self._read, log.head.k)

    def charges(self, enrolment: str | None, limit: int) -> tuple[Charge, ...]:
        """See CopyStore."""
        rows = self._read(
            f"SELECT {CHARGE} FROM charge WHERE %s::text IS NULL OR enrolment = %s ORDER BY n DESC LIMIT %s",
            (enrolment, enrolment, limit),
        )
        return tuple(map(charge_of, rows))

    def flat_rows(self, enrolment: str | None, after: int, limit: int) -> list[tuple[int, FlatRow]]:
        """See CopyStore."""
        rows = self._read(
            f"SELECT n, {FLAT} FROM flat WHERE n > %s AND (%s::text IS NULL OR enrolment = %s) ORDER BY n LIMIT %s",
            (after, enrolment, enrolment, limit),
        )
        return [(n, flat_of(row)) for n, *row in rows]

    def stretch(self, log: KeptLog, begin: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        """See CopyStore."""
        rows = self._read(
            "SELECT seq, leaf, body FROM record WHERE log = %s AND seq >= %s ORDER BY seq LIMIT %s",
            (log.head.k, begin, limit),
        )
        return [(seq, leaf, body) for seq, leaf, body in rows]

    def wrong_index(self) -> str | None:
        """See CopyStore; the database's extension amcheck says it."""
        with self._database.use() as connection:
            return wrong_index(connection)
