"""The small tables: money held, clients and keys, as rows and back.

Rule: what a row means is said in `holds.py` and `parties.py`; here stand only its columns.
"""

from __future__ import annotations

import apsw

from app.ledger.holds import HoldRow
from app.ledger.parties import Client, Key, Parties

PUT_HOLD = (
    "INSERT OR REPLACE INTO hold (request_id, log, key, model, endpoint, tariff, t0, amount, seen, e_uj, cost)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
DROP_HOLDS = "DELETE FROM hold WHERE request_id IN (SELECT value FROM json_each(?))"


def stored_holds(connection: apsw.Connection) -> list[HoldRow]:
    """Every hold row, in the order of the requests' ids."""
    rows = connection.execute(
        "SELECT request_id, log, key, model, endpoint, tariff, t0, amount, seen, e_uj, cost FROM hold"
        " ORDER BY request_id"
    )
    return [HoldRow(*row) for row in rows]


def stored_parties(connection: apsw.Connection) -> Parties:
    """What the tables say."""
    clients = connection.execute("SELECT id, name, log, created FROM client ORDER BY created, id")
    keys = connection.execute(
        "SELECT id, sha256, label, role, client, created, revoked, limits FROM key ORDER BY created, id"
    )
    return Parties(tuple(Client(*row) for row in clients), tuple(Key(*row) for row in keys))
