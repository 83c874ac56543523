"""The names of a new journal and of a new write-ahead log are on the disk before anything relies on them.

SQLite's own file layer syncs the folder when such a file is synced for the first time, and when a journal is deleted
for a commit. The power cuts of these tests take that for granted; here it is seen, where the layer asks the system.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from app.ledger.drafts import GenesisDraft
from app.ledger.parties import Client
from app.ledger.sqlite.journal import Journal
from app.ledger.sqlite.membership import CreateClient
from app.ledger.sqlite.schema import LEDGER_FILE
from tests.ledger.sqlite.conftest import SIGNER, START_US, Drafts
from tests.ledger.sqlite.power_cut import Deleted, FolderSynced, Recorder, Synced, Wrote

pytestmark = pytest.mark.skipif(os.name == "nt", reason="platform: folders are synced on POSIX")
OpenDirectory = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int))
"""SQLite's `int openDirectory(const char *filename, int *fd)`, which it calls to sync the folder of that file."""


@contextmanager
def watched() -> Iterator[list[str]]:
    """The files whose folder SQLite's layer for this system has opened, which it does in order to sync it."""
    system, opened = apsw.VFS("watched", "unix"), []
    really = OpenDirectory(system.xGetSystemCall("openDirectory"))

    def open_directory(name: bytes, handle: object) -> int:
        opened.append(Path(os.fsdecode(name)).name)
        return int(really(name, handle))

    watching = OpenDirectory(open_directory)
    assert system.xSetSystemCall("openDirectory", ctypes.cast(watching, ctypes.c_void_p).value)
    try:
        yield opened
    finally:
        system.xSetSystemCall("openDirectory", 0)
        system.unregister()


def life(folder: Path, vfs: str) -> None:
    """A ledger is made, grows and is closed in order."""
    journal = Journal(folder / LEDGER_FILE, SIGNER, vfs)
    draft = Drafts()()
    client = Client("c_1", "Anna", "gw_test/c_1", START_US)
    genesis = GenesisDraft(draft.id, START_US, "gw_test", "Anna", SIGNER.vkey)
    journal.commit([CreateClient(client, genesis, None)])
    journal.checkpoint_wal(truncate=True)
    journal.close()


def test_sqlite_syncs_the_folder_where_the_power_cuts_take_it_for_granted(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, really=True)
    with watched() as opened:
        life(tmp_path, recorder.name)
        Journal(tmp_path / LEDGER_FILE, SIGNER, recorder.name).close()
    recorder.unregister()
    events = recorder.trace.events
    granted = []
    for before, event in zip(events, events[1:], strict=False):
        if isinstance(event, FolderSynced):
            assert isinstance(before, Synced | Deleted)
            granted.append(before.name)
    assert opened == granted
    assert LEDGER_FILE + "-journal" in granted
    assert LEDGER_FILE + "-wal" in granted


def test_a_commit_relies_on_no_write_ahead_log_whose_name_is_not_sure(tmp_path: Path) -> None:
    """The first sync of the log comes before a commit is said to be durable, and the folder's with it."""
    recorder = Recorder(tmp_path, really=True)
    with watched() as opened:
        journal = Journal(tmp_path / LEDGER_FILE, SIGNER, recorder.name)
        draft = Drafts()()
        client = Client("c_1", "Anna", "gw_test/c_1", START_US)
        genesis = GenesisDraft(draft.id, START_US, "gw_test", "Anna", SIGNER.vkey)
        journal.commit([CreateClient(client, genesis, None)])
        acknowledged = list(opened)
        assert journal.heads.keys() == {client.log}
        journal.close()
    recorder.unregister()
    assert acknowledged.count(LEDGER_FILE + "-wal") == 1
    first = next(
        at for at, event in enumerate(recorder.trace.events) if event == Synced(LEDGER_FILE + "-wal")
    )
    written = [event for event in recorder.trace.events[:first] if isinstance(event, Wrote)]
    assert any(event.name.endswith("-wal") for event in written)
