"""The audit trail's file, and the hand that writes to it.

Rule 1: nobody waits for it and nothing fails with it: a disk that takes nothing loses lines of the trail, which is
said, and no request. Rule 2: it is bounded in time by a setting and in lines by itself; refusals never push out what
was done, since each kind has its own room. Rule 3: a file that is no longer one is moved aside, and a new one begun.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import apsw

from app.access.deeds import Deed, DeedLine, DeedLines
from app.basics.clock import wall_us
from app.basics.threads import Aside
from app.basics.traces import where

log = logging.getLogger(__name__)

TRAIL_FILE = "audit.sqlite3"
ASIDE_SUFFIX = ".damaged"
MOST_LINES = 100_000
"""Of each kind; some 20 MB."""
FLUSH_S = 1.0
AGAIN_S = 30.0
CLOSE_GRACE_S = 5.0
TRIM_EVERY = 1000
_TRIM_EVERY_US = 3_600_000_000
_DAY_US = 86_400_000_000
_APPLICATION_ID = 0x4D474154  # «MGAT»
_SCHEMA = """
CREATE TABLE deed (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    key TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    status INTEGER NOT NULL,
    code TEXT NOT NULL,
    note TEXT NOT NULL
) STRICT;
"""
_NEWEST = "SELECT id, first, last, count, key, address, action, status, code, note FROM deed ORDER BY id DESC LIMIT ?"
_FROM = (
    "SELECT id, first, last, count, key, address, action, status, code, note FROM deed WHERE id >= ?"
    " ORDER BY id LIMIT ?"
)
_INSERT = (
    "INSERT INTO deed (first, last, count, key, address, action, status, code, note)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_TRIM_DONE = (
    "DELETE FROM deed WHERE code = '' AND id <="
    " (SELECT id FROM deed WHERE code = '' ORDER BY id DESC LIMIT 1 OFFSET ?)"
)
_TRIM_REFUSED = (
    "DELETE FROM deed WHERE code != '' AND id <="
    " (SELECT id FROM deed WHERE code != '' ORDER BY id DESC LIMIT 1 OFFSET ?)"
)


class TrailFile:
    """The file, for one thread. Every method may raise apsw.Error or OSError."""

    def __init__(self, path: Path, *, most_lines: int = MOST_LINES) -> None:
        self._path = path
        self._most_lines = most_lines
        self._connection: apsw.Connection | None = None
        self._since_trim = TRIM_EVERY
        self._trimmed_us = 0

    def write(self, lines: Sequence[DeedLine], keep_us: int, now_us: int) -> list[int]:
        """Write lines, or how often they were counted by now; their numbers, in that order."""
        connection = self._open()
        ids = []
        with connection:
            for line in lines:
                deed = line.deed
                if line.id is None:
                    connection.execute(
                        _INSERT,
                        (
                            *(line.first_us, line.last_us, line.count),
                            *(deed.key, deed.address, deed.action, deed.status, deed.code, deed.note),
                        ),
                    )
                    self._since_trim += 1
                    ids.append(connection.last_insert_rowid())
                else:
                    connection.execute(
                        "UPDATE deed SET last = ?, count = ? WHERE id = ?",
                        (line.last_us, line.count, line.id),
                    )
                    ids.append(line.id)
            if self._since_trim >= TRIM_EVERY or abs(now_us - self._trimmed_us) >= _TRIM_EVERY_US:
                self._trim(connection, now_us - keep_us)
                self._since_trim, self._trimmed_us = 0, now_us
        return ids

    def read(self, begin: int | None, limit: int) -> list[DeedLine]:
        """At most `limit` lines from number `begin` on, or the newest ones, oldest first."""
        connection = self._open()
        if begin is None:
            rows = connection.execute(_NEWEST, (limit,)).fetchall()[::-1]
        else:
            rows = connection.execute(_FROM, (begin, limit)).fetchall()
        return [_line(*cast("tuple[Any, ...]", row)) for row in rows]

    def close(self) -> None:
        """Let go of it. Again is harmless."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _trim(self, connection: apsw.Connection, before_us: int) -> None:
        connection.execute("DELETE FROM deed WHERE last < ?", (before_us,))
        for trim in (_TRIM_DONE, _TRIM_REFUSED):
            connection.execute(trim, (self._most_lines,))

    def _open(self) -> apsw.Connection:
        if self._connection is None:
            try:
                self._connection = _opened(self._path)
            except (apsw.NotADBError, apsw.CorruptError):
                aside = self._path.with_name(self._path.name + ASIDE_SUFFIX)
                os.replace(self._path, aside)
                for companion in ("-wal", "-shm"):
                    self._path.with_name(self._path.name + companion).unlink(missing_ok=True)
                log.error(
                    "The audit trail %s is damaged: it lies in %s now, and a new one begins.",
                    self._path,
                    aside,
                )
                self._connection = _opened(self._path)
        return self._connection


def _line(number: int, first_us: int, last_us: int, count: int, *deed: Any) -> DeedLine:
    return DeedLine(Deed(*deed), first_us, last_us, count, number)


def _opened(path: Path) -> apsw.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives its companions the same mode
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(5000)
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "journal_size_limit = 4194304",
            "trusted_schema = OFF",
        ):
            connection.execute("PRAGMA " + pragma)
        if connection.pragma("application_id") != _APPLICATION_ID:
            if connection.execute("SELECT count(*) FROM sqlite_schema").get:
                raise apsw.NotADBError("it is another program's")
            connection.execute(f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID}; COMMIT")
        connection.execute(_NEWEST, (1,)).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


class Trail:
    """The audit trail of a running gateway. Make it on the loop, and `close` it."""

    def __init__(
        self,
        file: TrailFile,
        keep_days: Callable[[], int],
        *,
        wall_us: Callable[[], int] = wall_us,
    ) -> None:
        self._file = file
        self._keep_days = keep_days
        self._wall_us = wall_us
        self._lines = DeedLines()
        self._aside = Aside("audit-trail")
        self._one = asyncio.Lock()
        self._later: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._failed = False
        self._loop = asyncio.get_running_loop()

    def note(self, deed: Deed) -> None:
        """Write it down: what was done at once, what was refused within a second."""
        self._lines.add(deed, self._wall_us())
        if not deed.code and not self._failed and self._later is not None:
            self._later.cancel()
            self._later = None
        if self._later is None:
            self._later = self._loop.call_later(FLUSH_S if deed.code else 0, self._begin)

    async def entries(self, begin: int | None, limit: int) -> list[DeedLine]:
        """See `TrailFile.read`; with all that was noted by now. Raises OSError where the file cannot be read."""
        await self._flush()
        try:
            return await self._aside.run(lambda: self._file.read(begin, limit), timeout_s=AGAIN_S)
        except (apsw.Error, OSError) as error:
            raise OSError(f"The audit trail cannot be read ({where(error)}).") from error

    async def close(self) -> None:
        """Write what waits, as far as the disk takes it, and let go of the file."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_GRACE_S):
                await self._flush()
                await self._aside.run(self._file.close)
        self._aside.close()

    def _begin(self) -> None:
        self._later = None
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._flush(), name="audit-trail")
        else:
            self._later = self._loop.call_later(FLUSH_S, self._begin)

    async def _flush(self) -> None:
        async with self._one:
            lines = self._lines.take()
            if not lines:
                return
            # What is counted further meanwhile waits for the next time.
            copies = [DeedLine(line.deed, line.first_us, line.last_us, line.count, line.id) for line in lines]
            keep_us, now_us = self._keep_days() * _DAY_US, self._wall_us()
            try:
                ids = await self._aside.run(lambda: self._file.write(copies, keep_us, now_us))
            except (apsw.Error, OSError) as error:
                self._lines.put_back(lines)
                if not self._failed:
                    log.error("The audit trail cannot be written (%s); it is tried again.", where(error))
                self._failed = True
                if self._later is None:
                    self._later = self._loop.call_later(AGAIN_S, self._begin)
                return
            for line, number in zip(lines, ids, strict=True):
                line.id = number
            if self._failed or self._lines.lost:
                log.warning("The audit trail is written again; %d lines of it are lost.", self._lines.lost)
                self._failed, self._lines.lost = False, 0
