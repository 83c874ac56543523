"""Merkle nodes of a kept log, wherever it is kept: from the tiles that were stored, and from the leaves below them.

Rule 1: pure; the rows come through a function of the store's.
Rule 2: a node costs at most 256 small rows, whatever the size of the log, so a proof costs a few hundred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import cast

from app.ledger.errors import LedgerCorrupt
from app.ledger.merkle import HASH_B, TILE_LEVELS, Frontier

Fetch = Callable[[int, int, int], Iterable[tuple[int, object]]]
"""(level, begin, end) -> (index, hash) of the stored nodes begin to end - 1 of that level, in order; level 0 are the
leaves, the others the tiles. What is missing is left out."""


Levels = list[list[bytes]]
"""A tile: its stored hashes, then level by level what follows from them, as far as it was asked for."""
_WIDTH = 1 << TILE_LEVELS


class TileCache:
    """Whole tiles of one log, which never change again: those that were asked for last, of the leaves' and of the rest.

    A tile takes up to 34 kB; of the few above the leaves all proofs need some, so these keep a place of their own.
    """

    def __init__(self, leaves: int = 16, above: int = 160) -> None:
        self._tiles: tuple[dict[tuple[int, int], Levels], ...] = {}, {}
        self._most = leaves, above

    def get(self, level: int, number: int) -> Levels | None:
        """The tile, which counts as asked for now."""
        kept = self._kept(level)
        levels = kept.pop((level, number), None)
        if levels is not None:
            kept[level, number] = levels
        return levels

    def put(self, level: int, number: int, levels: Levels) -> None:
        """Keep it, where it is whole; the one that was not asked for the longest makes room."""
        if len(levels[0]) == _WIDTH:
            kept = self._kept(level)
            kept[level, number] = levels
            if len(kept) > self._most[level > 0]:
                del kept[next(iter(kept))]

    def _kept(self, level: int) -> dict[tuple[int, int], Levels]:
        return self._tiles[level > 0]


class TiledNodes:
    """A `merkle.NodeGetter` over what `fetch` finds; LedgerCorrupt where rows are missing."""

    def __init__(self, fetch: Fetch, cache: TileCache | None = None) -> None:
        """`cache` is what earlier proofs of the same log have read."""
        self._fetch = fetch
        self._cache = cache
        self._tiles: dict[tuple[int, int], Levels] = {}
        self._known: dict[tuple[int, int], bytes] = {}

    def know(self, edge: Frontier) -> None:
        """Take these hashes, which then need not be read, for the right edge of the tree over so many leaves."""
        begin, peaks = 0, iter(edge.peaks)
        for level in reversed(range(edge.size.bit_length())):
            if edge.size >> level & 1:
                self._known[level, begin >> level] = next(peaks)
                begin += 1 << level

    def __call__(self, level: int, index: int) -> bytes:
        known = self._known.get((level, index))
        if known is not None:
            return known
        above = level % TILE_LEVELS
        tile, at = divmod(index, _WIDTH >> above)
        levels = self._tile(level - above, tile)
        while len(levels) <= above:
            below = levels[-1]
            levels.append(
                [
                    sha256(b"\x01" + left + right).digest()
                    for left, right in zip(below[::2], below[1::2], strict=False)
                ]
            )
        if at >= len(levels[above]):
            raise LedgerCorrupt("The ledger lacks hashes that its proofs need: run its verification.")
        return levels[above][at]

    def frontier(self, size: int) -> Frontier:
        """The right edge of the tree over the first `size` leaves."""
        peaks, begin = [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                peaks.append(self(level, begin >> level))
                begin += 1 << level
        return Frontier(size, peaks)

    def _tile(self, level: int, number: int) -> Levels:
        """A tile of a kept level, whose rows are read once; no longer than what could be read without a gap."""
        place = level, number
        levels = self._tiles.get(place)
        if levels is None and self._cache is not None:
            levels = self._cache.get(level, number)
        if levels is None:
            begin = number << TILE_LEVELS
            levels = [_rows(list(self._fetch(level, begin, begin + _WIDTH)), begin)]
            if self._cache is not None:
                self._cache.put(level, number, levels)
        self._tiles[place] = levels
        return levels


def _rows(found: list[tuple[int, object]], begin: int) -> list[bytes]:
    """The hashes in `found`, as far as there is no gap: what follows one would stand in the place of another."""
    numbers, nodes = [number for number, _ in found], [node for _, node in found]
    whole = numbers == list(range(begin, begin + len(found)))
    if whole and set(map(type, nodes)) <= {bytes} and set(map(len, cast("list[bytes]", nodes))) <= {HASH_B}:
        return cast("list[bytes]", nodes)
    rows: list[bytes] = []
    for number, node in found:
        if number != begin + len(rows) or not isinstance(node, bytes) or len(node) != HASH_B:
            break
        rows.append(node)
    return rows
