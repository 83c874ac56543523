"""What a client can check with the checkpoint alone: entries, inclusion and growth."""

from __future__ import annotations

import asyncio

import pytest

from app.ledger.checkpoint import VerifierKey, verify_checkpoint
from app.ledger.errors import LedgerCorrupt, LedgerError
from app.ledger.merkle import leaf_hash, root_from_leaves, verify_consistency, verify_inclusion


@pytest.fixture
async def two_logs(ledger, drafts):
    """Two interleaved logs, one of some 1,200 records and one of some 300."""
    names = [(await ledger.create_client(name)).log for name in ("Anna", "Ben")]
    await asyncio.gather(*[ledger.append(names[i % 5 == 0], drafts()) for i in range(1500)])
    return names


async def test_the_entries_are_the_leaves_of_the_signed_tree(ledger, two_logs, signer):
    for log in two_logs:
        bodies, at = [], 0
        while part := await ledger.entries(log, at, 1000):
            bodies += part
            at += len(part)
        claim = verify_checkpoint(await ledger.checkpoint(log), VerifierKey.parse(signer.vkey), log)
        assert claim.size == len(bodies)
        assert claim.root == root_from_leaves(map(leaf_hash, bodies))


async def test_every_record_is_proven_by_its_bytes_and_the_checkpoint(ledger, two_logs, signer):
    for log, seqs in (
        (two_logs[0], [0, 1, 255, 256, 257, 511, 512, 767, 1023, 1024, 1199, 1200]),
        (two_logs[1], range(301)),
    ):
        for seq in seqs:
            found = await ledger.inclusion(log, seq)
            claim = verify_checkpoint(found.checkpoint, signer.verifier, log)
            assert (claim.size, found.seq, found.log) == (found.size, seq, log)
            verify_inclusion(leaf_hash(found.body), seq, claim.size, found.proof, claim.root)


async def test_the_checkpoint_is_proven_to_have_only_grown(ledger, two_logs, drafts, signer):
    log = two_logs[0]
    before = verify_checkpoint(await ledger.checkpoint(log), signer.verifier, log)
    for _ in range(3):
        await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(200)])
        found = await ledger.consistency(log, before.size)
        after = verify_checkpoint(found.checkpoint, signer.verifier, log)
        verify_consistency(before.size, after.size, found.proof, before.root, after.root)
        before = after


async def test_proofs_stand_while_records_keep_coming(ledger, two_logs, drafts, signer):
    log = two_logs[1]
    running = [ledger.append(log, drafts()) for _ in range(500)]
    for seq in range(0, 300, 30):
        found = await ledger.inclusion(log, seq)
        claim = verify_checkpoint(found.checkpoint, signer.verifier, log)
        verify_inclusion(leaf_hash(found.body), seq, claim.size, found.proof, claim.root)
    await asyncio.gather(*running)


async def test_what_does_not_exist_is_an_error(ledger, two_logs):
    log = two_logs[1]
    for seq in (-1, 301, 10**9):
        with pytest.raises(LedgerError, match="no record"):
            await ledger.inclusion(log, seq)
    for since in (0, -1, 302):
        with pytest.raises(LedgerError, match="nothing is proven"):
            await ledger.consistency(log, since)
    for call in (
        ledger.checkpoint("x"),
        ledger.entries("x", 0, 1),
        ledger.inclusion("x", 0),
        ledger.consistency("x", 1),
    ):
        with pytest.raises(LedgerError, match="no log"):
            await call
    assert await ledger.entries(log, 301, 5) == ()


async def test_a_proof_over_lost_rows_is_refused_rather_than_wrong(ledger, two_logs, rows):
    rows("DELETE FROM record WHERE n = 700")
    rows("DELETE FROM tile WHERE i = 1")
    with pytest.raises(LedgerCorrupt, match="verification"):
        await ledger.inclusion(two_logs[0], 3)


@pytest.mark.parametrize(
    "damage", ["DELETE FROM record WHERE seq = 5", "UPDATE record SET leaf = zeroblob(31) WHERE seq = 5"]
)
async def test_a_proof_beyond_a_gap_is_refused_rather_than_made_of_its_neighbours(
    opening, drafts, rows, damage
):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(20)])
    rows(damage)
    with pytest.raises(LedgerCorrupt, match="verification"):
        await ledger.inclusion(log, 10)
    with pytest.raises(LedgerCorrupt, match="verification"):
        await ledger.consistency(log, 8)


async def test_a_tile_with_a_lost_record_borrows_none_from_the_next(opening, drafts, rows):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(600)])
    rows("DELETE FROM record WHERE seq = 255")
    with pytest.raises(LedgerCorrupt, match="verification"):
        await ledger.inclusion(log, 254)
