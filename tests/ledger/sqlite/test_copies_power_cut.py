"""The power fails while a ledger is copied or replaced: a copy is whole or is none, and nothing is mixed with another.

Every cut of the way is looked at, each with several fates of what the disk was not told to keep (`make soak`: many).
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.ledger.sqlite import copies
from app.ledger.sqlite.audit import audit
from app.ledger.sqlite.copies import copy, replace
from app.ledger.sqlite.schema import LEDGER_FILE
from app.ledger.sqlite.store import Ledger
from tests.ledger.sqlite.conftest import SIGNER, Clock, Drafts
from tests.ledger.sqlite.cut_folders import FolderRecorder
from tests.ledger.sqlite.test_power_cut import lay

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(os.name == "nt", reason="platform: folders are synced on POSIX"),
]
FATES = 60 if "SOAK" in os.environ else 4
OLD, NEW = 12, 40
"""Records of the copy, and of the ledger that it was made of a while ago."""


@pytest.fixture
async def ground(tmp_path: Path) -> Path:
    """A folder with `ledger/`, where a ledger lies as a kill left it, with its newest records in the write-ahead log
    alone, and `copy.db`, an older copy of it."""
    path, drafts = tmp_path / "ledger" / LEDGER_FILE, Drafts()
    path.parent.mkdir()
    ledger = await Ledger.open(path, signer=SIGNER, gateway_id="gw_test", clock_us=Clock())
    log = (await ledger.create_client("Anna")).log
    await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(OLD - 1)])
    copy(path, tmp_path / "copy.db", _sound)
    await ledger.close()
    ledger = await Ledger.open(path, signer=SIGNER, gateway_id="gw_test", clock_us=Clock())
    await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(NEW - OLD)])
    killed = lay({}, tmp_path / "killed")
    for suffix in ("", "-wal"):
        shutil.copyfile(path.with_name(path.name + suffix), killed / (path.name + suffix))
    assert (killed / (path.name + "-wal")).stat().st_size > 0
    await ledger.close()
    shutil.rmtree(path.parent)
    killed.rename(path.parent)
    return tmp_path


def _sound(path: Path) -> None:
    assert _records(path) is not None


def _records(path: Path) -> int | None:
    """How many there are in the ledger at `path`, which is sound; None where there is none."""
    if not path.exists():
        return None
    report = audit(path, SIGNER.verifier)
    assert report.verdict == "OK", report.sentence
    return report.records


def test_a_copy_is_whole_or_there_is_none(ground: Path) -> None:
    folder = lay({}, ground / "backups")
    recorder = FolderRecorder(folder)
    with recorder.watching():
        copy(ground / "ledger" / LEDGER_FILE, folder / "b.db", _sound, vfs=recorder.name)
    recorder.unregister()
    trace, dice = recorder.trace, random.Random(1)
    assert len(trace.events) > 10
    seen = set()
    for cut in range(len(trace.events) + 1):
        for fate in range(FATES):
            home = lay(trace.cut(cut, dice), ground / f"{cut}-{fate}")
            found = _records(home / "b.db")
            assert found in (None, NEW), f"cut {cut}"
            seen.add(found)
            shutil.rmtree(home)
    assert seen == {None, NEW}
    assert found == NEW, "once it is said to be there, it is"


def test_what_is_replaced_is_one_ledger_or_the_other_and_nothing_is_lost(ground: Path) -> None:
    seen = set()
    for home, name, aside in _after_cuts(ground, 2):
        found = _records(home / name)
        assert found in (OLD, NEW)
        assert found == NEW or _records(home / aside) == NEW, "what was replaced is kept"
        seen.add(found)
    assert seen == {OLD, NEW}
    assert found == OLD, "once it is said to be replaced, it is"


def test_a_ledger_whose_write_ahead_log_cannot_be_moved_into_it_is_kept_with_it_and_never_mixed_with_the_other(
    ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ground / "ledger" / LEDGER_FILE
    monkeypatch.setattr(copies, "_gather", lambda path, vfs: None)
    was, log = path.read_bytes(), path.with_name(path.name + "-wal").read_bytes()
    seen = set()
    for home, name, aside in _after_cuts(ground, 3):
        lies = {file.name: file.read_bytes() for file in home.iterdir()}
        replaced = lies[name] != was
        assert not replaced or _records(home / name) == OLD
        assert was in (lies[name], lies.get(aside)), "what was replaced is kept"
        assert log in (lies.get(name + "-wal"), lies.get(aside + "-wal"))
        seen.add(replaced)
    assert seen == {True, False}
    assert replaced


def _after_cuts(ground: Path, seed: int) -> Iterator[tuple[Path, str, str]]:
    """What lies there after each power cut of a replacement: the folder, the names of ledger and of the old one."""
    folder = ground / "ledger"
    path, aside = folder / LEDGER_FILE, folder / "aside.db"
    recorder = FolderRecorder(folder)
    with recorder.watching():
        assert replace(path, ground / "copy.db", aside, _sound, recorder.name)
    recorder.unregister()
    trace, dice = recorder.trace, random.Random(seed)
    for cut in range(len(trace.events) + 1):
        for fate in range(FATES):
            home = lay(trace.cut(cut, dice), ground / f"{cut}-{fate}")
            yield home, path.name, aside.name
            shutil.rmtree(home)
