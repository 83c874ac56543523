"""Merkle nodes of a kept log, wherever it is kept: from the tiles that were stored, and from the leaves below them.

Rule 1: pure; the rows come through a function of the store's.
Rule 2: a node costs at most 256 small rows, whatever the size of the log, so a proof costs a few hundred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from app.ledger.errors import LedgerCorrupt
from app.ledger.merkle import HASH_B, TILE_LEVELS, Frontier, node_hash

Fetch = Callable[[int, int, int], Iterable[tuple[int, object]]]
"""(level, begin, end) -> (index, hash) of the stored nodes begin to end - 1 of that level, in order; level 0 are the
leaves, the others the tiles. What is missing is left out."""


class TiledNodes:
    """A `merkle.NodeGetter` over what `fetch` finds; LedgerCorrupt where rows are missing."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._rows: dict[tuple[int, int], list[bytes]] = {}

    def __call__(self, level: int, index: int) -> bytes:
        kept = level - level % TILE_LEVELS
        width = 1 << (level - kept)
        hashes = self._stored(kept, index * width, width)
        while len(hashes) > 1:
            hashes = [node_hash(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=True)]
        return hashes[0]

    def frontier(self, size: int) -> Frontier:
        """The right edge of the tree over the first `size` leaves."""
        peaks, begin = [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                peaks.append(self(level, begin >> level))
                begin += 1 << level
        return Frontier(size, peaks)

    def _stored(self, level: int, first: int, count: int) -> list[bytes]:
        """`count` neighbouring hashes of a kept level; the whole tile they lie in is read once."""
        tile, at = divmod(first, 1 << TILE_LEVELS)
        rows = self._rows.get((level, tile))
        if rows is None:
            begin = tile << TILE_LEVELS
            rows = self._rows[level, tile] = []
            for number, node in self._fetch(level, begin, begin + (1 << TILE_LEVELS)):
                if number != begin + len(rows) or not isinstance(node, bytes) or len(node) != HASH_B:
                    break  # what follows a gap would stand in the place of another
                rows.append(node)
        found = rows[at : at + count]
        if len(found) != count:
            raise LedgerCorrupt("The ledger lacks hashes that its proofs need: run its verification.")
        return found
