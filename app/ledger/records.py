"""Records as bytes: a draft, its place and the running total in canonical JSON, and back.

Rule 1: pure. The bytes made here are the bytes that are stored, hashed, delivered and proven.
Rule 2: the schema is closed: an unknown, missing or out-of-bounds field is a RecordError, on the way in and out.

Every record carries `v, log, seq, id, kind, t0, cost, cum` and the fields of its kind's draft; `cum` is the sum of
`cost` over the log up to and with this record. Usage records, which are nearly all, have a fast way each way
(`usage.py`); it gives the same bytes and accepts the same records, and the tests hold it to that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from app.ledger import usage
from app.ledger.canonical import INT_MAX, CanonicalError, canonical, parse_canonical
from app.ledger.drafts import (
    MONEY_MAX,
    TEXT_MAX,
    AdjustDraft,
    DisputeDraft,
    Draft,
    GenesisDraft,
    HeartbeatDraft,
    KeyDraft,
    LaborDraft,
    ModelDraft,
    RotationDraft,
    Rule,
    TariffDraft,
    UptimeDraft,
    UsageDraft,
)
from app.ledger.errors import RecordError
from app.ledger.ids import uuid7

__all__ = [
    "AdjustDraft",
    "DisputeDraft",
    "Draft",
    "GenesisDraft",
    "HeartbeatDraft",
    "KeyDraft",
    "LaborDraft",
    "ModelDraft",
    "Record",
    "RotationDraft",
    "TariffDraft",
    "UptimeDraft",
    "UsageDraft",
    "decode",
    "encode",
    "recordable",
    "searchable",
    "uuid7",
]

VERSION = 1
DRAFTS: dict[str, type[Draft]] = {draft.kind: draft for draft in get_args(Draft)}
_PLACE = frozenset({"v", "log", "seq", "kind", "cost", "cum"})


@dataclass(frozen=True, slots=True)
class Record:
    """A draft in its place. `cum_pico` is the log's sum of costs up to and with this record."""

    log: str
    seq: int
    cum_pico: int
    draft: Draft


def _rules_of(draft: type[Draft]) -> dict[str, Rule]:
    hints = get_type_hints(draft, include_extras=True)
    return {
        name: rule
        for name, hint in hints.items()
        for rule in getattr(hint, "__metadata__", ())
        if isinstance(rule, Rule)
    }


RULES: dict[str, dict[str, Rule]] = {kind: _rules_of(draft) for kind, draft in DRAFTS.items()}
"""For each kind, the rule of each field of its draft."""
_NAMES = {kind: _PLACE | rules.keys() for kind, rules in RULES.items()}
_LATER = {kind: {name for name, rule in rules.items() if rule.later} for kind, rules in RULES.items()}


def recordable(text: str, limit: int = TEXT_MAX) -> str:
    """`text` without lone surrogates (U+FFFD instead) and cut to `limit` characters.

    What a client may choose freely must never make its usage unrecordable, or it would be free.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")[:limit]


def _json_value(kind: str, name: str, rule: Rule, value: object) -> object:
    if rule.money and value.__class__ is int:
        value = str(value)
    elif rule.text_max and isinstance(value, str):
        value = recordable(value, rule.text_max)
    if not rule.accepts(value):
        raise RecordError(f"{name} of a {kind} record is {rule.says}, not {value!r:.80}")
    return value


def encode(draft: Draft, log: str, seq: int, cum: int) -> bytes:
    """The canonical bytes of `draft` as record `seq` (from 0) of `log`; `cum` includes the draft's own cost.

    Free text is made recordable (see there); anything else out of bounds is a RecordError.
    """
    if draft.__class__ is UsageDraft and (body := usage.encode(draft, log, seq, cum)) is not None:
        return body
    kind = str(getattr(draft, "kind", None))
    if DRAFTS.get(kind) is not draft.__class__:
        raise RecordError(f"a {type(draft).__name__} cannot be recorded")
    if not (seq.__class__ is int and 0 <= seq <= INT_MAX and cum.__class__ is int and abs(cum) <= MONEY_MAX):
        raise RecordError(f"record {seq} with a running total of {cum} is beyond what a log can hold")
    fields: dict[str, object] = {
        name: _json_value(kind, name, rule, getattr(draft, name))
        for name, rule in RULES[kind].items()
        if not (rule.later and getattr(draft, name) is None)
    }
    fields |= {"v": VERSION, "log": log, "seq": seq, "kind": kind, "cum": str(cum)}
    fields.setdefault("cost", "0")
    try:
        return canonical(fields)
    except CanonicalError as error:
        raise RecordError(f"a {kind} record cannot be written: {error}") from None


def decode(body: bytes) -> Record:
    """The record in `body`; RecordError unless it is canonical and fits the closed schema."""
    if (plain := usage.decode(body)) is not None:
        return Record(*plain)
    try:
        fields = parse_canonical(body)
    except CanonicalError as error:
        raise RecordError(f"not a record: {error}") from None
    kind = fields.get("kind") if isinstance(fields, dict) else None
    if not isinstance(kind, str) or kind not in DRAFTS:
        raise RecordError(f"not a record: its kind is {kind!r:.80}")
    if odd := sorted((fields.keys() ^ _NAMES[kind]) - (_LATER[kind] - fields.keys())):
        raise RecordError(f"a {kind} record lacks or adds {', '.join(odd)[:200]}")
    rules = {name: rule for name, rule in RULES[kind].items() if name in fields}
    values = {name: _checked(kind, name, rule, fields[name]) for name, rule in rules.items()}
    if "cost" not in values and fields["cost"] != "0":
        raise RecordError(f"a {kind} record costs nothing, not {fields['cost']!r:.80}")
    if fields["v"].__class__ is not int or fields["v"] != VERSION:
        raise RecordError(f"a record of version {fields['v']!r:.80} is unknown here")
    cum = _checked(kind, "cum", _MONEY_RULE, fields["cum"])
    seq = _checked(kind, "seq", _COUNT_RULE, fields["seq"])
    log = _checked(kind, "log", _TEXT_RULE, fields["log"])
    return Record(log, seq, cum, DRAFTS[kind](**values))


_COUNT_RULE, _TEXT_RULE, _MONEY_RULE = (RULES["usage"][name] for name in ("t0", "key", "cost"))


def _checked(kind: str, name: str, rule: Rule, value: Any) -> Any:
    if not rule.accepts(value):
        raise RecordError(f"{name} of a {kind} record is {rule.says}, not {value!r:.80}")
    return int(value) if rule.money else value


def searchable(draft: Draft) -> str:
    """The words by which a face finds the record, in lower case, a line each; derived from the draft alone."""
    if draft.__class__ is UsageDraft:
        return usage.searchable(draft)
    rules = RULES[draft.kind]
    words = [getattr(draft, name) for name, rule in rules.items() if rule.text_max == TEXT_MAX]
    return recordable("\n".join([*(word for word in words if word), draft.kind]).lower(), 4 * TEXT_MAX)
