"""Money held for requests that still run, as rows that outlive a crash.

Rule 1: a hold row exists from before a client sees a byte until the very commit that records the request.
Rule 2: what a crash leaves behind is billed as it was last seen, once; what was waived is recorded and not billed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.ledger.drafts import UsageDraft
from app.ledger.outcomes import RequestOutcome
from app.ledger.records import recordable

TEXTS = 6
"""So many of the columns are text, the first ones; the rest are integers."""


@dataclass(frozen=True, slots=True)
class HoldRow:
    """`amount_pico` is held of the cap; `t0_us` and `seen_us` are wall time; what accrued up to `seen_us` is
    `e_uj` (µJ) and `cost_pico`. `request_id` is the UUIDv7 that the request's record will have."""

    request_id: str
    log: str
    key: str
    model: str
    endpoint: str
    tariff: str
    t0_us: int
    amount_pico: int
    seen_us: int
    e_uj: int = 0
    cost_pico: int = 0

    def renewed(self, amount_pico: int, seen_us: int, e_uj: int | None, cost_pico: int | None) -> HoldRow:
        """The hold as of `seen_us`; None leaves what accrued as it was."""
        return replace(
            self,
            amount_pico=amount_pico,
            seen_us=seen_us,
            e_uj=self.e_uj if e_uj is None else e_uj,
            cost_pico=self.cost_pico if cost_pico is None else cost_pico,
        )

    def columns(self) -> tuple[str | int, ...]:
        """In the table's order; texts a client chose are made recordable."""
        return (
            self.request_id,
            self.log,
            self.key,
            recordable(self.model),
            recordable(self.endpoint),
            self.tariff,
            self.t0_us,
            self.amount_pico,
            self.seen_us,
            self.e_uj,
            self.cost_pico,
        )

    def crash_record(self, *, waived: bool = False) -> UsageDraft:
        """What is recorded for a request whose end nobody saw: time, energy and cost as last seen, tokens unknown.
        Where it was `waived`, its end was that the client was refused: it costs nothing."""
        return UsageDraft(
            id=self.request_id,
            t0=self.t0_us,
            t1=max(self.t0_us, self.seen_us),
            dur_us=max(0, self.seen_us - self.t0_us),
            req=None,
            key=self.key,
            model=self.model,
            model_digest=None,
            endpoint=self.endpoint,
            tok_in=None,
            tok_out=None,
            tok_src="none",
            outcome=(RequestOutcome.STOPPED if waived else RequestOutcome.CRASH_RECOVERED).value,
            e_uj=max(0, self.e_uj),
            e_src="model",
            tariff=self.tariff,
            cost=0 if waived else self.cost_pico,
        )
