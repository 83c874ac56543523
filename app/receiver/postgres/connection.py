"""One connection to PostgreSQL that comes back: opened when it is needed, dropped when it fails.

Rule 1: foreign errors end here, as StoreFaults with one sentence, in which no password stands. Rule 2: what failed is
not tried again here; whoever asked knows whether it may be.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from app.receiver.errors import StoreAway, StoreContended, StoreDamaged, StoreFault, StoreFull
from app.receiver.postgres.schema import migrate

log = logging.getLogger(__name__)

CONNECT_S = 5
_SESSION = (
    "SET search_path TO mortdecai",
    # A commit is on the disk before it returns, whatever the server's default, and the cosignature leaves only then.
    "SET synchronous_commit TO on",
    "SET statement_timeout TO '20s'",
    "SET lock_timeout TO '5s'",
    "SET idle_in_transaction_session_timeout TO '60s'",
    "SET jit TO off",
    # Every query of ours has an index to go by; a plan made while a table was empty must not scan it when it is large.
    "SET enable_seqscan TO off",
    "SET enable_hashjoin TO off",
    "SET enable_mergejoin TO off",
)

Rows = psycopg.Connection[tuple[Any, ...]]


class PostgresConnection:
    """Not thread-safe."""

    def __init__(self, url: str) -> None:
        """Opens nothing yet. StoreFault where `url` cannot be read."""
        self._url = url
        self._connection: Rows | None = None
        self._migrated = False
        try:
            parts = conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            raise StoreFault(
                "The address of the database cannot be read: write it as postgresql://user@host/name."
            ) from None
        host = parts.get("host") or parts.get("hostaddr") or "this machine"
        self.place = f"the PostgreSQL database {parts.get('dbname') or parts.get('user') or ''} on {host}"
        """What to call it in a sentence."""

    def close(self) -> None:
        """Drop the connection. Again is harmless."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    @contextmanager
    def use(self) -> Iterator[Rows]:
        """The connection, opened where it is not; what fails is told, and drops it where it may be broken."""
        try:
            yield self._open()
        except psycopg.Error as error:
            if self._connection is not None and (
                self._connection.closed
                or self._connection.broken
                or isinstance(error, psycopg.OperationalError)
            ):
                self.close()
            raise self.told(error) from error

    def _open(self) -> Rows:
        connection = self._connection
        if connection is not None:
            return connection
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_S,
            application_name="mortdecai-receiver",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=20_000,
        )
        self._connection = connection
        if not self._migrated:
            newer = migrate(connection)
            if newer is not None:
                self.close()
                raise StoreDamaged(newer)
            self._migrated = True
        for statement in _SESSION:
            connection.execute(statement.encode())
        return connection

    def told(self, error: psycopg.Error) -> StoreFault:
        """What a failed statement means, in one sentence for people."""
        match error:
            case errors.DiskFull():
                return StoreFull(f"The disk of {self.place} is full: free some space; gateways send again.")
            case errors.UniqueViolation() | errors.SerializationFailure() | errors.DeadlockDetected():
                return StoreContended(
                    f"Another receiver changed the same in {self.place}: it is tried again."
                )
            case errors.LockNotAvailable() | errors.QueryCanceled():
                return StoreAway(f"The answer of {self.place} took too long: it is tried again.")
            case errors.InsufficientPrivilege():
                return StoreFault(
                    f"The user may not write in {self.place}: grant it the rights on the database."
                )
            case errors.ReadOnlySqlTransaction():
                return StoreAway(f"Nothing may be written in {self.place}: it is a standby.")
            case psycopg.OperationalError() if _refused(error):
                return StoreFault(
                    f"No such database, user or password is known at {self.place}: correct its address."
                )
            case psycopg.OperationalError():
                return StoreAway(
                    f"There is no answer from {self.place}: gateways send again when it is back."
                )
            case psycopg.DataError():
                return StoreDamaged(
                    f"What is in {self.place} is none that this program wrote ({type(error).__name__})."
                )
            case _:
                return StoreFault(f"A statement failed in {self.place} ({type(error).__name__}).")


def _refused(error: psycopg.OperationalError) -> bool:
    """Whether a server was there and let us not in; it is only told in words, and those of a crash are others."""
    return error.sqlstate is None and any(
        words in str(error) for words in ("does not exist", "authentication failed", "no pg_hba.conf entry")
    )
