"""Copies of a ledger: whole and sound at once, while it is written to; and what stands in its place is never half."""

from __future__ import annotations

import asyncio
import os
import stat
import sys

import apsw
import pytest

from app.ledger.errors import LedgerBusy, LedgerError
from app.ledger.sqlite import copies
from app.ledger.sqlite.audit import audit
from app.ledger.sqlite.copies import copy, replace
from app.ledger.sqlite.schema import Ownership


def whatever(_):
    """Any copy will do."""


async def fill(ledger, log, drafts, count=3000):
    await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(count)])


async def until(condition, what):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_copy_is_one_file_and_one_moment_while_the_writer_goes_on(
    ledger, log, drafts, tmp_path, path, signer, monkeypatch
):
    monkeypatch.setattr(copies, "PAGES_A_STEP", 8)
    await fill(ledger, log, drafts)
    claims = ledger.newest()
    going_on = []
    steps = []

    def tell(done, total):
        steps.append((done, total))
        asyncio.run_coroutine_threadsafe(more(), ledger._loop).result(20)

    async def more():
        going_on.append(await ledger.append(log, drafts()))

    target = tmp_path / "copy.db"
    await asyncio.to_thread(copy, path, target, whatever, tell)
    assert len(going_on) > 10
    assert steps[-1][0] == steps[-1][1]
    assert steps == sorted(steps)
    report = audit(target, signer.verifier, remembered=claims)
    assert report.verdict == "OK", report.sentence
    assert report.records == 3001
    assert [name for name in os.listdir(tmp_path) if name.startswith("copy.db")] == ["copy.db"]
    assert (await ledger.verify()).records == 3001 + len(going_on)


@pytest.mark.skipif(sys.platform == "win32", reason="platform: modes are a POSIX notion")
async def test_a_copy_is_its_owners_alone(ledger, log, tmp_path, path):
    copy(path, tmp_path / "copy.db", whatever)
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600


async def test_nothing_is_overwritten_and_nothing_half_is_left(ledger, log, tmp_path, path):
    target = tmp_path / "copy.db"
    target.write_bytes(b"mine")
    with pytest.raises(LedgerError, match="exists already"):
        copy(path, target, whatever)
    assert target.read_bytes() == b"mine"

    def refuses(_):
        raise LedgerError("no")

    with pytest.raises(LedgerError, match="no"):
        copy(path, tmp_path / "other.db", refuses)
    with pytest.raises(LedgerError, match=r"could not be written .No such file"):
        copy(path, tmp_path / "no such folder" / "copy.db", whatever)
    with pytest.raises(LedgerError):
        copy(tmp_path / "none.db", tmp_path / "other.db", whatever)
    assert sorted(name for name in os.listdir(tmp_path) if "ledger" not in name) == ["copy.db"]


async def test_a_copy_takes_the_place_of_the_ledger_which_is_moved_aside(
    opening, drafts, tmp_path, path, signer
):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    copy(path, tmp_path / "copy.db", whatever)
    await fill(ledger, log, drafts, 10)
    with pytest.raises(LedgerBusy):
        replace(path, tmp_path / "copy.db", tmp_path / "aside.db", whatever)
    await ledger.close()
    assert replace(path, tmp_path / "copy.db", tmp_path / "aside.db", whatever)
    assert audit(tmp_path / "aside.db", signer.verifier).records == 11
    ledger = await opening()
    assert ledger.newest()[0].size == 1
    await fill(ledger, log, drafts, 10)
    assert (await ledger.verify()).verdict == "OK"


@pytest.mark.parametrize("state", ["missing", "damaged", "with a write-ahead log"])
async def test_whatever_is_in_its_place_a_copy_can_take_it(opening, drafts, tmp_path, path, signer, state):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    copy(path, tmp_path / "copy.db", whatever)
    if state == "with a write-ahead log":
        await fill(ledger, log, drafts, 10)
        beside = path.with_name(path.name + "-wal").read_bytes()
        whole = path.read_bytes()
        await ledger.close()
        path.write_bytes(whole)
        path.with_name(path.name + "-wal").write_bytes(beside)
    await ledger.close()
    if state == "missing":
        path.unlink()
    elif state == "damaged":
        path.write_bytes(b"x" * 8192)
    assert replace(path, tmp_path / "copy.db", tmp_path / "aside.db", whatever) == (state != "missing")
    if state == "with a write-ahead log":
        assert not (tmp_path / "aside.db-wal").exists(), "it was moved into the file"
        assert audit(tmp_path / "aside.db", signer.verifier).records == 11
    ledger = await opening()
    assert ledger.newest()[0].size == 1
    assert (await ledger.verify()).verdict == "OK"


async def test_a_copy_that_is_refused_replaces_nothing(opening, tmp_path, path):
    ledger = await opening()
    await ledger.create_client("Anna")
    copy(path, tmp_path / "copy.db", whatever)
    await ledger.close()
    before = path.read_bytes()

    def refuses(_):
        raise LedgerError("no")

    with pytest.raises(LedgerError, match="no"):
        replace(path, tmp_path / "copy.db", tmp_path / "aside.db", refuses)
    assert path.read_bytes() == before
    assert not (tmp_path / "aside.db").exists()
    with Ownership(path):
        assert not [name for name in os.listdir(tmp_path) if "restoring" in name]


async def test_where_the_disk_is_full_the_copy_is_nowhere_and_says_so(
    ledger, log, path, tmp_path, monkeypatch
):
    def full(*_):
        raise apsw.FullError("injected")

    monkeypatch.setattr(copies, "_copy_pages", full)
    with pytest.raises(LedgerError, match="the disk is full"):
        copy(path, tmp_path / "copy.db", whatever)
    assert not [name for name in os.listdir(tmp_path) if name.startswith("copy")]
