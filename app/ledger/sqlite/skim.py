"""A stretch of records looked at by itself: is each plainly in order, and what must fit to its neighbours?

Rule 1: never a second opinion: where anything at all is not plainly in order there is no `Skim`, and the audit reads
the stretch again, with a sentence for everything that may be wrong.
Rule 2: nothing here knows what came before, so stretches can be looked at on several cores at once (`cores.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import apsw

from app.ledger import usage
from app.ledger.errors import RecordError
from app.ledger.heads import LogHead
from app.ledger.ids import id_bytes
from app.ledger.merkle import Frontier
from app.ledger.records import Record, decode, searchable

ROWS = "SELECT n, log, seq, t0, id, find, leaf, body FROM record WHERE n > ? AND n <= ? ORDER BY n"


class Stint:
    """The records of one log within a stretch: they follow each other, from number `first` on; `before` was the log's
    running total ahead of them. `sums` counts them alone, but for its `cum`, the running total after them; `leaves` are
    their hashes, and `notable` those that are no usage records."""

    __slots__ = ("before", "first", "leaves", "notable", "sums")

    def __init__(self, k: int, name: str, first: int, before: int) -> None:
        self.first = first
        self.before = before
        self.sums = LogHead(k, name, Frontier())
        self.sums.cum = before
        self.leaves: list[bytes] = []
        self.notable: list[Record] = []


@dataclass(frozen=True, slots=True)
class Skim:
    """The records with `after` < n <= `upto`, all there; the earliest and latest beginning; stints by log number."""

    after: int
    upto: int
    t0_min: int
    t0_max: int
    stints: dict[int, Stint]


def skim(connection: apsw.Connection, after: int, upto: int) -> Skim | None:
    """The records with `after` < n <= `upto` (at least one), or None where they are not plainly in order."""
    try:
        return _skim(connection, after, upto)
    except (apsw.Error, UnicodeDecodeError, RecordError):
        return None


def _skim(connection: apsw.Connection, after: int, upto: int) -> Skim | None:
    stints: dict[int, Stint] = {}
    scan = usage.scan
    expected, t0_min, t0_max = after, 2**63, -1
    for row in connection.execute(ROWS, (after, upto)):
        n, k, seq, t0, id_blob, find, leaf, body = row
        expected += 1
        if not (
            n == expected
            and k.__class__ is seq.__class__ is t0.__class__ is int
            and id_blob.__class__ is leaf.__class__ is body.__class__ is bytes
            and find.__class__ is str
            and leaf == sha256(b"\x00" + body).digest()
        ):
            return None
        if t0 < t0_min:
            t0_min = t0
        if t0 > t0_max:
            t0_max = t0
        stint = stints.get(k)
        match = scan(body.decode("latin-1"))
        if match is None:
            if not _other(stints, row):
                return None
            continue
        (
            cost, cum, dur_us, e_uj, endpoint, record_id, key, name, model, outcome, own_seq, own_t0, tok_in, tok_out,
        ) = match.groups()  # fmt: skip
        cost = int(cost)
        if stint is None:
            stint = stints[k] = Stint(k, name, seq, int(cum) - cost)
        sums, leaves = stint.sums, stint.leaves
        running = sums.cum + cost
        if not (
            seq == stint.first + len(leaves) == int(own_seq)
            and name == sums.name
            and int(cum) == running
            and int(own_t0) == t0
            and id_blob.hex() == record_id.replace("-", "")
            and find == f"{key}\n{model}\n{endpoint}\n{outcome}\nusage".lower()
        ):
            return None
        leaves.append(leaf)
        sums.cum = running
        sums.requests += 1
        sums.dur_us += int(dur_us)
        sums.e_uj += int(e_uj)
        if tok_in is not None:
            sums.tok_in += int(tok_in)
        if tok_out is not None:
            sums.tok_out += int(tok_out)
    return Skim(after, upto, t0_min, t0_max, stints) if expected == upto else None


def _other(stints: dict[int, Stint], row: tuple[Any, ...]) -> bool:
    """Add a record of another kind, or one of usage that is out of the ordinary; False where it is not in order."""
    _, k, seq, t0, id_blob, find, leaf, body = row
    record = decode(body)
    draft = record.draft
    stint = stints.get(k)
    if stint is None:
        stint = stints[k] = Stint(k, record.log, seq, record.cum_pico - draft.cost)
    sums = stint.sums
    if not (
        seq == stint.first + len(stint.leaves) == record.seq
        and record.log == sums.name
        and record.cum_pico == sums.cum + draft.cost
        and t0 == draft.t0
        and id_blob == id_bytes(draft.id)
        and find == searchable(draft)
    ):
        return False
    stint.leaves.append(leaf)
    sums.cum = record.cum_pico
    sums.count(draft)
    if draft.kind != "usage":
        stint.notable.append(record)
    return True
