"""The rows of a ledger of any length, of which only some are in memory.

Rule 1: pure; it is told pages and answers with rows, and says which page it lacks.
Rule 2: bounded: the newest stretch stays, older pages are kept by last use and asked for again by the same cursor.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from app.ledger.listing import LedgerRow, Page

PAGES_KEPT: Final = 40
HEAD_KEPT: Final = 2000
"""More new records than this on top, and the list is better read anew."""


class LedgerRows:
    """Newest first: a head that grows upwards, then pages by their cursor."""

    def __init__(self) -> None:
        self._head: list[LedgerRow] = []
        self._cursors: list[int] = []
        self._starts: list[int] = []
        self._kept: OrderedDict[int, tuple[LedgerRow, ...]] = OrderedDict()
        self._below = 0
        self.next: int | None = None
        """The cursor of the page after the last known one, or None at the ledger's end."""

    def __len__(self) -> int:
        return len(self._head) + self._below

    @property
    def in_memory(self) -> int:
        """How many rows are held at present."""
        return len(self._head) + sum(map(len, self._kept.values()))

    @property
    def newest(self) -> LedgerRow | None:
        """The topmost row."""
        return self._head[0] if self._head else None

    def begin(self, page: Page) -> None:
        """Start anew with the first page."""
        self.__init__()  # type: ignore[misc]
        self._head = list(page.rows)
        self.next = page.next

    def append(self, page: Page) -> None:
        """Add the page that was asked for with `next`."""
        if self.next is None:
            raise ValueError("the ledger's end is known; no page follows it")
        self._cursors.append(self.next)
        self._starts.append(self._below)
        self._keep(len(self._cursors) - 1, page.rows)
        self._below += len(page.rows)
        self.next = page.next

    def newer(self, page: Page) -> Sequence[LedgerRow] | None:
        """The rows of a fresh first page that are not known yet; None where there is a hole or too many came."""
        newest = self.newest
        if newest is None:
            return None
        fresh = [row for row in page.rows if row.n > newest.n]
        hole = len(fresh) == len(page.rows) and page.next is not None
        return None if hole or len(fresh) + len(self._head) > HEAD_KEPT else fresh

    def prepend(self, rows: Sequence[LedgerRow]) -> None:
        """Put newer rows on top."""
        self._head[:0] = rows

    def row(self, index: int) -> LedgerRow | None:
        """The row at a place, or None while its page is not in memory."""
        if index < len(self._head):
            return self._head[index]
        number, place = self._place(index)
        rows = self._kept.get(number)
        if rows is None:
            return None
        self._kept.move_to_end(number)
        return rows[place]

    def lacking(self, index: int) -> tuple[int, int] | None:
        """Number and cursor of the page that holds a place, where it is not in memory."""
        if index < len(self._head):
            return None
        number, _ = self._place(index)
        return None if number in self._kept else (number, self._cursors[number])

    def refill(self, number: int, page: Page) -> tuple[int, int]:
        """Put a page back; returns its first and last place."""
        self._keep(number, page.rows)
        first = len(self._head) + self._starts[number]
        return first, first + len(page.rows) - 1

    def _place(self, index: int) -> tuple[int, int]:
        below = index - len(self._head)
        number = bisect_right(self._starts, below) - 1
        return number, below - self._starts[number]

    def _keep(self, number: int, rows: tuple[LedgerRow, ...]) -> None:
        self._kept[number] = rows
        self._kept.move_to_end(number)
        while len(self._kept) > PAGES_KEPT:
            self._kept.popitem(last=False)
