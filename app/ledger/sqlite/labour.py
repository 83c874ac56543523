"""The operator's own time, as the logs have it: summed anew whenever it is asked for, with nothing kept beside them.

Rule: an index leads to the labour records alone, since a ledger may hold a million others.
"""

from __future__ import annotations

import apsw

from app.ledger.drafts import LaborDraft
from app.ledger.heads import LabourSum
from app.ledger.records import decode

LABOUR_RECORDS = (
    "SELECT log.name, record.body FROM record JOIN log ON log.k = record.log"
    " WHERE substr(record.find, -6) = char(10) || 'labor'"
)


def labour_sums(connection: apsw.Connection) -> dict[str, LabourSum]:
    """Log → hours and money that were logged in it; logs without any are left out. LedgerCorrupt, RecordError."""
    sums: dict[str, LabourSum] = {}
    for name, body in connection.execute(LABOUR_RECORDS):
        draft = decode(body).draft
        if isinstance(draft, LaborDraft):
            sums[name] = sums.get(name, LabourSum()).plus(draft)
    return sums
