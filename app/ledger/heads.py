"""The head of each log: its size, sums, frontier and newest checkpoint, as the writer keeps them in memory.

Rule 1: pure. Rule 2: a head that was published is never changed; whoever appends works on a copy of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from hashlib import sha256

from app.ledger.canonical import canonical
from app.ledger.drafts import Draft, LaborDraft, TariffDraft, UptimeDraft, UsageDraft
from app.ledger.merkle import Frontier


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over one log or several. Requests, tokens and `dur_us` (µs) are those of usage records, `e_uj` (µJ) of
    usage and uptime, `cost_pico` of every record. Unknown token counts add nothing."""

    requests: int
    tok_in: int
    tok_out: int
    dur_us: int
    e_uj: int
    cost_pico: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """A record is durable: its place, its log's running total with it, and the size of the checkpoint covering it."""

    log: str
    seq: int
    cum_pico: int
    size: int


@dataclass(frozen=True, slots=True)
class LabourSum:
    """The operator's time (µs) and what it cost, summed over labour records."""

    dur_us: int = 0
    cost_pico: int = 0

    def plus(self, draft: LaborDraft) -> LabourSum:
        """With one record more."""
        return LabourSum(self.dur_us + draft.dur_us, self.cost_pico + draft.cost)


class LogHead:
    """One log's state after its newest record; `terms` is what `terms_of` says of its newest tariff record."""

    __slots__ = (
        "checkpoint", "cum", "dur_us", "e_uj", "frontier", "k", "name", "requests", "terms", "tok_in", "tok_out",
    )  # fmt: skip

    def __init__(self, k: int, name: str, frontier: Frontier) -> None:
        self.k = k
        self.name = name
        self.frontier = frontier
        self.cum = 0
        self.requests = 0
        self.tok_in = 0
        self.tok_out = 0
        self.dur_us = 0
        self.e_uj = 0
        self.terms = ""
        self.checkpoint = ""

    def copy(self) -> LogHead:
        """A head to work on."""
        twin = LogHead(self.k, self.name, self.frontier.copy())
        twin.cum = self.cum
        twin.requests = self.requests
        twin.tok_in = self.tok_in
        twin.tok_out = self.tok_out
        twin.dur_us = self.dur_us
        twin.e_uj = self.e_uj
        twin.terms = self.terms
        twin.checkpoint = self.checkpoint
        return twin

    @property
    def size(self) -> int:
        """Records in the log."""
        return self.frontier.size

    def count(self, draft: Draft) -> None:
        """Add a record's figures to the counters (its cost is in `cum`, which the appender sets)."""
        if isinstance(draft, UsageDraft):
            self.requests += 1
            self.tok_in += draft.tok_in or 0
            self.tok_out += draft.tok_out or 0
            self.dur_us += draft.dur_us
            self.e_uj += draft.e_uj
        elif isinstance(draft, UptimeDraft):
            self.e_uj += draft.e_uj
        elif isinstance(draft, TariffDraft):
            self.terms = terms_of(draft)

    def totals(self) -> Totals:
        """The counters, immutable."""
        return Totals(self.requests, self.tok_in, self.tok_out, self.dur_us, self.e_uj, self.cum)


def terms_of(draft: TariffDraft) -> str:
    """A fingerprint of the terms themselves, without the record's id and time."""
    # What is not said in the record does not count here either, or an older record's terms would become other ones.
    terms = [str(value) for value in astuple(draft)[2:] if value is not None]
    return sha256(canonical(terms)).hexdigest()


def add_totals(heads: Iterable[LogHead]) -> Totals:
    """The sums over several logs."""
    return add_up(head.totals() for head in heads)


def add_up(totals: Iterable[Totals]) -> Totals:
    """Several sums in one."""
    parts = tuple(totals)
    return Totals(
        sum(part.requests for part in parts),
        sum(part.tok_in for part in parts),
        sum(part.tok_out for part in parts),
        sum(part.dur_us for part in parts),
        sum(part.e_uj for part in parts),
        sum(part.cost_pico for part in parts),
    )
