"""Reading rows that somebody may have damaged: a column of another type, a NULL, a text that is no UTF-8.

Rule: nothing here raises for what a row holds; what does not fit is named, and None stands in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import apsw

INTEGER, TEXT, BLOB = ("integer",), ("text",), ("blob",)
MAYBE_INTEGER, MAYBE_TEXT = ("integer", "null"), ("text", "null")

Types = Mapping[str, tuple[str, ...]]
"""Column → the types that SQLite may call its values."""

RECORD: Types = {
    "n": INTEGER, "log": INTEGER, "seq": INTEGER, "t0": INTEGER, "id": BLOB, "find": TEXT, "leaf": BLOB, "body": BLOB,
}  # fmt: skip
LOG: Types = {
    "k": INTEGER, "name": TEXT, "size": INTEGER, "cum": INTEGER, "requests": INTEGER, "tok_in": INTEGER,
    "tok_out": INTEGER, "dur_us": INTEGER, "e_uj": INTEGER, "terms": TEXT, "checkpoint": TEXT, "frontier": BLOB,
}  # fmt: skip
KEPT: Types = {"log": INTEGER, "size": INTEGER, "checkpoint": TEXT}
SPAN: Types = {"block": INTEGER, "t0_min": INTEGER, "t0_max": INTEGER}
CLIENT: Types = {"id": TEXT, "name": TEXT, "log": TEXT, "created": INTEGER}
KEY: Types = {
    "id": TEXT, "sha256": BLOB, "label": TEXT, "role": TEXT, "client": MAYBE_TEXT, "created": INTEGER,
    "revoked": MAYBE_INTEGER,
}  # fmt: skip
HOLD: Types = {
    "request_id": TEXT, "log": TEXT, "key": TEXT, "model": TEXT, "endpoint": TEXT, "tariff": TEXT, "t0": INTEGER,
    "amount": INTEGER, "seen": INTEGER, "e_uj": INTEGER, "cost": INTEGER,
}  # fmt: skip
DELIVERY: Types = {
    "log": TEXT, "way": TEXT, "url": TEXT, "vkey": TEXT, "acked": INTEGER, "acked_us": INTEGER, "since_us": INTEGER,
    "failures": INTEGER, "next_us": INTEGER, "trouble": TEXT, "said": TEXT, "note": TEXT,
}  # fmt: skip


def rough_rows(
    connection: apsw.Connection, table: str, types: Types, rest: str = "", *bindings: int
) -> Iterator[tuple[dict[str, Any], str]]:
    """The rows of `table`, each with the name of its first column that does not fit, "" where all do.

    `rest` is what follows the table's name in the statement. Raises apsw.Error where the table cannot be read.
    """
    wanted = ", ".join(
        f"typeof({name}), CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END"
        for name in types
    )
    for row in connection.execute(f"SELECT {wanted} FROM {table} {rest}", bindings):  # noqa: S608  (names from above)
        values: dict[str, Any] = {}
        odd = ""
        for at, (name, allowed) in enumerate(types.items()):
            kind, value = row[2 * at], row[2 * at + 1]
            fits = kind in allowed
            if kind == "text":
                try:
                    value = value.decode()
                except UnicodeDecodeError:
                    fits = False
            values[name] = value if fits else None
            if not fits and not odd:
                odd = name
        yield values, odd
