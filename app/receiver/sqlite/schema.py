"""The receiver's SQLite file: its tables, its versions, and how it is opened.

Rule 1: no statement that changes the schema stands anywhere else. Rule 2: the commands may write beside the running
receiver (they enrol), so every transaction that writes takes the file's lock from its beginning.
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from app.receiver.errors import ReceiverError, StoreAway, StoreDamaged, StoreFault, StoreFull

APPLICATION_ID = 0x4D475243
"""«MGRC»: says that a SQLite file is a receiver's."""
RECEIVER_FILE = "receiver.sqlite3"
BUSY_MS = 5000

_V1 = """
CREATE TABLE enrolment (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    sha256 BLOB NOT NULL UNIQUE,
    vkey TEXT NOT NULL,
    created INTEGER NOT NULL,
    removed INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE log (
    k INTEGER PRIMARY KEY,
    enrolment TEXT NOT NULL REFERENCES enrolment (id),
    name TEXT NOT NULL,
    keys TEXT NOT NULL,
    size INTEGER NOT NULL,
    cum INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    tok_in INTEGER NOT NULL,
    tok_out INTEGER NOT NULL,
    dur_us INTEGER NOT NULL,
    e_uj INTEGER NOT NULL,
    frontier BLOB NOT NULL,
    checkpoint TEXT NOT NULL,
    cosigned INTEGER NOT NULL,
    begun INTEGER NOT NULL,
    heard INTEGER NOT NULL,
    UNIQUE (enrolment, name)
) STRICT;
CREATE TABLE record (
    n INTEGER PRIMARY KEY,
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    t0 INTEGER NOT NULL,
    id BLOB NOT NULL,
    kind TEXT NOT NULL,
    received INTEGER NOT NULL,
    leaf BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX record_place ON record (log, seq);
CREATE UNIQUE INDEX record_id ON record (log, id);
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
    cosigned INTEGER NOT NULL,
    PRIMARY KEY (log, size)
) STRICT, WITHOUT ROWID;
CREATE TABLE charge (
    n INTEGER PRIMARY KEY,
    enrolment TEXT NOT NULL REFERENCES enrolment (id),
    log TEXT NOT NULL,
    at INTEGER NOT NULL,
    code TEXT NOT NULL,
    sentence TEXT NOT NULL,
    seq INTEGER,
    proof INTEGER NOT NULL,
    held_note TEXT NOT NULL,
    held_cosigned INTEGER NOT NULL,
    held_body BLOB NOT NULL,
    shown_note TEXT NOT NULL,
    shown_body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX charge_once ON charge (enrolment, log, code, shown_note);
CREATE TABLE flat (
    n INTEGER PRIMARY KEY,
    enrolment TEXT NOT NULL,
    id TEXT NOT NULL,
    received INTEGER NOT NULL,
    genuine INTEGER,
    cost INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (enrolment, id)
) STRICT;
"""

MIGRATIONS = (_V1,)
"""The script at index v leads from version v to v + 1; the version is `PRAGMA user_version`."""


def open_file(path: Path) -> apsw.Connection:
    """A connection at the newest schema version; StoreFault, or ReceiverError for a file that is none of ours."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives its companions the same mode
        connection = apsw.Connection(str(path), statementcachesize=128)
    except (OSError, apsw.Error) as error:
        raise told(error, path) from error
    try:
        connection.set_busy_timeout(BUSY_MS)
        _require_ours(connection, path)
        # FULL: a commit is on the disk before it returns, and the cosignature leaves only then.
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "fullfsync = ON",
            "foreign_keys = ON",
            "journal_size_limit = 16777216",
            "cache_size = -8192",
            "trusted_schema = OFF",
        ):
            connection.execute("PRAGMA " + pragma)
        _migrate(connection)
    except apsw.Error as error:
        connection.close()
        raise told(error, path) from error
    except ReceiverError:
        connection.close()
        raise
    return connection


def _require_ours(connection: apsw.Connection, path: Path) -> None:
    application, version, objects = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_application_id, pragma_user_version"
    ).get
    if not objects and not version:
        return
    if application != APPLICATION_ID:
        raise StoreDamaged(f"{path} is a database of another program: move it away, or use another profile.")
    if version > len(MIGRATIONS):
        raise StoreDamaged(f"{path} was written by a newer version of this program: update the program.")


def _migrate(connection: apsw.Connection) -> None:
    if connection.pragma("user_version") == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Whoever waited for the lock finds the work done.
        for script in MIGRATIONS[connection.pragma("user_version") :]:
            connection.execute(script)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def told(error: BaseException, path: Path) -> StoreFault:
    """What a failed read or write means, in one sentence for people."""
    match error:
        case apsw.FullError():
            return StoreFull(f"The disk that holds {path} is full: free some space; gateways send again.")
        case apsw.BusyError() | apsw.LockedError():
            return StoreAway(f"Another program has locked {path}: close it (a database browser?).")
        case apsw.CorruptError() | apsw.NotADBError():
            return StoreDamaged(f"{path} is damaged: stop, and put back a good copy of it.")
        case apsw.ReadOnlyError() | apsw.CantOpenError() | apsw.PermissionsError() | PermissionError():
            return StoreFault(f"{path} cannot be written: check the rights on the file and its folder.")
        case _:
            return StoreFault(f"The disk that holds {path} failed ({error}): check the disk.")
