"""Whether a ledger's file is still a database that SQLite can read; what it says there is the audit's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw

from app.ledger.errors import LedgerCorrupt


def quick_check(connection: apsw.Connection, path: Path, stopped: Callable[[], bool] = lambda: False) -> None:
    """Whether SQLite can read all of the file's tables; it takes a second for each 100 MB or so.

    Raises LedgerCorrupt. Ends at once, without a word, when `stopped()` is true.
    """
    connection.set_progress_handler(stopped, 20_000)
    try:
        said = [str(line) for (line,) in connection.execute("PRAGMA quick_check")]
    except apsw.InterruptError:
        return
    except apsw.Error as error:
        said = [str(error)]
    finally:
        connection.set_progress_handler(None)
    # A value that does not fit was put there; which one it is, and what it was, the audit says.
    wrong = [line for line in said if line != "ok" and " value in " not in line]
    if wrong:
        raise LedgerCorrupt(
            f"{path} is damaged ({wrong[0]}): put back a good copy with `mortdecai-gateway ledger restore FILE`, or see"
            " where with `mortdecai-gateway ledger verify`."
        )
