"""Nodes out of stored leaves and tiles: the same as out of all leaves, for every size and place."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.ledger.errors import LedgerCorrupt
from app.ledger.merkle import Frontier, inclusion_proof, leaf_hash, tree_root, verify_inclusion
from app.ledger.tiled import TileCache, TiledNodes

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


class Counted:
    """`fetch` over the first `size` leaves, which counts what is asked of it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.asked: list[tuple[int, int]] = []

    def __call__(self, level: int, begin: int, end: int) -> Iterator[tuple[int, object]]:
        self.asked.append((level, begin))
        return fetch(level, begin, min(end, self.size >> level))


def edge(size: int) -> Frontier:
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf)
    return frontier


def test_a_whole_tile_is_read_once_for_all_proofs_and_a_growing_one_each_time() -> None:
    cache = TileCache()
    for size in (600, 650, 700):
        counted = Counted(size)
        for index in (0, 255, 300, size - 1):
            nodes = TiledNodes(counted, cache)
            verify_inclusion(
                LEAVES[index], index, size, inclusion_proof(nodes, index, size), edge(size).root()
            )
        again = counted.asked if size > 600 else []
        assert {(0, 0), (0, 256)}.isdisjoint(again)
        assert (0, 512) in counted.asked


@pytest.mark.parametrize(("level", "most"), [(0, 2), (8, 3)])
def test_the_tile_that_was_not_asked_for_the_longest_makes_room(level: int, most: int) -> None:
    cache = TileCache(leaves=2, above=3)
    levels = [[bytes(32)] * 256]
    for number in range(most):
        cache.put(level, number, levels)
        cache.put(8 - level, 0, levels)
    assert cache.get(level, 0) is levels
    cache.put(level, 9, levels)
    assert [number for number in range(10) if cache.get(level, number)] == [0, *range(2, most), 9]
    assert cache.get(8 - level, 0) is levels


def test_a_tile_that_still_grows_is_not_kept() -> None:
    cache = TileCache()
    cache.put(0, 4, [[bytes(32)] * 255])
    assert cache.get(0, 4) is None


@pytest.mark.parametrize("size", [1, 2, 3, 256, 257, 600, 700])
def test_a_right_edge_that_is_known_is_not_read(size: int) -> None:
    counted = Counted(size)
    nodes = TiledNodes(counted)
    nodes.know(edge(size))
    assert nodes.frontier(size).to_bytes() == edge(size).to_bytes()
    assert tree_root(nodes, size) == edge(size).root()
    assert counted.asked == []
    for index in (0, size // 2, size - 1):
        verify_inclusion(LEAVES[index], index, size, inclusion_proof(nodes, index, size), edge(size).root())
