"""How a page is found among a million records: from the newest down, until it is full or enough was looked at.

Rule 1: a call looks at no more than `SCAN_MAX` records; a page cut short by that says where to go on.
Rule 2: a period skips whole spans of records by the earliest and latest start that is kept for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import apsw

from app.ledger.listing import Page, listed
from app.ledger.sqlite.schema import SPAN_RECORDS

SCAN_MAX = 4 * SPAN_RECORDS
"""Records that one call looks at, at most."""
ID_HITS_MAX = 4096
_SELECT = (
    "SELECT n, (SELECT name FROM log WHERE k = record.log), seq, t0, id, "
    "CASE typeof(body) WHEN 'blob' THEN body END FROM record WHERE "
)
_is_id_prefix = re.compile("[0-9a-f]{8,32}").fullmatch


class Window:
    """What a page is asked for, on one moment of the ledger.

    `k` is a log's number, or None for all. A record matches where any of `words` (lower case) stands in its listed
    words and where it started in [since_us, until_us) (µs since the epoch; None is open).
    """

    def __init__(
        self,
        connection: apsw.Connection,
        k: int | None,
        words: tuple[str, ...],
        since_us: int | None,
        until_us: int | None,
    ) -> None:
        self._connection = connection
        self._k = k
        self._since_us = since_us
        self._until_us = until_us
        self._where = ""
        self._bindings: tuple[str | int, ...] = ()
        if words:
            self._and("(" + " OR ".join(["instr(find, ?)"] * len(words)) + ")", *words)
        if since_us is not None:
            self._and("t0 >= ?", since_us)
        if until_us is not None:
            self._and("t0 < ?", until_us)

    def _and(self, condition: str, *bindings: str | int) -> None:
        self._where += " AND " + condition
        self._bindings += bindings

    def scan(self, before: int, limit: int) -> Page:
        """Up to `limit` matches with n < `before`, the newest first."""
        found: list[tuple[Any, ...]] = []
        looked_at, low = 0, before
        order = "n" if self._k is None else "seq"
        for condition, bounds, low_n in self._stretches(before):
            if looked_at >= SCAN_MAX:
                return _page(found, low)
            found += self._rows(
                f"{_SELECT}{condition}{self._where} ORDER BY {order} DESC LIMIT ?",
                (*bounds, *self._bindings, limit + 1 - len(found)),
            )
            if len(found) > limit:
                return _page(found[:limit], found[limit - 1][0])
            looked_at += bounds[-1] - bounds[-2]
            low = low_n
        return _page(found, None)

    def _stretches(self, before: int) -> Iterator[tuple[str, tuple[int, ...], int]]:
        """Conditions that divide what may match into stretches of at most SPAN_RECORDS records, the newest first,
        each with its bindings (the last two are its bounds) and with the lowest n that it can give."""
        if self._k is not None:
            end = self._seq_before(self._k, before)
            while end > 0:
                begin = max(0, end - SPAN_RECORDS)
                yield (
                    "log = ? AND seq >= ? AND seq < ?",
                    (self._k, begin, end),
                    self._n_of(self._k, begin),
                )
                end = begin
            return
        for block in self._blocks((before - 1) // SPAN_RECORDS):
            begin, end = block * SPAN_RECORDS + 1, (block + 1) * SPAN_RECORDS + 1
            yield "n >= ? AND n < ?", (begin, min(end, before)), begin

    def _blocks(self, newest: int) -> Iterator[int]:
        """The numbers of the spans that may hold a match, `newest` and downwards."""
        if self._since_us is None and self._until_us is None:
            yield from range(newest, -1, -1)
            return
        since = -1 if self._since_us is None else self._since_us
        until = 2**62 if self._until_us is None else self._until_us
        # A span that is not full yet has no row, so nothing is known against it: it is at most the newest one.
        full = self._connection.execute("SELECT coalesce(max(block) + 1, 0) FROM span").get
        yield from range(newest, full - 1, -1)
        blocks = self._rows(
            "SELECT block FROM span WHERE block <= ? AND t0_max >= ? AND t0_min < ? ORDER BY block DESC",
            (newest, since, until),
        )
        yield from [block for (block,) in blocks]

    def _rows(self, sql: str, bindings: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, bindings).fetchall()

    def _seq_before(self, k: int, before: int) -> int:
        """How many records of the log have n < `before`: seq and n grow together, so it can be bisected."""
        low, high = 0, self._connection.execute("SELECT size FROM log WHERE k = ?", (k,)).get
        while low < high:
            middle = (low + high) // 2
            if self._n_of(k, middle) < before:
                low = middle + 1
            else:
                high = middle
        return low

    def _n_of(self, k: int, seq: int) -> int:
        n = self._connection.execute("SELECT n FROM record WHERE log = ? AND seq = ?", (k, seq)).get
        return 0 if n is None else int(n)

    def by_id(self, word: str, before: int, limit: int) -> Page | None:
        """The page of records whose id begins with `word`; None where it is no such beginning, or of none.

        UUIDv7 begins with the time, so eight digits are some 65 seconds; of those, ID_HITS_MAX records are found.
        """
        prefix = word.replace("-", "")
        if not _is_id_prefix(prefix):
            return None
        first, last = (bytes.fromhex(prefix.ljust(32, pad)) for pad in "0f")
        hits = self._rows(
            "SELECT n FROM record WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?", (first, last, ID_HITS_MAX)
        )
        if not hits:
            return None
        found: list[tuple[Any, ...]] = []
        for n in sorted((n for (n,) in hits if n < before), reverse=True):
            found += self._rows(f"{_SELECT} n = ? AND (? IS NULL OR log = ?)", (n, self._k, self._k))
            if len(found) > limit:
                return _page(found[:limit], found[limit - 1][0])
        return _page(found, None)


def _page(found: list[tuple[Any, ...]], following: int | None) -> Page:
    return Page(tuple(listed(*columns) for columns in found), following)
