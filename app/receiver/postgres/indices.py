"""Whether PostgreSQL's indices lead to every row: its own extension amcheck compares each with its table.

Rule: nothing is installed here; where the extension is missing, or not for this user, that is said.

Source: postgresql.org/docs/current/amcheck.html, `bt_index_check(index, heapallindexed)`, which takes the locks of a
reader only.
"""

from __future__ import annotations

from psycopg import errors, sql

from app.receiver.errors import IndicesUnchecked
from app.receiver.postgres.connection import Rows

_HOW = "let the owner of the database say CREATE EXTENSION amcheck, and grant this user EXECUTE on bt_index_check"
_SCHEMA = (
    "SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace"
    " WHERE extname = 'amcheck'"
)
_INDICES = (
    "SELECT pg_class.oid FROM pg_class JOIN pg_am ON pg_am.oid = relam JOIN pg_namespace ON pg_namespace.oid ="
    " relnamespace WHERE nspname = current_schema() AND relkind = 'i' AND amname = 'btree' ORDER BY relname"
)


def wrong_index(connection: Rows) -> str | None:
    """What is wrong with the first of our indices that does not lead to all rows; None where each does. Raises
    IndicesUnchecked, psycopg.Error."""
    found = connection.execute(_SCHEMA).fetchone()
    if found is None:
        raise IndicesUnchecked(f"the extension amcheck is not there: {_HOW}")
    check = sql.SQL("SELECT {}.bt_index_check(%s, true)").format(sql.Identifier(str(found[0])))
    try:
        with connection.transaction():
            connection.execute("SET LOCAL statement_timeout TO 0")
            for (index,) in connection.execute(_INDICES).fetchall():
                connection.execute(check, (index,))
    except errors.InsufficientPrivilege:
        raise IndicesUnchecked(f"this user may not ask for it: {_HOW}") from None
    except (errors.IndexCorrupted, errors.DataCorrupted) as error:
        return str(error).splitlines()[0]
    return None
