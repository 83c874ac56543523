"""A month of one log in figures: what was used, day by day, by model and by key, and on what terms; signed.

Rule 1: pure, and worked out from the records alone, so whoever has the records gets the same figures byte for byte.
Rule 2: a record belongs to the month in which its work began, in the zone that the statement names. Rule 3: the
signature is over the hashes of everything that is handed out, and can be taken for no checkpoint's.

The signature is a C2SP signed note over the lines `mortdecai-gateway/statement/v1`, log, month, and `<ending>
<SHA-256 in base64>` for each file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from hashlib import sha256
from typing import Any

from app.ledger.canonical import canonical
from app.ledger.checkpoint import Signer, VerifierKey, b64, parse_checkpoint, unb64, verify_note
from app.ledger.drafts import AdjustDraft, GenesisDraft, KeyDraft, LaborDraft, TariffDraft, UsageDraft
from app.ledger.errors import BadProof, CheckpointError, LedgerError
from app.ledger.records import Record, decode

FORM = "mortdecai-gateway/statement/v1"
NO_CURRENCY = "XXX"
"""ISO 4217's code for it, where no terms were recorded."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month in a time zone: [from_us, to_us) in µs since the epoch, whatever the clocks did in between."""

    text: str
    zone_name: str
    zone: tzinfo
    from_us: int
    to_us: int

    @classmethod
    def of(cls, text: str, zone_name: str, zone: tzinfo) -> Month:
        """From YYYY-MM; ValueError where that is none."""
        first = datetime.strptime(text, "%Y-%m").replace(tzinfo=zone)
        if first.strftime("%Y-%m") != text:
            raise ValueError(f"{text!r:.20} is no month")
        end = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
        return cls(text, zone_name, zone, _us(first), _us(end))

    def local(self, at_us: int) -> datetime:
        """That moment on the month's clocks."""
        return (_EPOCH + timedelta(microseconds=at_us)).astimezone(self.zone)


def _us(at: datetime) -> int:
    return (at.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


@dataclass(slots=True)
class MonthSums:
    """What some records add up to. Unknown token counts add nothing."""

    records: int = 0
    requests: int = 0
    tok_in: int = 0
    tok_out: int = 0
    dur_us: int = 0
    e_uj: int = 0
    cost: int = 0

    def add(self, record: Record) -> None:
        """One more."""
        draft = record.draft
        self.records += 1
        self.cost += draft.cost
        self.e_uj += getattr(draft, "e_uj", 0)
        if isinstance(draft, UsageDraft):
            self.requests += 1
            self.tok_in += draft.tok_in or 0
            self.tok_out += draft.tok_out or 0
            self.dur_us += draft.dur_us

    def told(self) -> dict[str, Any]:
        """As it stands in the data; amounts beyond JSON's exact numbers are text."""
        return {
            "records": self.records,
            "requests": self.requests,
            "tok_in": self.tok_in,
            "tok_out": self.tok_out,
            "dur_us": self.dur_us,
            "e_uj": str(self.e_uj),
            "cost": str(self.cost),
        }


@dataclass(slots=True)
class Gathering:
    """A month while the log's records are read, all of them from the first on."""

    month: Month
    client: str = ""
    size: int = 0
    cum: int = 0
    total: MonthSums = field(default_factory=MonthSums)
    days: dict[str, MonthSums] = field(default_factory=dict)
    kinds: dict[str, MonthSums] = field(default_factory=dict)
    models: dict[str, MonthSums] = field(default_factory=dict)
    keys: dict[str, MonthSums] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    by_hand: list[Record] = field(default_factory=list)
    """Labour and corrections, whose words say what they are for."""
    terms: list[TariffDraft] = field(default_factory=list)
    """Those in force when the month began, and those that came in it."""

    def read(self, bodies: Iterable[bytes]) -> None:
        """The next records. Raises RecordError."""
        for body in bodies:
            self.add(decode(body))

    def add(self, record: Record) -> None:
        """The next record."""
        draft = record.draft
        self.size, self.cum = record.seq + 1, record.cum_pico
        match draft:
            case GenesisDraft():
                self.client = draft.client
            case KeyDraft():
                self.labels[draft.key] = draft.label
            case TariffDraft() if draft.t0 < self.month.to_us:
                if draft.t0 <= self.month.from_us:
                    self.terms.clear()
                self.terms.append(draft)
            case _:
                pass
        if not self.month.from_us <= draft.t0 < self.month.to_us:
            return
        self.total.add(record)
        self._part(self.kinds, draft.kind).add(record)
        if draft.cost or isinstance(draft, UsageDraft):
            self._part(self.days, f"{self.month.local(draft.t0):%Y-%m-%d}").add(record)
        if isinstance(draft, LaborDraft | AdjustDraft):
            self.by_hand.append(record)
        if isinstance(draft, UsageDraft):
            self._part(self.models, draft.model).add(record)
            self._part(self.keys, draft.key).add(record)

    @staticmethod
    def _part(parts: dict[str, MonthSums], name: str) -> MonthSums:
        return parts.setdefault(name, MonthSums())

    def _written(self, record: Record) -> dict[str, Any]:
        draft = record.draft
        words = draft.note if isinstance(draft, LaborDraft) else getattr(draft, "reason", "")
        return {
            "seq": record.seq,
            "day": f"{self.month.local(draft.t0):%Y-%m-%d}",
            "kind": draft.kind,
            "words": words,
            "dur_us": draft.dur_us if isinstance(draft, LaborDraft) else None,
            "cost": str(draft.cost),
        }

    def data(self, note: str, vkey: str) -> bytes:
        """The month in canonical JSON, of the log whose checkpoint over what was read is `note`. Raises LedgerError
        where its amounts are of several currencies, or the checkpoint is over another number of records."""
        claim, _ = parse_checkpoint(note)
        if claim.size != self.size:
            raise LedgerError(f"The checkpoint is over {claim.size} records, and {self.size} were read.")
        currency, *others = sorted({draft.currency for draft in self.terms}) or [NO_CURRENCY]
        if others:
            named = " and ".join([currency, *others])
            raise LedgerError(f"The prices of {self.month.text} are in {named}, whose amounts have no sum.")
        return canonical(
            {
                "form": FORM,
                "log": claim.origin,
                "client": self.client,
                "vkey": vkey,
                "month": self.month.text,
                "time_zone": self.month.zone_name,
                "from": self.month.local(self.month.from_us).isoformat(),
                "to": self.month.local(self.month.to_us).isoformat(),
                "currency": currency,
                "total": self.total.told(),
                "log_total_cost": str(self.cum),
                "days": _listed("day", sorted(self.days.items())),
                "kinds": _listed("kind", sorted(self.kinds.items())),
                "models": _listed("model", _dearest(self.models)),
                "keys": [
                    {"key": name, "label": self.labels.get(name, ""), **sums.told()}
                    for name, sums in _dearest(self.keys)
                ],
                "by_hand": [self._written(record) for record in self.by_hand],
                "tariffs": [_terms(draft) for draft in self.terms],
                "checkpoint": note,
            }
        )


def _listed(what: str, parts: Iterable[tuple[str, MonthSums]]) -> list[dict[str, Any]]:
    return [{what: name, **sums.told()} for name, sums in parts]


def _dearest(parts: Mapping[str, MonthSums]) -> list[tuple[str, MonthSums]]:
    return sorted(parts.items(), key=lambda part: (-part[1].cost, part[0]))


def _terms(draft: TariffDraft) -> dict[str, Any]:
    return {
        "tariff": draft.tariff,
        "since_us": draft.t0,
        "currency": draft.currency,
        "mode": draft.mode,
        "prices": draft.content,
        "margin_ppm": draft.margin_ppm,
        "base_rate": str(draft.base_rate),
        "labor_rate": str(draft.labor_rate),
        **({} if draft.ac_factor_ppm is None else {"ac_factor_ppm": draft.ac_factor_ppm}),
    }


def sign_statement(signer: Signer, log: str, month: str, files: Mapping[str, bytes]) -> str:
    """The signed note over `files`, which are named by their endings."""
    lines = [FORM, log, month, *(f"{ending} {_hash(content)}" for ending, content in sorted(files.items()))]
    return signer.sign_note("\n".join(lines) + "\n")


def _hash(content: bytes) -> str:
    return b64(sha256(content).digest())


@dataclass(frozen=True, slots=True)
class Vouched:
    """What a statement's note says, once its signature holds: `hashes` by the files' endings, 32 bytes each."""

    log: str
    month: str
    key: VerifierKey
    hashes: Mapping[str, bytes]

    def require(self, ending: str, content: bytes) -> None:
        """BadProof where `content` is not the file of that ending."""
        if ending not in self.hashes:
            raise BadProof(f"The signature is over no file that ends in .{ending}.")
        if sha256(content).digest() != self.hashes[ending]:
            raise BadProof(f"The .{ending} file is not the one that was signed: it was changed.")


def vouched(note: str, keys: Sequence[VerifierKey]) -> Vouched:
    """What the note of a statement says to whoever trusts `keys`, any one of which must have signed; BadProof."""
    try:
        text, key = verify_note(note, keys)
        form, log, month, *lines = text.split("\n")[:-1]
        hashes = {}
        for line in lines:
            ending, _, encoded = line.partition(" ")
            hashes[ending] = unb64(encoded, "hash")
    except (CheckpointError, ValueError) as error:
        raise BadProof(f"The signature does not hold: {error}.") from None
    if form != FORM:
        raise BadProof("What was signed is no statement.")
    return Vouched(log, month, key, hashes)
