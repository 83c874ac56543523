"""A ledger's file as a whole: copying it while it is written to, and putting a copy in its place.

Rule 1: no copy stands where it is looked for before it is whole, on the disk and sound.
Rule 2: a ledger that is replaced is moved aside, never deleted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import apsw

from app.ledger.errors import LedgerError
from app.ledger.merkle import tree_root
from app.ledger.sqlite.nodes import StoredNodes
from app.ledger.sqlite.schema import Ownership, explain, open_reader

PAGES_A_STEP = 1024
COMPANIONS = ("-journal", "-wal", "-shm")
"""What SQLite keeps beside a file; what they hold belongs to it."""


def copy(
    source: Path,
    target: Path,
    check: Callable[[Path], None],
    progress: Callable[[int, int], None] | None = None,
    vfs: str | None = None,
) -> None:
    """Copy the ledger at `source`, as it is at this moment, to the new file `target`, mode 0600. Whoever writes to it
    goes on meanwhile. `check` may look at the copy before it has its name, and raise; `progress` is called with (pages
    copied, pages in all); `vfs` names SQLite's file layer under the copy, for tests.

    Raises LedgerError; there is no `target` then, and one that there was before is as it was.
    """
    if target.exists():
        raise LedgerError(f"{target} exists already: choose another name, or move it away.")
    part = target.with_name(target.name + ".part")
    _remove(part)
    reader = open_reader(source)
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        _copy_pages(reader, part, progress, vfs)
        check(part)
        os.rename(part, target)
        sync_folder(target.parent)
    except (apsw.Error, OSError) as error:
        why = (
            "the disk is full"
            if isinstance(error, apsw.FullError)
            else getattr(error, "strerror", None) or error
        )
        raise LedgerError(f"{target} could not be written ({why}): nothing was changed.") from error
    finally:
        reader.close()
        _remove(part)


def _remove(part: Path) -> None:
    for suffix in ("", *COMPANIONS):
        part.with_name(part.name + suffix).unlink(missing_ok=True)


def _copy_pages(
    reader: apsw.Connection, part: Path, progress: Callable[[int, int], None] | None, vfs: str | None
) -> None:
    connection = apsw.Connection(str(part), vfs=vfs)
    try:
        # A moment held by a transaction: commits that come meanwhile do not begin the copy anew.
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM log").fetchall()
        backup = connection.backup("main", reader, "main")
        try:
            while not backup.done:
                backup.step(PAGES_A_STEP)
                if progress is not None:
                    progress(backup.page_count - backup.remaining, backup.page_count)
        finally:
            backup.finish()
        reader.execute("ROLLBACK")
        # All in one file: a copy that is carried elsewhere must not lack what lies beside it. Where that cannot be
        # written, SQLite does not raise.
        if connection.execute("PRAGMA journal_mode = DELETE").get != "delete":
            raise apsw.IOError("it cannot be made one file, for the disk refused its last pages")
    finally:
        connection.close()
    with part.open("rb+") as file:
        os.fsync(file.fileno())


def replace(
    path: Path, copied: Path, aside: Path, check: Callable[[Path], None], vfs: str | None = None
) -> bool:
    """Put a copy of the ledger `copied` in the place of the one at `path`, once `check` has not raised for it, and move
    that one to `aside`. False where there was none to move.

    Raises LedgerBusy where a process has it open, LedgerError; then everything is as it was.
    """
    with Ownership(path):
        fresh = path.with_name(path.name + ".restoring")
        fresh.unlink(missing_ok=True)
        try:
            copy(copied, fresh, check, vfs=vfs)
            _gather(path, vfs)
            moved = _move(path, aside)
            os.replace(fresh, path)
            sync_folder(path.parent)
        except OSError as error:
            raise LedgerError(explain(error, path)) from error
        finally:
            fresh.unlink(missing_ok=True)
    return moved


def _gather(path: Path, vfs: str | None) -> None:
    """Move what the write-ahead log holds into the file, where that can be done."""
    if not path.exists():
        return
    try:
        connection = apsw.Connection(str(path), vfs=vfs)
        try:
            connection.execute(
                "SELECT count(*) FROM sqlite_schema"
            ).fetchall()  # until it is read, it has no log
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            connection.close()
    except apsw.Error:
        return  # it is damaged, and is moved away with what lies beside it


def _move(path: Path, aside: Path) -> bool:
    there = path.exists()
    if there:
        # A second name first: at no moment is the ledger under none, nor without what belongs to it.
        os.link(path, aside)
        sync_folder(path.parent)
    for suffix in COMPANIONS:
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            os.replace(beside, aside.with_name(aside.name + suffix))
    # These names are sure before the other ledger has this one: a power cut could leave that with what belongs to the
    # old one beside it, which SQLite would mix into it, or the old one under no name.
    sync_folder(path.parent)
    return there


def sync_folder(folder: Path) -> None:
    """Make the names in it durable, where the system can say so."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def root_at(path: Path, log: str, size: int) -> bytes | None:
    """The root of the first `size` records of `log` in the sound ledger at `path`; None where it has fewer.

    Raises LedgerError.
    """
    connection = open_reader(path)
    try:
        found = connection.execute("SELECT k, size FROM log WHERE name = ?", (log,)).get
        if found is None or found[1] < size:
            return None
        return tree_root(StoredNodes(connection, found[0]), size)
    except apsw.Error as error:
        raise LedgerError(explain(error, path)) from error
    finally:
        connection.close()
