"""The small tables: money held, clients and keys, as rows and back.

Rule: what a row means is said in `holds.py` and `parties.py`; here stand only its columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apsw

from app.ledger.holds import HoldRow
from app.ledger.parties import Client, Key, Parties
from app.ledger.sqlite.rough import CLIENT, HOLD, KEY, TEXT, Types, rough_rows

PUT_HOLD = (
    "INSERT OR REPLACE INTO hold (request_id, log, key, model, endpoint, tariff, t0, amount, seen, e_uj, cost)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
DROP_HOLDS = "DELETE FROM hold WHERE request_id IN (SELECT value FROM json_each(?))"


def stored_holds(connection: apsw.Connection) -> list[HoldRow]:
    """Every hold row, in the order of the requests' ids; ValueError where one is damaged."""
    return [HoldRow(*row.values()) for row in _whole(connection, "hold", HOLD, "ORDER BY request_id")]


def stored_parties(connection: apsw.Connection) -> Parties:
    """What the tables say; ValueError where a row is damaged."""
    clients = _whole(connection, "client", CLIENT, "ORDER BY created, id")
    keys = _whole(connection, "key", {**KEY, "limits": TEXT}, "ORDER BY created, id")
    return Parties(tuple(Client(*row.values()) for row in clients), tuple(Key(*row.values()) for row in keys))


def _whole(connection: apsw.Connection, table: str, types: Types, order: str) -> Iterator[dict[str, Any]]:
    for row, odd in rough_rows(connection, table, types, order):
        if odd:
            raise ValueError(f"a row of the table {table} has lost its {odd}")
        yield row
