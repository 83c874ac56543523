"""Proofs and checkpoints at any past size, and what is never handed out or signed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.ledger.checkpoint import Signer, verify_checkpoint
from app.ledger.errors import LedgerCorrupt, LedgerTampered, NotInLog
from app.ledger.merkle import Frontier, leaf_hash, root_from_leaves, verify_consistency, verify_inclusion
from app.ledger.sqlite import transaction
from app.ledger.sqlite.reader import Reader

SIZE = 700


@pytest.fixture
async def anna(ledger, drafts):
    """The log of Anna, of SIZE records, beside a smaller one of Ben's."""
    anna, ben = [(await ledger.create_client(name)).log for name in ("Anna", "Ben")]
    for at in range(0, SIZE - 1, 100):
        part = [ledger.append(anna, drafts()) for _ in range(min(100, SIZE - 1 - at))]
        await asyncio.gather(*part, ledger.append(ben, drafts()))
    return anna


async def bodies(ledger, log):
    return [body for at in range(0, SIZE, 250) for body in await ledger.entries(log, at, 250)]


async def test_every_past_size_has_a_signed_checkpoint_of_the_leaves_it_then_had(ledger, anna, signer):
    leaves = [leaf_hash(body) for body in await bodies(ledger, anna)]
    for size in (1, 2, 3, 255, 256, 257, 511, 512, 513, 699, SIZE):
        claim = verify_checkpoint(await ledger.checkpoint(anna, size), signer.verifier, anna)
        assert (claim.size, claim.root) == (size, root_from_leaves(leaves[:size]))


async def test_a_record_is_proven_at_every_size_that_holds_it(ledger, anna, signer):
    for seq in (0, 1, 254, 255, 256, 300, 511, 698):
        for size in (1, 2, 255, 256, 257, 300, 301, 512, 699, SIZE):
            if seq < size:
                found = await ledger.inclusion(anna, seq, size)
                claim = verify_checkpoint(found.checkpoint, signer.verifier, anna)
                assert (claim.size, found.size, found.seq) == (size, size, seq)
                verify_inclusion(leaf_hash(found.body), seq, size, found.proof, claim.root)


async def test_the_newest_size_has_the_very_checkpoint_that_is_stored(ledger, anna):
    assert await ledger.checkpoint(anna, SIZE) == await ledger.checkpoint(anna)
    assert (await ledger.inclusion(anna, 5, SIZE)) == (await ledger.inclusion(anna, 5))


async def test_a_kept_checkpoint_is_what_that_size_is_signed_with_again(opening, drafts, rows, monkeypatch):
    monkeypatch.setattr(transaction, "KEPT_EVERY", 64)
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    for _ in range(200):
        await ledger.append(log, drafts())
    kept = rows("SELECT size, checkpoint FROM kept")
    assert len(kept) == 4
    for size, note in kept:
        assert await ledger.checkpoint(log, size) == note


async def test_what_the_log_does_not_hold_is_said_with_what_it_holds(ledger, anna):
    for call in (
        ledger.checkpoint(anna, SIZE + 1),
        ledger.checkpoint(anna, 0),
        ledger.inclusion(anna, 0, SIZE + 1),
        ledger.inclusion(anna, SIZE, SIZE),
        ledger.inclusion(anna, 5, 5),
        ledger.entries(anna, SIZE + 1, 1),
        ledger.entries(anna, -1, 1),
    ):
        with pytest.raises(NotInLog, match=f"holds {SIZE}"):
            await call
    for call in (ledger.checkpoint("x", 1), ledger.inclusion("x", 0, 1), ledger.entries("x", 0, 1)):
        with pytest.raises(NotInLog, match="no log"):
            await call
    assert await ledger.entries(anna, SIZE, 1) == ()


@pytest.mark.parametrize(
    ("forgery", "sizes"),
    [
        ("UPDATE record SET leaf = zeroblob(32) WHERE log = 1 AND seq = 90", (91, 100, 200)),
        ("UPDATE tile SET hash = zeroblob(32) WHERE log = 1 AND i = 0", (300, 511)),
    ],
)
async def test_a_past_that_was_changed_is_never_signed_again(ledger, anna, rows, forgery, sizes):
    rows(forgery)
    for size in sizes:
        with pytest.raises(LedgerTampered, match="verification"):
            await ledger.checkpoint(anna, size)
        with pytest.raises(LedgerTampered, match="verification"):
            await ledger.inclusion(anna, 50, size)


async def test_a_proof_that_does_not_hold_is_not_handed_out(ledger, anna, rows):
    rows("UPDATE record SET leaf = zeroblob(32) WHERE log = 1 AND seq = 91")
    with pytest.raises(LedgerTampered, match=r"Record 90 .* verification"):
        await ledger.inclusion(anna, 90)


async def test_a_ledger_that_was_mended_proves_again(ledger, anna, rows):
    (leaf,) = rows("SELECT leaf FROM record WHERE log = 1 AND seq = 91")[0]
    rows("UPDATE record SET leaf = zeroblob(32) WHERE log = 1 AND seq = 91")
    for size in (None, 100):
        with pytest.raises(LedgerTampered):
            await ledger.inclusion(anna, 90, size)
    rows("UPDATE record SET leaf = ? WHERE log = 1 AND seq = 91", leaf)
    for size in (None, 100):
        assert (await ledger.inclusion(anna, 90, size)).seq == 90


async def test_a_lost_right_edge_is_made_anew_of_the_leaves(ledger, anna, rows):
    whole = await ledger.inclusion(anna, 5)
    another = Frontier(4, [bytes(32)])
    for edge in (b"", b"nonsense", bytes(8), another.to_bytes()):
        rows("UPDATE log SET frontier = ? WHERE k = 1", edge)
        assert await ledger.inclusion(anna, 5) == whole


@pytest.mark.parametrize("size", [None, 300])
async def test_a_newest_checkpoint_that_does_not_hold_vouches_for_nothing(ledger, anna, rows, size):
    (note,) = rows("SELECT checkpoint FROM log WHERE k = 1")[0]
    stranger = Signer(bytes(32), "gw_test")
    for forged in (
        note.replace("700", "701", 1),
        stranger.sign_checkpoint(anna, SIZE, bytes(32)),
        note.partition("\n\n")[0],
    ):
        rows("UPDATE log SET checkpoint = ? WHERE k = 1", forged)
        for call in (ledger.inclusion(anna, 0, size), ledger.checkpoint(anna, size)):
            with pytest.raises(LedgerTampered, match="verification"):
                await call


async def test_growth_is_proven_from_the_first_record_on(ledger, anna, signer):
    first, newest = [
        verify_checkpoint(await ledger.checkpoint(anna, size), signer.verifier) for size in (1, None)
    ]
    found = await ledger.consistency(anna, 1)
    verify_consistency(1, newest.size, found.proof, first.root, newest.root)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux tells which files are open")
async def test_a_reader_of_a_file_lets_go_of_it_and_may_come_back(ledger, anna, path, signer):
    def held():
        return [name for name in Path("/proc/self/fd").iterdir() if name.exists() and name.resolve() == path]

    await ledger.close()  # SQLite closes no file of a process that still has it open elsewhere
    assert held() == []
    reader = Reader(path, signer)
    assert {client.name for client in reader.clients()} == {"Anna", "Ben"}
    assert len(held()) == 1
    reader.close()
    assert held() == []
    assert reader.inclusion(anna, 3).seq == 3
    reader.close()


async def test_a_client_whose_row_is_damaged_is_said(anna, path, signer, rows):
    rows("UPDATE client SET name = CAST(x'ff41' AS TEXT) WHERE name = 'Ben'")
    reader = Reader(path, signer)
    with pytest.raises(LedgerCorrupt, match="name"):
        reader.clients()
    reader.close()


async def test_entries_are_handed_out_up_to_a_gap_and_never_over_it(ledger, anna, rows):
    whole = await ledger.entries(anna, 0, 20)
    rows("DELETE FROM record WHERE log = 1 AND seq = 7")
    assert await ledger.entries(anna, 0, 20) == whole[:7]
    with pytest.raises(LedgerCorrupt, match="Record 7 "):
        await ledger.entries(anna, 7, 20)
    assert await ledger.entries(anna, 8, 12) == whole[8:]


async def test_entries_lost_from_the_end_are_missed(ledger, anna, rows):
    rows("DELETE FROM record WHERE log = 1 AND seq = 699")
    assert len(await ledger.entries(anna, 690, 20)) == 9
    with pytest.raises(LedgerCorrupt, match="Record 699 "):
        await ledger.entries(anna, 699, 20)


async def test_an_entry_whose_bytes_are_not_those_that_were_hashed_is_not_handed_out(ledger, anna, rows):
    rows(
        "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), 'llama', 'LLAMA') AS BLOB) WHERE log=1 AND seq=7"
    )
    assert len(await ledger.entries(anna, 0, 20)) == 7
    with pytest.raises(LedgerCorrupt, match="Record 7 "):
        await ledger.entries(anna, 7, 1)
