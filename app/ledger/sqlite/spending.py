"""What was spent, by log, key and the quarter of an hour in which the work ended, as the records have it.

Rule 1: an index holds all of it, so a month with a million records is summed in half a second, and nothing is kept that
could differ from the records. Rule 2: what is read is everything that had been handed over for recording at one moment,
and nothing that was handed over later; whoever counts on from that moment counts nothing twice.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Iterator
from dataclasses import dataclass

import apsw

from app.basics.quarters import quarter_of
from app.ledger.spending import Spent
from app.ledger.sqlite.schema import COST_OF, KEY_OF, QUARTER
from app.ledger.sqlite.transaction import Transaction

_SPENT = (
    f"SELECT log.name, spent.key, spent.quarter, spent.cost FROM (SELECT log, {KEY_OF} AS key, {QUARTER} AS quarter,"  # noqa: S608  (names of our own)
    f" sum({COST_OF}) AS cost FROM record INDEXED BY record_spent WHERE {QUARTER} >= ? AND n <= ?"
    " GROUP BY 3, 1, 2) AS spent JOIN log ON log.k = spent.log WHERE spent.cost <> 0"
)


@dataclass(frozen=True, slots=True)
class SpentMark:
    """So many records the file has at a moment, and so much they cost."""

    n: int
    cum_pico: int


class MarkSpent:
    """Say what the file has with everything that was handed over before."""

    __slots__ = ("future",)

    def __init__(self, future: Future[SpentMark]) -> None:
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        return SpentMark(transaction.n, transaction.cum)


def spent_by_quarter(connection: apsw.Connection, since_us: int, upto: int) -> Iterator[Spent]:
    """The sums over the records with n <= `upto` whose work ended in the quarter of `since_us` or later."""
    for log, key, quarter, cost in connection.execute(_SPENT, (quarter_of(since_us), upto)):
        yield Spent(log, key, quarter, cost)
