"""The SQLite file: its tables, its versions, how it is opened and whose it is.

Rule 1: no statement that changes the schema stands anywhere else.
Rule 2: one process owns a ledger; within it one connection writes, and every other one is read-only.

A record's row holds its exact bytes (`body`), and beside them only what can be derived from these bytes: the leaf
hash, the words it is found by (`find`), start time and id. The audit compares them all. `record.n` counts the
records of the whole file from 1, in the order of commits; `seq` counts within one log from 0 and is the index of the
Merkle leaf.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

import apsw

from app.ledger.errors import LedgerBusy, LedgerCorrupt, LedgerError

APPLICATION_ID = 0x4D474C47
"""«MGLG»: says that a SQLite file is a ledger of this gateway."""
LEDGER_FILE = "ledger.sqlite3"
"""Its name in a profile's data folder."""
SPAN_RECORDS = 1024
"""So many records (by `n`) share one row of `span`."""
KEPT_EVERY = 4096
"""A log keeps, besides its newest checkpoint, the first one after every so many records."""

_V1 = """
CREATE TABLE log (
    k INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    cum INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    tok_in INTEGER NOT NULL,
    tok_out INTEGER NOT NULL,
    dur_us INTEGER NOT NULL,
    e_uj INTEGER NOT NULL,
    terms TEXT NOT NULL,
    checkpoint TEXT NOT NULL,
    frontier BLOB NOT NULL
) STRICT;
CREATE TABLE record (
    n INTEGER PRIMARY KEY,
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    t0 INTEGER NOT NULL,
    id BLOB NOT NULL,
    find TEXT NOT NULL,
    leaf BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX record_place ON record (log, seq);
CREATE UNIQUE INDEX record_id ON record (id);
CREATE TABLE tile (
    log INTEGER NOT NULL,
    level INTEGER NOT NULL,
    i INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (log, level, i)
) STRICT, WITHOUT ROWID;
CREATE TABLE kept (
    log INTEGER NOT NULL,
    size INTEGER NOT NULL,
    checkpoint TEXT NOT NULL,
    PRIMARY KEY (log, size)
) STRICT, WITHOUT ROWID;
CREATE TABLE span (
    block INTEGER PRIMARY KEY,
    t0_min INTEGER NOT NULL,
    t0_max INTEGER NOT NULL
) STRICT;
CREATE TABLE hold (
    request_id TEXT PRIMARY KEY,
    log TEXT NOT NULL,
    key TEXT NOT NULL,
    model TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    tariff TEXT NOT NULL,
    t0 INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    e_uj INTEGER NOT NULL,
    cost INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE client (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    log TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE key (
    id TEXT PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,
    label TEXT NOT NULL,
    role TEXT NOT NULL,
    client TEXT REFERENCES client (id),
    created INTEGER NOT NULL,
    revoked INTEGER
) STRICT, WITHOUT ROWID;
"""

_V2 = "ALTER TABLE key ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';"

_V3 = """
CREATE TABLE delivery (
    log TEXT NOT NULL,
    way TEXT NOT NULL,
    url TEXT NOT NULL,
    vkey TEXT NOT NULL,
    acked INTEGER NOT NULL,
    acked_us INTEGER NOT NULL,
    since_us INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    next_us INTEGER NOT NULL,
    trouble TEXT NOT NULL,
    said TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (log, way)
) STRICT, WITHOUT ROWID;
"""

_V4 = "CREATE INDEX record_key ON record (log, seq) WHERE substr(find, -4) = char(10) || 'key';"

_V5 = "CREATE INDEX record_labor ON record (log, seq) WHERE substr(find, -6) = char(10) || 'labor';"

_T1 = "CAST(CAST(substr(body, nullif(instr(body, X'227431223a'), 0) + 5, 20) AS TEXT) AS INTEGER)"
QUARTER = f"coalesce({_T1}, t0) / 900000000"
"""The quarter of an hour (see `basics.quarters`) of the number behind `"t1":`, which no text in a record can hold."""
KEY_OF = "CASE substr(find, -6) WHEN char(10) || 'usage' THEN substr(find, 1, instr(find, char(10)) - 1) END"
COST_OF = "CAST(CAST(substr(body, 10, 21) AS TEXT) AS INTEGER)"
"""Records that cost something begin with `{"cost":"`; of all others this is 0."""
_V6 = f"CREATE INDEX record_spent ON record ({QUARTER}, log, {KEY_OF}, {COST_OF});"
# Plain functions of text, and not those of JSON: they are quick, and of a damaged body they make something as well.

LIMITS_SINCE = 2
"""The version from which on keys have limits."""
MIGRATIONS = (_V1, _V2, _V3, _V4, _V5, _V6)
"""The script at index v leads from version v to v + 1; the version is `PRAGMA user_version`."""


def stored_layout(connection: apsw.Connection) -> dict[str, tuple[str, str]]:
    """Name → kind (table, index, trigger, view) and statement of everything in the file but SQLite's own."""
    rows = connection.execute(
        "SELECT name, type, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'"
    )
    return {name: (kind, sql) for name, kind, sql in rows}


def layout(version: int) -> dict[str, tuple[str, str]]:
    """What `stored_layout` says of an untouched file of that version."""
    connection = apsw.Connection(":memory:")
    try:
        for script in MIGRATIONS[:version]:
            connection.execute(script)
        return stored_layout(connection)
    finally:
        connection.close()


def explain(error: BaseException, path: Path) -> str:
    """What a failed read or write means, in one sentence for people."""
    match error:
        case apsw.FullError():
            return f"The disk that holds {path} is full: free some space; nothing is lost, and work goes on by itself."
        case apsw.BusyError() | apsw.LockedError():
            return (
                f"Another program has locked {path}: close it (a database browser?); work goes on by itself."
            )
        case apsw.CorruptError() | apsw.NotADBError():
            return f"{path} is damaged: stop, put back a good copy of it and run the ledger's verification."
        case apsw.ReadOnlyError() | apsw.CantOpenError() | apsw.PermissionsError() | PermissionError():
            return f"{path} cannot be written: check the rights on the file and its folder."
        case _:
            return f"The disk that holds {path} failed ({error}): check the disk; the write is tried again."


def _create_private(path: Path) -> None:
    """Make the file with mode 0600; SQLite gives its companions (-wal, -shm) the same."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise LedgerError(explain(error, path)) from error


class Ownership:
    """Keeps every other process out of a ledger for as long as it lives; the system lifts it if we die.

    The lock is an exclusive transaction on an empty SQLite file beside the ledger, which works alike on all systems.
    """

    def __init__(self, path: Path, *, patience_ms: int = 1500) -> None:
        """Take the lock; LedgerBusy where another process (or another Ledger of this one) keeps it."""
        lock = path.with_name(path.name + ".lock")
        _create_private(lock)
        self._connection = apsw.Connection(str(lock))
        try:
            self._connection.set_busy_timeout(patience_ms)
            self._connection.execute("PRAGMA journal_mode = OFF")  # nothing is ever written
            self._connection.execute("BEGIN EXCLUSIVE")
        except apsw.Error as error:
            self._connection.close()
            if isinstance(error, apsw.BusyError):
                raise LedgerBusy(
                    f"Another gateway has {path} open: stop it, or use another profile."
                ) from None
            raise LedgerError(explain(error, lock)) from error

    def release(self) -> None:
        """Let the next one in."""
        self._connection.close()

    def __enter__(self) -> Ownership:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.release()


def open_writer(path: Path, vfs: str | None = None) -> apsw.Connection:
    """The one connection that writes, at the newest schema version; LedgerBusy, LedgerCorrupt or LedgerError."""
    _create_private(path)
    try:
        connection = apsw.Connection(str(path), vfs=vfs, statementcachesize=256)
    except apsw.Error as error:
        raise LedgerError(explain(error, path)) from error
    try:
        connection.set_busy_timeout(500)
        _require_ours(connection, path)
        # FULL: a commit is on the disk before it returns. fullfsync says the same to macOS.
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "fullfsync = ON",
            "wal_autocheckpoint = 0",  # the writer checkpoints between commits, not within one
            "journal_size_limit = 16777216",
            "cache_size = -8192",
            "trusted_schema = OFF",
        ):
            connection.execute("PRAGMA " + pragma)
        _migrate(connection)
    except apsw.Error as error:
        connection.close()
        raise _translated(error, path) from error
    except LedgerError:
        connection.close()
        raise
    return connection


def open_reader(path: Path, vfs: str | None = None) -> apsw.Connection:
    """A read-only connection; LedgerCorrupt or LedgerError where `path` is no ledger."""
    try:
        connection = apsw.Connection(
            str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs, statementcachesize=64
        )
    except apsw.Error as error:
        raise LedgerError(
            f"{path} cannot be opened ({error}): check that it exists and may be read."
        ) from error
    try:
        connection.set_busy_timeout(2000)
        if not _require_ours(connection, path):
            raise LedgerCorrupt(f"{path} is empty: it holds no ledger yet.")
        connection.execute("PRAGMA trusted_schema = OFF")
    except apsw.Error as error:
        connection.close()
        raise _translated(error, path) from error
    except LedgerError:
        connection.close()
        raise
    return connection


def _translated(error: apsw.Error, path: Path) -> LedgerError:
    kind: type[LedgerError] = LedgerError
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        kind = LedgerBusy
    elif isinstance(error, apsw.CorruptError | apsw.NotADBError):
        kind = LedgerCorrupt
    return kind(explain(error, path))


def _require_ours(connection: apsw.Connection, path: Path) -> bool:
    """False for an empty database; LedgerCorrupt for a foreign one, LedgerError for one of the future."""
    application, version, objects = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_application_id, pragma_user_version"
    ).get
    if not objects and not version:
        return False
    if application != APPLICATION_ID:
        raise LedgerCorrupt(f"{path} is a database of another program: choose another file for the ledger.")
    if version > len(MIGRATIONS):
        raise LedgerError(f"{path} was written by a newer version of this program: update the program.")
    return True


def _migrate(connection: apsw.Connection) -> None:
    version = connection.pragma("user_version")
    if version == len(MIGRATIONS):
        return
    with connection:
        for script in MIGRATIONS[version:]:
            connection.execute(script)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
