"""Merkle nodes of a log in a SQLite file: `TiledNodes` over the tables `record` and `tile`.

Rule: read-only.
"""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from app.ledger.tiled import TileCache, TiledNodes

_LEAVES = "SELECT seq, leaf FROM record WHERE log = ? AND seq >= ? AND seq < ? ORDER BY seq"
_TILES = "SELECT i, hash FROM tile WHERE log = ? AND level = ? AND i >= ? AND i < ? ORDER BY i"


class StoredNodes(TiledNodes):
    """A `merkle.NodeGetter` over log number `k`; LedgerCorrupt where rows are missing."""

    def __init__(self, connection: apsw.Connection, k: int, cache: TileCache | None = None) -> None:
        def fetch(level: int, begin: int, end: int) -> Iterable[tuple[int, object]]:
            query = (_TILES, (k, level, begin, end)) if level else (_LEAVES, (k, begin, end))
            return connection.execute(*query)

        super().__init__(fetch, cache)
