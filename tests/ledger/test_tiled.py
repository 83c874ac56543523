"""Nodes out of stored leaves and tiles: the same as out of all leaves, for every size and place."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.ledger.errors import LedgerCorrupt
from app.ledger.merkle import Frontier, inclusion_proof, leaf_hash, tree_root, verify_inclusion
from app.ledger.tiled import TiledNodes

LEAVES = [leaf_hash(b"%d" % number) for number in range(700)]
WHOLE = Frontier()
TILES = {(level, index): node for leaf in LEAVES for level, index, node in WHOLE.append(leaf)}


def fetch(level: int, begin: int, end: int) -> Iterator[tuple[int, object]]:
    if level == 0:
        yield from list(enumerate(LEAVES))[begin:end]
    else:
        yield from (
            (index, node) for (at, index), node in TILES.items() if at == level and begin <= index < end
        )


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 700])
def test_the_right_edge_of_every_past_size_is_what_it_was(size: int) -> None:
    was = Frontier()
    for leaf in LEAVES[:size]:
        was.append(leaf)
    nodes = TiledNodes(fetch)
    assert nodes.frontier(size).to_bytes() == was.to_bytes()
    assert tree_root(nodes, size) == was.root()


def test_a_proof_out_of_stored_nodes_holds() -> None:
    nodes = TiledNodes(fetch)
    for index in (0, 255, 256, 511, 512, 699):
        proof = inclusion_proof(nodes, index, 700)
        verify_inclusion(LEAVES[index], index, 700, proof, WHOLE.root())


def test_a_gap_or_a_foreign_value_is_no_hash_of_its_neighbour() -> None:
    for spoiled in (
        [(0, LEAVES[0]), (2, LEAVES[2])],
        [(0, LEAVES[0]), (1, None)],
        [(0, LEAVES[0]), (1, b"short")],
    ):
        nodes = TiledNodes(lambda level, begin, end, rows=spoiled: iter(rows))
        assert nodes(0, 0) == LEAVES[0]
        with pytest.raises(LedgerCorrupt):
            nodes(0, 1)
