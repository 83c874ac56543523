"""The seed's way of handing a transaction over: one flat JSON object, with a hash that both sides can compute.

Rule 1: pure. Rule 2: the hash is of the texts as they stand in the JSON, so a cost is never read as a number and
written again: «8.4075e-06» and «0.0000084075» are the same amount and two hashes.

The hash is SHA-256 over what the template says, by default `{id}{tokens}{cost}{secret}` without anything in between,
in hexadecimal digits; `tokens` is the sum of both counts. It proves to an old receiver that the sender knows the
secret, and nothing to anybody else: both sides know it, so either could have written the record. What proves more is
the record's own log, which the flat form names beside it (`log`, `seq`).
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from app.ledger.drafts import AdjustDraft, LaborDraft, UptimeDraft, UsageDraft
from app.ledger.errors import RecordError
from app.ledger.records import Record, decode

TEMPLATE = "{id}{tokens}{cost}{secret}"
PARTS = ("id", "timestamp", "model", "prompt_tokens", "completion_tokens", "tokens", "cost", "secret")
"""What a template may name."""
LINE_MAX_B = 64 * 1024
"""No transaction is longer; what comes from outside is not read beyond."""

_part = re.compile(r"\{(\w*)\}")
_PICO = 10**12
_UJ_PER_WH = 3_600_000_000


def check_template(template: str) -> None:
    """ValueError, whose text is a clause, unless the hash of `template` depends on the record and on the secret."""
    named = _part.findall(template)
    for name in named:
        if name not in PARTS:
            raise ValueError(f"{{{name}}} is none of {', '.join(f'{{{part}}}' for part in PARTS)}")
    for needed in ("id", "secret"):
        if needed not in named:
            raise ValueError(f"{{{needed}}} must stand in it")


class _Number(str):
    """A JSON number as it is written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SeedTransaction:
    """A transaction as somebody else's JSON says it; the texts of its numbers are kept as they stand there."""

    id: str
    timestamp: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    duration_seconds: str
    energy_wh: str
    cost: str
    hash: str

    def is_genuine(self, secret: str, template: str = TEMPLATE) -> bool:
        """Whether its hash is the one that whoever knows `secret` gives it."""
        return hmac.compare_digest(_hash(self, secret, template), self.hash.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class HashCount:
    """How many of `total` transactions carry the right hash; `invalid` names the first others by id or line."""

    total: int
    valid: int
    invalid: tuple[str, ...]


def _hash(of: SeedTransaction, secret: str, template: str) -> bytes:
    parts = {
        "id": of.id,
        "timestamp": of.timestamp,
        "model": of.model,
        "prompt_tokens": str(of.prompt_tokens),
        "completion_tokens": str(of.completion_tokens),
        "tokens": str(of.prompt_tokens + of.completion_tokens),
        "cost": of.cost,
        "secret": secret,
    }
    text = _part.sub(lambda match: parts[match[1]], template)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest().encode()


def flat(record: Record, secret: str, template: str = TEMPLATE) -> bytes | None:
    """The transaction of `record` as one line of JSON without its end; None where the record is none.

    Every request is one, and whatever else costs something: so the costs add up to the log's total. Counts that the
    engine did not tell are 0, and `token_source` says that. The exact integers stand beside the numbers, as strings.
    """
    draft = record.draft
    if not isinstance(draft, UsageDraft) and not draft.cost:
        return None
    said: dict[str, Any] = {"kind": draft.kind, "log": record.log, "seq": record.seq}
    tok_in, tok_out, dur_us, e_uj, model = 0, 0, 0, 0, ""
    match draft:
        case UsageDraft():
            tok_in, tok_out, model = draft.tok_in or 0, draft.tok_out or 0, draft.model
            dur_us, e_uj = draft.dur_us, draft.e_uj
            said |= {
                "key": draft.key,
                "endpoint": draft.endpoint,
                "outcome": draft.outcome,
                "token_source": draft.tok_src,
                "energy_source": draft.e_src,
            }
        case UptimeDraft():
            dur_us, e_uj = draft.dur_us, draft.e_uj
            said["energy_source"] = draft.e_src
        case LaborDraft():
            dur_us = draft.dur_us
            said["note"] = draft.note
        case AdjustDraft():
            said |= {"ref": draft.ref, "reason": draft.reason}
    plain = SeedTransaction(
        id=draft.id,
        timestamp=repr(draft.t0 / 1e6),
        model=model,
        prompt_tokens=tok_in,
        completion_tokens=tok_out,
        duration_seconds=repr(dur_us / 1e6),
        # A quotient of integers is the float nearest to it, and its shortest digits name that float and no other.
        energy_wh=repr(e_uj / _UJ_PER_WH),
        cost=repr(draft.cost / _PICO),
        hash="",
    )
    digest = _hash(plain, secret, template).decode()
    said |= {"energy_uj": str(e_uj), "cost_pico": str(draft.cost), "total_cost_pico": str(record.cum_pico)}
    return (
        f'{{"id":"{plain.id}","timestamp":{plain.timestamp},"model":{_json(model)},"prompt_tokens":{tok_in}'
        f',"completion_tokens":{tok_out},"duration_seconds":{plain.duration_seconds},"energy_wh":{plain.energy_wh}'
        f',"cost":{plain.cost},"hash":"{digest}",{_json(said)[1:]}'
    ).encode()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def flat_lines(bodies: Iterable[bytes], secret: str, template: str = TEMPLATE) -> Iterable[bytes]:
    """The transactions among records, one line each with its end: what the seed's `ledger.jsonl` holds.

    RecordError where a body is no record.
    """
    for body in bodies:
        line = flat(decode(body), secret, template)
        if line is not None:
            yield line + b"\n"


def parse_flat(line: bytes) -> SeedTransaction:
    """The transaction in `line`; RecordError, in one sentence, where it is none or lacks one of the nine fields."""
    if len(line) > LINE_MAX_B:
        raise RecordError(f"A transaction has at most {LINE_MAX_B} bytes.")
    try:
        fields = json.loads(
            line.decode(), parse_float=_Number, parse_int=_Number, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise RecordError("The transaction is not JSON.") from None
    if not isinstance(fields, dict):
        raise RecordError("A transaction is a JSON object.")
    return SeedTransaction(
        id=_text(fields, "id") or _missing("id"),
        timestamp=_text(fields, "timestamp"),
        model=_text(fields, "model"),
        prompt_tokens=_count(fields, "prompt_tokens"),
        completion_tokens=_count(fields, "completion_tokens"),
        duration_seconds=_number(fields, "duration_seconds"),
        energy_wh=_number(fields, "energy_wh"),
        cost=_number(fields, "cost"),
        hash=_text(fields, "hash"),
    )


def count_hashes(lines: Iterable[bytes], secret: str, template: str = TEMPLATE) -> HashCount:
    """How many of the `lines` of a `ledger.jsonl` are genuine transactions; empty lines are none. Of those that are
    not, the first ten are named."""
    total, valid = 0, 0
    invalid: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        total += 1
        name = f"line {number}"
        try:
            found = parse_flat(line.strip())
            name = found.id
            if found.is_genuine(secret, template):
                valid += 1
                continue
        except RecordError:
            pass
        if len(invalid) < 10:
            invalid.append(name)
    return HashCount(total, valid, tuple(invalid))


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _missing(name: str) -> str:
    raise RecordError(f"The transaction has no {name}.")


def _text(fields: dict[str, object], name: str) -> str:
    """A text, or the digits of a number: some senders count their transactions."""
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > 1024:
        raise RecordError(f"The transaction's {name} must be a text of at most 1024 characters.")
    return str(value)


def _number(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, _Number) or len(value) > 64:
        raise RecordError(f"The transaction's {name} must be a number of at most 64 digits.")
    return str(value)


def _count(fields: dict[str, object], name: str) -> int:
    text = _number(fields, name)
    if not text.isdigit() or len(text) > 16:
        raise RecordError(f"The transaction's {name} must be a whole number of at most 16 digits.")
    return int(text)
