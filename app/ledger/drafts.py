"""What may be recorded: one frozen dataclass for each kind of record.

Rule 1: the fields and their bounds are declared here once; encoding, decoding and the audit follow them.
Rule 2: a draft says what happened; its place (log, seq) and the running total are given by the writer alone.

A field's bound is the `Rule` in its annotation. `id` is a UUIDv7, `t0` and `t1` are µs since the epoch, `dur_us` is
measured by a monotonic clock, `e_uj` is µJ, `cost` pico-units of the log's currency (a digit string in the record).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

from app.ledger.canonical import INT_MAX
from app.ledger.ids import is_id
from app.ledger.outcomes import RequestOutcome

MONEY_MAX = 2**63 - 1
"""SQLite's largest integer: 9.2 million units of a currency in pico-units."""
TEXT_MAX = 256
"""Characters in a short text; longer ones are cut, for a name the client chose must never prevent its record."""

OUTCOMES = frozenset(outcome.value for outcome in RequestOutcome)
MODEL_ACTIONS = frozenset({"updated", "failed", "refused", "removed"})
"""What can become of a model; `failed` and `refused`: the model is what it was."""
TOKEN_SOURCES = frozenset({"engine", "counted", "none"})

_is_token = re.compile("[a-z0-9_]{1,32}").fullmatch
_is_money = re.compile("0|-?[1-9][0-9]{0,18}").fullmatch
_is_sha256 = re.compile("[0-9a-f]{64}").fullmatch
_is_currency = re.compile("[A-Z]{3}").fullmatch


class Rule(NamedTuple):
    """What a field accepts as JSON, in code and in words; `money` is an int here and a digit string there."""

    accepts: Callable[[Any], bool]
    says: str
    money: bool = False
    text_max: int = 0
    """Above 0: the field is free text, and cut to so many characters."""
    later: bool = False
    """Records made before there was this field lack it; it is None then, and never null in a record."""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= INT_MAX


def _is_amount(value: object) -> bool:
    return isinstance(value, str) and _is_money(value) is not None and -MONEY_MAX <= int(value) <= MONEY_MAX


def _text_up_to(limit: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and len(value) <= limit


def _or_none(rule: Rule) -> Rule:
    return rule._replace(
        accepts=lambda value: value is None or rule.accepts(value), says=f"{rule.says} or null"
    )


_COUNT = Rule(_is_count, "a whole number from 0 to 2**53 - 1")
_TEXT = Rule(_text_up_to(TEXT_MAX), f"a text of at most {TEXT_MAX} characters", text_max=TEXT_MAX)
_LONG = Rule(_text_up_to(1 << 20), "a text of at most 2**20 characters", text_max=1 << 20)
_MONEY = Rule(_is_amount, "a string of digits within 64 bits", money=True)
_ID = Rule(lambda value: isinstance(value, str) and is_id(value) is not None, "a UUIDv7 in lower case")
_TOKEN = Rule(
    lambda value: isinstance(value, str) and _is_token(value) is not None,
    "a word of a-z, 0-9 and _, at most 32 long",
)


def _one_of(*words: str) -> Rule:
    return Rule(lambda value: isinstance(value, str) and value in words, "one of " + ", ".join(sorted(words)))


def _shaped(match: Callable[[str], object], says: str) -> Rule:
    return Rule(lambda value: isinstance(value, str) and match(value) is not None, says)


Count = Annotated[int, _COUNT]
OptionalCount = Annotated[int | None, _or_none(_COUNT)]
Text = Annotated[str, _TEXT]
OptionalText = Annotated[str | None, _or_none(_TEXT)]
LongText = Annotated[str, _LONG]
Money = Annotated[int, _MONEY]
Id = Annotated[str, _ID]
OptionalId = Annotated[str | None, _or_none(_ID)]
Source = Annotated[str, _TOKEN]
LaterText = Annotated[str | None, _LONG._replace(later=True)]
LaterCount = Annotated[int | None, _COUNT._replace(later=True)]
OptionalSha256 = Annotated[str | None, _or_none(_shaped(_is_sha256, "64 hexadecimal digits"))]


@dataclass(frozen=True, slots=True)
class UsageDraft:
    """One request that reached the engine, whatever its end. `req` is the client's own name for it, if any."""

    kind: ClassVar[str] = "usage"
    id: Id
    t0: Count
    t1: Count
    dur_us: Count
    req: OptionalText
    key: Text
    model: Text
    model_digest: OptionalText
    endpoint: Text
    tok_in: OptionalCount
    tok_out: OptionalCount
    tok_src: Annotated[str, _one_of(*TOKEN_SOURCES)]
    outcome: Annotated[str, _one_of(*OUTCOMES)]
    e_uj: Count
    e_src: Source
    tariff: Text
    cost: Money
    e_parts: LaterText = None
    """Where the price changed meanwhile: the energy metered under each, as `billing.metered` tells it."""
    share_us: LaterCount = None
    """What the base rate was charged for, where it is not `dur_us`: others ran beside it."""


@dataclass(frozen=True, slots=True)
class UptimeDraft:
    """Dedicated mode: time and energy that no request carried. `dur_us` lies somewhere within [t0, t1), and the energy
    counts as used evenly over all of that."""

    kind: ClassVar[str] = "uptime"
    id: Id
    t0: Count
    t1: Count
    dur_us: Count
    e_uj: Count
    e_src: Source
    tariff: Text
    cost: Money


@dataclass(frozen=True, slots=True)
class LaborDraft:
    """The operator's own time, logged by hand."""

    kind: ClassVar[str] = "labor"
    id: Id
    t0: Count
    t1: Count
    dur_us: Count
    note: Text
    cost: Money


@dataclass(frozen=True, slots=True)
class AdjustDraft:
    """A correction; records are never changed. `ref` is the id of the record it corrects."""

    kind: ClassVar[str] = "adjust"
    id: Id
    t0: Count
    ref: OptionalId
    reason: Text
    cost: Money


@dataclass(frozen=True, slots=True)
class GenesisDraft:
    """The first record of a log: who lends to whom, and under which verifier key checkpoints are signed."""

    kind: ClassVar[str] = "genesis"
    cost: ClassVar[int] = 0
    id: Id
    t0: Count
    gateway: Text
    client: Text
    vkey: Text


@dataclass(frozen=True, slots=True)
class TariffDraft:
    """The terms that later records are priced by. `tariff` is the id that they name, `content` its whole text."""

    kind: ClassVar[str] = "tariff"
    cost: ClassVar[int] = 0
    id: Id
    t0: Count
    tariff: Text
    currency: Annotated[str, _shaped(_is_currency, "three capital letters")]
    content: LongText
    mode: Source
    margin_ppm: Count
    base_rate: Money
    """Pico-units an hour, as is `labor_rate`."""
    labor_rate: Money
    ac_factor_ppm: LaterCount = None
    """What every energy is multiplied by; None is 1000000."""


@dataclass(frozen=True, slots=True)
class KeyDraft:
    """An access key was created, given other limits, given another secret in place of its own (`rotated`), or revoked;
    its SHA-256 lets whoever has the key recognise it.
    Operators' keys, which belong to no client, are recorded in the log of the first one."""

    kind: ClassVar[str] = "key"
    cost: ClassVar[int] = 0
    id: Id
    t0: Count
    key: Text
    label: Text
    role: Annotated[str, _one_of("client", "operator")]
    action: Annotated[str, _one_of("created", "limited", "revoked", "rotated")]
    key_sha256: Annotated[str, _shaped(_is_sha256, "64 hexadecimal digits")]
    limits: LaterText = None
    """What it may do, as JSON."""


@dataclass(frozen=True, slots=True)
class RotationDraft:
    """From this record on, counted in, checkpoints are signed with another key. Both keys have signed it (base64 of the
    Ed25519 signatures over `signing_keys.statement`), so neither was taken or given without its owner."""

    kind: ClassVar[str] = "rotation"
    cost: ClassVar[int] = 0
    id: Id
    t0: Count
    old_vkey: Text
    new_vkey: Text
    old_signature: Text
    new_signature: Text


@dataclass(frozen=True, slots=True)
class ModelDraft:
    """What somebody made of a model: `key` asked for it, `source` is where the file came from (no query, no secret)."""

    kind: ClassVar[str] = "model"
    cost: ClassVar[int] = 0
    id: Id
    t0: Count
    key: Text
    model: Text
    model_digest: OptionalText
    """The engine's own for the model that came of it."""
    source: Text
    sha256: OptionalSha256
    """Of the file."""
    action: Annotated[str, _one_of(*MODEL_ACTIONS)]
    note: Text
    """Why, in a sentence; empty where nothing is to be said."""


@dataclass(frozen=True, slots=True)
class HeartbeatDraft:
    """Nothing happened, and the log is alive."""

    kind: ClassVar[str] = "heartbeat"
    cost: ClassVar[int] = 0
    id: Id
    t0: Count


@dataclass(frozen=True, slots=True)
class DisputeDraft:
    """The client contests the record `ref`, or the log as a whole."""

    kind: ClassVar[str] = "dispute"
    cost: ClassVar[int] = 0
    id: Id
    t0: Count
    ref: OptionalId
    reason: Text


Draft = (
    UsageDraft
    | UptimeDraft
    | LaborDraft
    | AdjustDraft
    | GenesisDraft
    | TariffDraft
    | KeyDraft
    | RotationDraft
    | ModelDraft
    | HeartbeatDraft
    | DisputeDraft
)
