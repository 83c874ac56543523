"""Which records say that their work ended long before something that stands before them in the log.

A gateway records work when it ends, so times in a log grow but for what ran side by side and small steps of its clock.
Rule 1: pure. Rule 2: no signature tells a record that was dated back from a clock that was set back: what is found is
named, and nobody is accused.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.ledger.drafts import Draft, LaborDraft, UptimeDraft, UsageDraft

TOLERATED_US = 3_600_000_000
"""As much as a clock may be set back, by a person or by its time server, without a word."""
NAMED = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Dating:
    """Tell it every record with `take`, from the first on; `notes` says what was found."""

    def __init__(self) -> None:
        self._latest_us = 0
        self._latest_seq = 0
        self._found: list[str] = []
        self._count = 0

    def take(self, seq: int, draft: Draft) -> None:
        """One more record."""
        if isinstance(draft, LaborDraft):
            return  # a person writes it down later, for the time that it was done
        at_us = draft.t1 if isinstance(draft, UsageDraft | UptimeDraft) else draft.t0
        if isinstance(draft, UsageDraft | UptimeDraft):
            self._judge(seq, draft)
        if at_us > self._latest_us:
            self._latest_us, self._latest_seq = at_us, seq

    def _judge(self, seq: int, draft: UsageDraft | UptimeDraft) -> None:
        if self._latest_us - draft.t1 > TOLERATED_US:
            early = _span(self._latest_us - draft.t1)
            self._add(
                f"Record {seq} says that its work ended {_time(draft.t1)}, {early} before record {self._latest_seq},"
                " which stands before it"
            )
        elif draft.t1 - draft.t0 - draft.dur_us > TOLERATED_US:
            early = _span(draft.t1 - draft.t0 - draft.dur_us)
            self._add(
                f"Record {seq} says that its work began {_time(draft.t0)}, {early} earlier than it can have"
            )

    def _add(self, what: str) -> None:
        self._count += 1
        if len(self._found) < NAMED:
            self._found.append(f"{what}: it was dated back, or the gateway's clock was set back.")

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each of the first ones, and how many more there are."""
        more = self._count - len(self._found)
        return (*self._found, *([f"So do {more} more records."] if more else ()))


def _time(at_us: int) -> str:
    return f"{_EPOCH + timedelta(microseconds=at_us):%Y-%m-%d %H:%M:%S} UTC"


def _span(us: int) -> str:
    hours = us // 3_600_000_000
    if hours < 48:
        return f"{hours} {'hour' if hours == 1 else 'hours'}"
    return f"{hours // 24} days"
