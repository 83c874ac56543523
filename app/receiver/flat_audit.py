"""Does every transaction that came in the seed's form still carry the hash that is its own?

Rule 1: pure; rows come in, a verdict goes out. Rule 2: what was found right on arrival is not believed: whoever changes
what is held can change that note as well, but cannot make the hash without the secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from app.billing.money import to_pico
from app.ledger.errors import RecordError
from app.ledger.seed_form import parse_flat
from app.receiver.parties import FlatRow

AT_ONCE = 512
"""Rows that are read together, so that others have their turn between."""
NAMED = 3
ID_SHOWN = 64


@dataclass(frozen=True, slots=True)
class FlatReport:
    """Of `total` transactions `valid` carry their own hash and `invalid` do not; what is neither could not be checked,
    for no secret is known. `findings` are sentences that name the first bad ones; `cost_pico` is what all cost."""

    total: int
    valid: int
    invalid: int
    cost_pico: int
    findings: tuple[str, ...]


class _Bad:
    """So many transactions, of which the first ones are named."""

    def __init__(self) -> None:
        self.count = 0
        self._names: list[str] = []

    def add(self, name: str) -> None:
        self.count += 1
        if len(self._names) < NAMED:
            self._names.append(name[:ID_SHOWN])

    def __str__(self) -> str:
        more = self.count - len(self._names)
        what = "1 transaction" if self.count == 1 else f"{self.count} transactions"
        return f"{what} in the seed's form ({', '.join(self._names)}{f' and {more} more' if more else ''})"


class FlatAudit:
    """Tell it rows with `take`, oldest first; `report` says what was found in them so far."""

    def __init__(self, secret: str, template: str) -> None:
        """An empty `secret` can check no hash: then it is as it was noted on arrival."""
        self._secret = secret
        self._template = template
        self._total = 0
        self._valid = 0
        self._cost_pico = 0
        self._wrong = _Bad()
        self._changed = _Bad()

    def take(self, rows: Iterable[FlatRow]) -> None:
        """Check some more."""
        for row in rows:
            self._total += 1
            self._cost_pico += row.cost_pico
            genuine = self._genuine(row)
            if genuine:
                self._valid += 1
            elif genuine is False:
                (self._changed if row.genuine else self._wrong).add(row.id)

    def _genuine(self, row: FlatRow) -> bool | None:
        try:
            sent = parse_flat(row.body)
            if (sent.id, to_pico(sent.cost)) != (row.id, row.cost_pico):
                return False
        except (RecordError, ValueError):
            return False
        return sent.is_genuine(self._secret, self._template) if self._secret else row.genuine

    def report(self) -> FlatReport:
        """What was found."""
        wrong, changed = self._wrong, self._changed
        findings = []
        if wrong.count:
            findings.append(f"The hash of {wrong} does not hold: compare LEDGER_SECRET on both sides.")
        if changed.count:
            findings.append(
                f"The hash of {changed} held when it came and does not now: it was changed here, or LEDGER_SECRET was."
            )
        return FlatReport(
            self._total, self._valid, wrong.count + changed.count, self._cost_pico, tuple(findings)
        )


def audit_flat(
    read: Callable[[int, int], Sequence[tuple[int, FlatRow]]], secret: str, template: str
) -> FlatReport:
    """All that `read` gives: (after, limit) → the next rows with their numbers, none at the end. It blocks."""
    audit, after = FlatAudit(secret, template), 0
    while rows := read(after, AT_ONCE):
        audit.take(row for _, row in rows)
        after = rows[-1][0]
    return audit.report()
