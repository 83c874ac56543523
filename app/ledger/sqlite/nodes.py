"""Merkle nodes of a stored log: from the tiles that the writer kept, and from the leaves below them.

Rule 1: read-only.
Rule 2: a node costs at most 256 small rows, whatever the size of the log, so a proof costs a few hundred.
"""

from __future__ import annotations

import apsw

from app.ledger.errors import LedgerCorrupt
from app.ledger.merkle import HASH_B, TILE_LEVELS, node_hash

_LEAVES = "SELECT seq, leaf FROM record WHERE log = ? AND seq >= ? AND seq < ? ORDER BY seq"
_TILES = "SELECT i, hash FROM tile WHERE log = ? AND level = ? AND i >= ? AND i < ? ORDER BY i"


class StoredNodes:
    """A `merkle.NodeGetter` over log number `k`; LedgerCorrupt where rows are missing."""

    def __init__(self, connection: apsw.Connection, k: int) -> None:
        self._connection = connection
        self._k = k
        self._rows: dict[tuple[int, int], list[bytes]] = {}

    def __call__(self, level: int, index: int) -> bytes:
        kept = level - level % TILE_LEVELS
        width = 1 << (level - kept)
        hashes = self._stored(kept, index * width, width)
        while len(hashes) > 1:
            hashes = [node_hash(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=True)]
        return hashes[0]

    def _stored(self, level: int, first: int, count: int) -> list[bytes]:
        """`count` neighbouring hashes of a kept level; the whole tile they lie in is read once."""
        tile, at = divmod(first, 1 << TILE_LEVELS)
        rows = self._rows.get((level, tile))
        if rows is None:
            begin = tile << TILE_LEVELS
            span = (begin, begin + (1 << TILE_LEVELS))
            query = (_TILES, (self._k, level, *span)) if level else (_LEAVES, (self._k, *span))
            rows = self._rows[level, tile] = []
            for number, node in self._connection.execute(*query):
                if number != begin + len(rows) or not isinstance(node, bytes) or len(node) != HASH_B:
                    break  # what follows a gap would stand in the place of another
                rows.append(node)
        found = rows[at : at + count]
        if len(found) != count:
            raise LedgerCorrupt("The ledger lacks hashes that its proofs need: run its verification.")
        return found
