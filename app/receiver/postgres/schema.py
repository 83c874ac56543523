"""The receiver's tables in PostgreSQL, their versions, and the months that records are parted by.

Rule 1: no statement that changes the schema stands anywhere else, and whoever changes it holds the advisory lock.
Rule 2: all of it lies in the schema `mortdecai`, so that the database may hold other things too.

Records are parted by the month in which they came: a month is one table, which can be backed up, moved and vacuumed by
itself. One row of `log` is locked for each log while it grows, which is what keeps its records in one order.
"""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg

LOCK = 0x4D475243
"""«MGRC»: the advisory lock of whoever changes the schema."""

_V1 = """
CREATE TABLE enrolment (
    id text PRIMARY KEY,
    name text NOT NULL UNIQUE,
    sha256 bytea NOT NULL UNIQUE,
    vkey text NOT NULL,
    created bigint NOT NULL,
    removed bigint
);
CREATE TABLE log (
    k bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enrolment text NOT NULL REFERENCES enrolment (id),
    name text NOT NULL,
    keys text NOT NULL,
    size bigint NOT NULL,
    cum bigint NOT NULL,
    requests bigint NOT NULL,
    tok_in bigint NOT NULL,
    tok_out bigint NOT NULL,
    dur_us bigint NOT NULL,
    e_uj bigint NOT NULL,
    frontier bytea NOT NULL,
    checkpoint text NOT NULL,
    cosigned bigint NOT NULL,
    begun bigint NOT NULL,
    heard bigint NOT NULL,
    UNIQUE (enrolment, name)
) WITH (fillfactor = 40);
CREATE SEQUENCE record_n;
CREATE TABLE record (
    n bigint NOT NULL DEFAULT nextval('record_n'),
    log bigint NOT NULL,
    seq bigint NOT NULL,
    t0 bigint NOT NULL,
    id bytea NOT NULL,
    kind text NOT NULL,
    received bigint NOT NULL,
    leaf bytea NOT NULL,
    body bytea NOT NULL
) PARTITION BY RANGE (received);
CREATE INDEX record_n_order ON record (n);
CREATE INDEX record_place ON record (log, seq);
CREATE INDEX record_id ON record (log, id);
CREATE TABLE tile (
    log bigint NOT NULL,
    level integer NOT NULL,
    i bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (log, level, i)
);
CREATE TABLE kept (
    log bigint NOT NULL,
    size bigint NOT NULL,
    checkpoint text NOT NULL,
    cosigned bigint NOT NULL,
    PRIMARY KEY (log, size)
);
CREATE TABLE charge (
    n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enrolment text NOT NULL REFERENCES enrolment (id),
    log text NOT NULL,
    at bigint NOT NULL,
    code text NOT NULL,
    sentence text NOT NULL,
    seq bigint,
    proof boolean NOT NULL,
    held_note text NOT NULL,
    held_cosigned bigint NOT NULL,
    held_body bytea NOT NULL,
    shown_note text NOT NULL,
    shown_body bytea NOT NULL
);
CREATE UNIQUE INDEX charge_once ON charge (enrolment, log, code, md5(shown_note));
CREATE TABLE flat (
    n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enrolment text NOT NULL,
    id text NOT NULL,
    received bigint NOT NULL,
    genuine boolean,
    cost bigint NOT NULL,
    body bytea NOT NULL,
    UNIQUE (enrolment, id)
);
"""

MIGRATIONS = (_V1,)
"""The script at index v leads from version v to v + 1; the version is the one row of `version`."""


def migrate(connection: psycopg.Connection[tuple[object, ...]]) -> str | None:
    """Bring the tables to the newest version; a sentence where they are of the future. The connection autocommits."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        connection.execute("CREATE SCHEMA IF NOT EXISTS mortdecai")
        connection.execute("SET search_path TO mortdecai")
        connection.execute("CREATE TABLE IF NOT EXISTS version (version integer NOT NULL)")
        row = connection.execute("SELECT version FROM version").fetchone()
        found = int(str(row[0])) if row else 0
        if found > len(MIGRATIONS):
            return "The database was written by a newer version of this program: update the program."
        for script in MIGRATIONS[found:]:
            connection.execute(script)
        if row is None:
            connection.execute("INSERT INTO version VALUES (%s)", (len(MIGRATIONS),))
        elif found < len(MIGRATIONS):
            connection.execute("UPDATE version SET version = %s", (len(MIGRATIONS),))
    return None


def month_of(at_s: int) -> tuple[int, int]:
    """The year and the month of a time in seconds since the epoch, in UTC."""
    at = datetime.fromtimestamp(at_s, UTC)
    return at.year, at.month


def add_month(connection: psycopg.Connection[tuple[object, ...]], year: int, month: int) -> None:
    """Make the table for the records of a month, where it is not there yet."""
    begin = datetime(year, month, 1, tzinfo=UTC)
    end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS record_{year:04d}_{month:02d} PARTITION OF record"
            f" FOR VALUES FROM ({int(begin.timestamp())}) TO ({int(end.timestamp())})".encode()
        )
