"""Records that a log has lost from its end come back byte for byte, with the keys that they speak of."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.ledger.checkpoint import Checkpoint, Signer, verify_checkpoint
from app.ledger.drafts import AdjustDraft
from app.ledger.errors import LedgerError, LedgerRollback, RecordError
from app.ledger.parties import Key
from app.ledger.sqlite.store import Ledger
from tests.ledger.sqlite.conftest import SIGNER, START_US, Clock, Drafts, Opening


@dataclass
class Older:
    """A ledger opened on an older copy of its file, and what it was last."""

    ledger: Ledger
    log: str
    whole: tuple[bytes, ...]
    keys: tuple[Key, ...]
    newest: tuple[Checkpoint, ...]


def put_in_place(copy: Path, path: Path) -> None:
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        name.unlink(missing_ok=True)
    shutil.copy(copy, path)


@pytest.fixture
async def older(opening: Opening, drafts: Drafts, path: Path) -> Older:
    ledger = await opening()
    client = await ledger.create_client("Anna")
    await ledger.append(client.log, drafts())
    await ledger.close()
    copy = path.with_suffix(".old")
    shutil.copy(path, copy)
    ledger = await opening()
    await ledger.append(client.log, drafts())
    first = await ledger.create_key(
        label="new", sha256=b"1" * 32, client=client.id, limits='{"models":["a:b"]}'
    )
    await ledger.limit_key(first.id, '{"concurrent":2}')
    await ledger.rotate_secret(first.id, b"3" * 32, '{"concurrent":2}')
    second = await ledger.create_key(label="gone", sha256=b"2" * 32, client=client.id)
    await ledger.revoke_key(second.id)
    await ledger.append(
        client.log, AdjustDraft(ledger.new_id(), START_US, None, "Too much «paid» \\ so far.", -7)
    )
    whole, keys, newest = await ledger.entries(client.log, 0, 100), ledger.keys(), ledger.newest()
    await ledger.close()
    put_in_place(copy, path)
    ledger = await opening()
    assert ledger.keys() == ()
    assert {key.label: key.limits for key in keys} == {"new": '{"concurrent":2}', "gone": "{}"}
    return Older(ledger, client.log, whole, keys, newest)


async def test_a_lost_tail_is_put_back_with_its_keys_and_the_same_root(
    older: Older, opening: Opening, drafts: Drafts
) -> None:
    ledger, log, whole = older.ledger, older.log, older.whole
    receipt = await ledger.put_back(log, whole[2:4])
    assert (receipt.seq, receipt.size) == (3, 4)
    await ledger.put_back(log, whole[4:])
    assert await ledger.entries(log, 0, 100) == whole
    assert (ledger.keys(), ledger.newest()) == (older.keys, older.newest)
    assert (await ledger.verify()).verdict == "OK"
    await ledger.append(log, drafts())
    await ledger.close()
    ledger = await opening()
    assert set(ledger.keys()) == set(older.keys)
    assert (await ledger.verify()).verdict == "OK"


async def test_what_does_not_follow_on_the_end_is_refused_whole(
    older: Older, opening: Opening, drafts: Drafts
) -> None:
    ledger, log, whole = older.ledger, older.log, older.whole
    spaced = whole[2].replace(b"{", b"{ ", 1)
    for bodies in (
        whole[3:],
        whole[1:],
        (),
        (whole[2], whole[4]),
        (whole[2], whole[2]),
        (spaced,),
        (b"garbage",),
    ):
        with pytest.raises(LedgerError):
            await ledger.put_back(log, bodies)
    with pytest.raises(LedgerError):
        await ledger.put_back("gw_test/c_other", whole[2:])
    assert await ledger.entries(log, 0, 100) == whole[:2]


async def test_a_running_total_that_is_not_the_sum_is_refused(
    older: Older, opening: Opening, drafts: Drafts
) -> None:
    ledger, log, whole = older.ledger, older.log, older.whole
    wrong = whole[2].replace(b'"cost":"1', b'"cost":"2')
    assert wrong != whole[2]
    with pytest.raises(LedgerError):
        await ledger.put_back(log, [wrong])


async def test_who_only_puts_back_opens_a_file_by_the_key_of_before_and_records_nothing(
    opening: Opening, drafts: Drafts, path: Path
) -> None:
    new = Signer(bytes(31) + b"x", "gw_test")
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    await ledger.append(log, drafts())
    await ledger.close()
    copy = path.with_suffix(".old")
    shutil.copy(path, copy)
    ledger = await opening()
    await ledger.rotate(new)
    await ledger.append(log, drafts())
    whole, newest = await ledger.entries(log, 0, 9), ledger.newest()
    await ledger.close()
    put_in_place(copy, path)
    ledger = await opening(signer=new, recover=False, refilling=True)
    with pytest.raises(LedgerError, match="Nothing is recorded"):
        await ledger.append(log, drafts())
    with pytest.raises(LedgerError, match="Nothing is recorded"):
        await ledger.create_client("Ben")
    assert ledger.frontier(log).size == 2
    await ledger.put_back(log, whole[2:3])
    await ledger.close()
    # A kill between two parts: the file is one of today's key, and lacks the rest.
    with pytest.raises(LedgerRollback):
        await opening(signer=new, remembered=newest)
    ledger = await opening(signer=new, recover=False, refilling=True)
    await ledger.put_back(log, whole[3:])
    await ledger.close()
    ledger = await opening(signer=new, remembered=newest)
    assert await ledger.entries(log, 0, 9) == whole
    assert ledger.newest() == newest
    assert (await ledger.verify()).verdict == "OK"
    # A receiver that has read less than the old copy knows the old key alone, and is told by that.
    told = await ledger.checkpoint_for(log, 1, 4)
    assert verify_checkpoint(told, SIGNER.verifier, log).size == 2
    await ledger.append(log, drafts())


async def test_a_tail_that_passes_the_signing_key_on_is_not_put_back_under_the_old_key(
    opening: Opening, clock: Clock, drafts: Drafts, path: Path
) -> None:
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    await ledger.close()
    copy = path.with_suffix(".old")
    shutil.copy(path, copy)
    ledger = await opening()
    await ledger.rotate(Signer(bytes(31) + b"x", "gw_test"))
    whole = await ledger.entries(log, 0, 9)
    await ledger.close()
    put_in_place(copy, path)
    ledger = await opening()
    with pytest.raises(LedgerError, match="passes the signing key on"):
        await ledger.put_back(log, whole[1:])
    with pytest.raises(RecordError):
        await ledger.put_back(log, [whole[0] + b" "])
