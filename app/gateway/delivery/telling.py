"""The seed's way: one flat JSON a transaction to CALLBACK_URL, in the log's order, until each was taken.

Rule 1: a transaction carries the same id on every try, so that a receiver can tell a repetition; only the time of the
try is fresh. Rule 2: whatever is not a success is tried again, as anywhere else: such receivers say little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.basics.clock import wall_us
from app.gateway.delivery.outgoing import NoAnswer, Outgoing
from app.gateway.delivery.pushing import refusal
from app.ledger.delivery import Acknowledged, Contested, DeliveryEvent, Failed, Progressed
from app.ledger.errors import LedgerClosed, LedgerError
from app.ledger.records import decode
from app.ledger.seed_form import flat
from app.ledger.sqlite.store import Ledger

AT_ONCE = 64
"""Records that are read together."""


@dataclass(frozen=True, slots=True)
class SeedTerms:
    """Where transactions go, and how they are hashed."""

    url: str
    secret: str
    template: str

    def __repr__(self) -> str:
        return f"SeedTerms({self.url!r}, ********, {self.template!r})"


class SeedPush:
    """Tells one log's transactions; `terms` are those of the moment."""

    def __init__(
        self, ledger: Ledger, outgoing: Outgoing, log_id: str, terms: Callable[[], SeedTerms]
    ) -> None:
        self._ledger = ledger
        self._outgoing = outgoing
        self._log = log_id
        self._terms = terms

    async def push(self, old: int, tell: Callable[[Progressed], None]) -> DeliveryEvent:
        """Tell the receiver the transactions among the records from `old` on; `tell` hears of each that it took.
        Raises LedgerClosed."""
        try:
            bodies = await self._ledger.entries(self._log, old, AT_ONCE)
            records = [decode(body) for body in bodies]
        except LedgerClosed:
            raise
        except LedgerError as error:
            return Failed(str(error))
        for record in records:
            terms = self._terms()
            line = flat(record, terms.secret, terms.template)
            if line is not None:
                failed = await self._tell(record.draft.id, line, terms.url)
                if failed is not None:
                    return failed
            tell(Progressed(record.seq + 1))
        return Acknowledged(old + len(records))

    async def _tell(self, record_id: str, line: bytes, url: str) -> DeliveryEvent | None:
        headers = {
            "Content-Type": "application/json",
            "Webhook-Id": record_id,
            "Webhook-Timestamp": str(wall_us() // 1_000_000),
        }
        try:
            answer = await self._outgoing.post(url, line, headers)
        except NoAnswer as error:
            return Failed(str(error))
        if 200 <= answer.status < 300:
            return None
        if answer.status in (409, 422):
            return Contested(
                f"The receiver at {answer.where} contests the transaction {record_id} ({answer.status}):"
                " compare LEDGER_SECRET on both sides."
            )
        return Failed(refusal(answer), answer.retry_after_s)
