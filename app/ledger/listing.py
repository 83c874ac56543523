"""Records as the faces list them: a row each, a page at a time.

Rule: data, and how it follows from a record's bytes; where the bytes lie is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.ledger.drafts import UsageDraft
from app.ledger.errors import RecordError
from app.ledger.records import decode


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One record as the faces list it; None where the record's kind lacks the field.

    `n` counts the records of all logs from 1 in the order they were committed, `seq` those of the record's own log
    from 0. `t0_us` is µs since the epoch, `dur_us` µs, `e_uj` µJ, money pico-units. A record whose body cannot be
    read any more has the kind «unreadable».
    """

    n: int
    log: str
    seq: int
    id: str
    kind: str
    t0_us: int
    dur_us: int | None
    key: str | None
    model: str | None
    endpoint: str | None
    tok_in: int | None
    tok_out: int | None
    tok_src: str | None
    outcome: str | None
    e_uj: int | None
    e_src: str | None
    cost_pico: int
    cum_pico: int


@dataclass(frozen=True, slots=True)
class Page:
    """Newest records first. `next` is the `before` of the following page, or None at the end."""

    rows: tuple[LedgerRow, ...]
    next: int | None


_OF_THE_DRAFT = (
    "dur_us",
    "key",
    "model",
    "endpoint",
    "tok_in",
    "tok_out",
    "tok_src",
    "outcome",
    "e_uj",
    "e_src",
)


def listed(n: int, log: str, seq: int, t0: object, id_blob: object, body: object) -> LedgerRow:
    """The row of the record in `body`; where that is unreadable, `t0` and the id's 16 bytes stand in."""
    try:
        if not isinstance(body, bytes):
            raise RecordError("a body is bytes")
        record = decode(body)
    except RecordError:
        lost: dict[str, Any] = dict.fromkeys(_OF_THE_DRAFT)
        known = str(UUID(bytes=id_blob)) if isinstance(id_blob, bytes) and len(id_blob) == 16 else ""
        at = t0 if isinstance(t0, int) else 0
        return LedgerRow(n, log, seq, known, "unreadable", at, **lost, cost_pico=0, cum_pico=0)
    draft, cum = record.draft, record.cum_pico
    if isinstance(draft, UsageDraft):  # nearly all; a page should not keep the interpreter for long
        return LedgerRow(
            n, log, seq, draft.id, draft.kind, draft.t0, draft.dur_us, draft.key, draft.model, draft.endpoint,
            draft.tok_in, draft.tok_out, draft.tok_src, draft.outcome, draft.e_uj, draft.e_src, draft.cost, cum,
        )  # fmt: skip
    fields = {name: getattr(draft, name, None) for name in _OF_THE_DRAFT}
    return LedgerRow(
        n, log, seq, draft.id, draft.kind, draft.t0, **fields, cost_pico=draft.cost, cum_pico=cum
    )
