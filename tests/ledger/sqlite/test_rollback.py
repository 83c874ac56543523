"""An older copy of the file, an emptied one or none at all is noticed by what is remembered outside it."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from app.ledger.checkpoint import Checkpoint
from app.ledger.errors import LedgerRollback
from app.ledger.sqlite.audit import audit


@pytest.fixture
async def log(opening, drafts):
    """A log of ten records in a closed file."""
    ledger = await opening()
    client = await ledger.create_client("Anna")
    await asyncio.gather(*[ledger.append(client.log, drafts()) for _ in range(9)])
    await ledger.close()
    return client.log


@pytest.fixture
async def grown(log, path, opening, drafts, tmp_path):
    """What is remembered once the log has 310 records; `older` is the copy of before."""
    shutil.copyfile(path, tmp_path / "older")
    ledger = await opening()
    await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(300)])
    newest = ledger.newest()
    await ledger.close()
    return newest


async def test_the_newest_state_and_one_ahead_of_what_is_remembered_open(opening, log, grown, drafts):
    ledger = await opening(remembered=grown)
    await ledger.append(log, drafts())
    await ledger.close()
    ledger = await opening(remembered=grown)
    assert ledger.totals().requests == 310
    assert (await ledger.verify()).verdict == "OK"


@pytest.mark.parametrize("how", ["older", "empty", "missing"])
async def test_what_is_older_does_not_open_and_nothing_is_written(opening, path, log, grown, tmp_path, how):
    match how:
        case "older":
            shutil.copyfile(tmp_path / "older", path)
        case "empty":
            path.write_bytes(b"")
        case _:
            path.unlink()
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(LedgerRollback, match="accept-rollback"):
        await opening(remembered=grown)
    assert (path.read_bytes() if path.exists() else None) == before


async def test_a_crash_is_not_recorded_on_top_of_an_older_copy(
    opening, path, log, grown, tmp_path, drafts, rows
):
    shutil.copyfile(tmp_path / "older", path)
    ledger = await opening()
    await ledger.hold(drafts.hold(log))
    await ledger.close()
    with pytest.raises(LedgerRollback):
        await opening(remembered=grown)
    assert rows("SELECT size FROM log") == [(10,)]
    assert rows("SELECT count(*) FROM hold") == [(1,)]


async def test_a_damaged_write_ahead_log_is_an_older_state(opening, path, log, drafts, tmp_path, signer):
    ledger = await opening()
    await ledger.append(log, drafts())
    wal = path.with_name(path.name + "-wal")
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    shutil.copyfile(path, crashed / path.name)
    data = bytearray(wal.read_bytes())
    data[40] ^= 1
    (crashed / wal.name).write_bytes(data)
    newest = ledger.newest()
    assert audit(crashed / path.name, signer.verifier).verdict == "OK"
    report = audit(crashed / path.name, signer.verifier, remembered=newest)
    assert [(found.verdict, found.log, found.seq) for found in report.findings] == [("ROLLBACK", log, 10)]
    with pytest.raises(LedgerRollback, match="11 records"):
        await opening(path=crashed / path.name, remembered=newest)


async def test_another_history_does_not_open_though_it_is_as_long(
    opening, path, log, grown, tmp_path, drafts, signer
):
    shutil.copyfile(tmp_path / "older", path)
    ledger = await opening()
    await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(300)])
    await ledger.close()
    with pytest.raises(LedgerRollback, match="first 310 records"):
        await opening(remembered=grown)
    report = audit(path, signer.verifier, remembered=grown)
    assert report.verdict == "TAMPERED"
    ledger = await opening()
    await ledger.append(log, drafts())
    await ledger.close()
    with pytest.raises(LedgerRollback, match="first 310 records"):
        await opening(remembered=grown)
    assert audit(path, signer.verifier, remembered=grown).verdict == "TAMPERED"


async def test_a_log_that_is_remembered_and_not_there_is_gone(opening, path, log, grown, signer):
    other = Checkpoint("gw_test/c_ben", 4, bytes(32))
    with pytest.raises(LedgerRollback, match="c_ben"):
        await opening(remembered=(*grown, other))
    report = audit(path, signer.verifier, remembered=(*grown, other))
    assert [(found.verdict, found.log, found.seq) for found in report.findings] == [
        ("ROLLBACK", other.origin, 0)
    ]


async def test_an_audit_names_the_first_record_that_is_gone_and_the_way_out(
    path, log, grown, tmp_path, signer
):
    report = audit(tmp_path / "older", signer.verifier, remembered=grown)
    assert [(found.verdict, found.log, found.seq) for found in report.findings] == [("ROLLBACK", log, 10)]
    assert "accept-rollback" in report.sentence
    assert audit(path, signer.verifier, remembered=grown).verdict == "OK"


@pytest.mark.parametrize("how", ["older", "empty", "missing"])
async def test_a_file_that_is_exchanged_under_a_running_gateway_is_a_rollback(
    opening, path, log, grown, tmp_path, how
):
    ledger = await opening()
    for companion in path.parent.glob(path.name + "*"):
        companion.unlink()
    if how != "missing":
        path.write_bytes((tmp_path / "older").read_bytes() if how == "older" else b"")
    report = await ledger.verify()
    assert report.verdict == "ROLLBACK"
    assert (report.findings[-1].log, report.findings[-1].seq) == (log, 10 if how == "older" else 0)
