"""Whether a ledger's file is still a database that SQLite can read, and in which it finds what is there; what it says
there is the audit's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw

from app.ledger.errors import LedgerCorrupt


def quick_check(connection: apsw.Connection, path: Path, stopped: Callable[[], bool] = lambda: False) -> None:
    """Whether SQLite can read all of the file's tables; it takes a second for each 100 MB or so.

    Raises LedgerCorrupt. Ends at once, without a word, when `stopped()` is true.
    """
    said = _said(connection, "PRAGMA quick_check", stopped)
    # A value that does not fit was put there; which one it is, and what it was, the audit says.
    wrong = [line for line in said if line != "ok" and " value in " not in line]
    if wrong:
        raise LedgerCorrupt(
            f"{path} is damaged ({wrong[0]}): put back a good copy with `mortdecai-gateway ledger restore FILE`, or see"
            " where with `mortdecai-gateway ledger verify`."
        )


def wrong_index(connection: apsw.Connection, stopped: Callable[[], bool] = lambda: False) -> str | None:
    """What SQLite says where its indices do not lead to all rows; None where they do, or `stopped()` was true.

    It takes a second for a million records.
    """
    wrong = [line for line in _said(connection, "PRAGMA integrity_check(1)", stopped) if line != "ok"]
    return wrong[0] if wrong else None


def _said(connection: apsw.Connection, question: str, stopped: Callable[[], bool]) -> list[str]:
    """The lines of the answer; none where it was stopped."""
    connection.set_progress_handler(stopped, 20_000)
    try:
        return [str(line) for (line,) in connection.execute(question)]
    except apsw.InterruptError:
        return []
    except apsw.Error as error:
        return [str(error)]
    finally:
        connection.set_progress_handler(None)
