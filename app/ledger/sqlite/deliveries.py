"""How far each log's delivery is, as rows and back.

Rule 1: nothing is lost with a row: a receiver says how many records it has, and old ones know a transaction by its id.
So a damaged row is as if there were none, and a row may wait a moment for company on its way to the disk.
"""

from __future__ import annotations

import logging
from asyncio import Future
from dataclasses import astuple

import apsw

from app.ledger.delivery import DeliveryRow, DeliveryTrouble, DeliveryWay, Standing
from app.ledger.sqlite.rough import DELIVERY, rough_rows
from app.ledger.sqlite.transaction import Transaction

logger = logging.getLogger(__name__)
_PUT = "INSERT OR REPLACE INTO delivery VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DROP = "DELETE FROM delivery WHERE log = ? AND way = ?"


class PutDelivery:
    """Keep `row` in place of what was kept of the same log and way."""

    __slots__ = ("future", "row")

    def __init__(self, row: DeliveryRow, future: Future[None]) -> None:
        self.row = row
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        row = self.row
        values = (row.log, str(row.way), row.url, row.vkey, *astuple(row.standing))
        transaction.statements.append(
            (_PUT, tuple(str(value) if isinstance(value, DeliveryTrouble) else value for value in values))
        )
        return None


class DropDelivery:
    """Forget how far a log is on one way; where nothing was kept, nothing changes."""

    __slots__ = ("future", "log", "way")

    def __init__(self, log: str, way: DeliveryWay, future: Future[None]) -> None:
        self.log = log
        self.way = way
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        transaction.statements.append((_DROP, (self.log, str(self.way))))
        return None


def stored_deliveries(connection: apsw.Connection) -> tuple[DeliveryRow, ...]:
    """Every row that can be read. Raises apsw.Error where the table cannot."""
    found: list[DeliveryRow] = []
    for row, odd in rough_rows(connection, "delivery", DELIVERY, "ORDER BY log, way"):
        try:
            if odd:
                raise ValueError(f"it has lost its {odd}")
            log, way, url, vkey, acked, acked_us, since_us, failures, next_us, trouble, said, note = (
                row.values()
            )
            standing = Standing(
                acked, acked_us, since_us, failures, next_us, DeliveryTrouble(trouble), said, note
            )
            if min(acked, acked_us, since_us, failures, next_us) < 0:
                raise ValueError("it holds a number below zero")
            found.append(DeliveryRow(log, DeliveryWay(way), url, vkey, standing))
        except ValueError as error:
            logger.warning("What is kept of a delivery is damaged (%s); the receiver is asked anew.", error)
    return tuple(found)
