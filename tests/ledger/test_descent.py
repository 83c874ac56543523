"""The first difference of two trees: found at every place of every small tree, in no more questions than it is high."""

from __future__ import annotations

import dataclasses

import pytest

from app.ledger.copies import LeavesCopy
from app.ledger.descent import Descent, ShownRecord
from app.ledger.merkle import ProofError, leaf_hash, root_from_leaves
from tests.receiver.sending import SendingLog


def copy_of(leaves: list[bytes]) -> LeavesCopy:
    log = SendingLog()
    return LeavesCopy(leaves, log.signer.sign_checkpoint(log.log, len(leaves), bytes(32)))


def leaves_but(size: int, *places: int) -> list[bytes]:
    return [b"other %d" % at if at in places else b"leaf %d" % at for at in range(size)]


async def descended(ours: LeavesCopy, theirs: LeavesCopy, size: int) -> tuple[Descent, int]:
    descent, asked = Descent(size), 0
    while descent.seq is not None:
        asked += 1
        descent.told(await ours.record(descent.seq, size), await theirs.record(descent.seq, size))
    return descent, asked


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 33])
async def test_the_first_difference_is_found_wherever_it_is_and_whatever_follows(size: int) -> None:
    ours = copy_of(leaves_but(size))
    most = max(1, (size - 1).bit_length())
    for place in range(size):
        for later in ((), (size - 1,), range(place, size)):
            descent, asked = await descended(ours, copy_of(leaves_but(size, place, *later)), size)
            assert descent.first == place
            assert asked <= most, (size, place, later)
            assert descent.roots is not None
            assert descent.roots[0] == root_from_leaves(map(leaf_hash, leaves_but(size)))
            assert descent.roots[1] != descent.roots[0]


async def test_trees_that_are_the_same_are_asked_for_one_record_and_empty_ones_for_none() -> None:
    ours = copy_of(leaves_but(9))
    descent, asked = await descended(ours, copy_of(leaves_but(9)), 9)
    assert (descent.first, asked) == (None, 1)
    assert descent.roots is not None
    assert descent.roots[0] == descent.roots[1]
    descent, asked = await descended(ours, ours, 0)
    assert (descent.first, descent.roots, asked) == (None, None, 0)


async def test_whoever_shows_another_tree_than_before_is_named() -> None:
    ours, theirs, third = (copy_of(leaves_but(16, *places)) for places in ((), (9,), (9, 11)))
    for liars, said in (((third, theirs), "we show"), ((ours, third), "the other side shows")):
        descent = Descent(16)
        descent.told(await ours.record(0, 16), await theirs.record(0, 16))
        assert descent.seq == 8
        with pytest.raises(ProofError, match=f"^{said} record 8 in another tree than the records before$"):
            descent.told(await liars[0].record(8, 16), await liars[1].record(8, 16))


async def test_a_path_of_another_length_is_no_proof() -> None:
    ours = copy_of(leaves_but(8))
    record = await ours.record(0, 8)
    for path in (record.path[:-1], (*record.path, bytes(32)), ()):
        with pytest.raises(ProofError):
            Descent(8).told(record, dataclasses.replace(record, path=path))
    assert ShownRecord(b"", (), "").growth == ()
