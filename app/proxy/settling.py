"""How a request ends in the books: its account closed and priced, its record queued, its hold released.

Rule 1: `settle` is plain synchronous code that queues the record; nothing that happens to the client, the engine or the
request's task afterwards can take it back. Rule 2: it happens once, whatever the end. Rule 3: what is refused for want
of room on the disk costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from app.access.refusals import Refusal
from app.basics.clock import wall_us
from app.billing.purses import Funds
from app.ledger.drafts import UsageDraft
from app.ledger.outcomes import RequestOutcome
from app.ledger.sqlite.store import Ledger
from app.power.meter import Meter
from app.proxy.dialects.base import Tokens
from app.proxy.jobs import STORAGE, Job
from app.proxy.metadata import Figures, gateway_json

log = logging.getLogger(__name__)


class Settling:
    """Settles one request after the other."""

    def __init__(self, funds: Funds, ledger: Ledger, meter: Meter) -> None:
        self._funds = funds
        self._ledger = ledger
        self._meter = meter

    async def record(self, job: Job, outcome: RequestOutcome, tokens: Tokens) -> bytes:
        """Settle and wait until the record is durable; the JSON of `_gateway`."""
        await self.durable(job, self.settle(job, outcome, tokens))
        return gateway_json(self.figures(job, outcome, tokens))

    async def durable(self, job: Job, future: asyncio.Future[Any]) -> None:
        """Wait for the disk; Refusal 507 where it takes nothing any more. What is queued stays queued."""
        if not future.done() and self._ledger.fault is not None:
            await self._waive(job)
            raise Refusal(507, "ledger_fault", self._ledger.fault or STORAGE.sentence, retry_after_s=60)
        job.waits_for_disk = True
        try:
            # Our own `Jobs.end` may have come in the very moment in which the answer ended by itself: its
            # cancellation is then still on the way, and must not take this future with it.
            late = job.settled and job.task is not None and job.task.cancelling() > 0
            await (asyncio.shield(future) if late else future)
        except asyncio.CancelledError:
            if job.ending is STORAGE:
                job.awake()
                await self._waive(job)
                raise Refusal(507, STORAGE.code, STORAGE.sentence, retry_after_s=60) from None
            if job.ending is None or not job.settled or future.cancelled():
                raise
            job.awake()
            await future
        finally:
            job.waits_for_disk = False

    async def _waive(self, job: Job) -> None:
        """What is refused for want of room costs nothing, even if we are killed before that is recorded."""
        if not job.delivered:
            job.ending = job.ending or STORAGE  # also where there is room again before it is settled
            await self._ledger.waive(job.id)

    def settle(self, job: Job, outcome: RequestOutcome, tokens: Tokens) -> asyncio.Future[Any]:
        """Step 7: close the account, price it, queue the record, release the hold. Never waits, happens once."""
        call = job.call
        closed = self._meter.close(job.id, tokens.phases)
        pricing = job.pricing
        job.metered.upto(closed.energy_uj, job.started_us + closed.dur_us)
        # What the engine refuses has cost next to nothing, and may be our mistake: its list of models may be newer. An
        # answer of which nothing can be handed over, since the disk takes no record of it, is nobody's bill either.
        lost = (self._ledger.fault is not None or job.ending is STORAGE) and not job.delivered
        if lost and outcome in (RequestOutcome.COMPLETE, RequestOutcome.CUT_OFF):
            outcome = RequestOutcome.STOPPED
        free = lost or outcome is RequestOutcome.REFUSED
        cost = 0 if free else pricing.request_cost(job.metered.by_price, closed.share_us)
        job.closed = closed
        job.ended_us = job.started_us + closed.dur_us
        job.cost_pico = self._funds.settle(
            job.id, cost, call.principal.key, call.principal.log, job.ended_us, wall_us()
        )
        job.settled = True
        job.grant.counts(None if tokens.source == "none" else (tokens.prompt or 0) + (tokens.completion or 0))
        draft = UsageDraft(
            id=job.id,
            t0=job.started_us,
            t1=job.ended_us,
            dur_us=closed.dur_us,
            req=call.client_reference,
            key=call.principal.key,
            model=call.model,
            model_digest=call.digest,
            endpoint=call.endpoint.path,
            tok_in=tokens.prompt,
            tok_out=tokens.completion,
            tok_src=tokens.source,
            outcome=outcome.value,
            e_uj=closed.energy_uj,
            e_src=closed.source,
            tariff=pricing.tariff.id,
            cost=job.cost_pico,
            e_parts=job.metered.text,
            share_us=closed.share_us if pricing.charges_time and closed.share_us != closed.dur_us else None,
        )
        job.recorded = self._ledger.append(call.principal.log, draft, release=job.id)
        return job.recorded

    def figures(self, job: Job, outcome: RequestOutcome, tokens: Tokens) -> Figures:
        assert job.closed is not None
        payer = job.call.principal
        return Figures(
            request_id=job.id,
            outcome=outcome.value,
            dur_us=job.closed.dur_us,
            energy_uj=job.closed.energy_uj,
            low_uj=job.closed.low_uj,
            high_uj=job.closed.high_uj,
            formula_uj=job.closed.formula_uj,
            energy_source=job.closed.source,
            cost_pico=job.cost_pico,
            spent_pico=self._ledger.totals(payer.log).cost_pico,
            remaining_pico=self._funds.left(payer.key, payer.log),
            currency=job.pricing.tariff.currency,
            billing_mode=job.pricing.mode.value,
            tokens=tokens,
        )

    def abandon(self, job: Job) -> None:
        """No record is owed where the engine was never reached; anything else is settled after all."""
        if job.reached:
            log.error("Request %s ended by a fault of our own; it is settled as upstream_error.", job.id)
            self.settle(job, RequestOutcome.UPSTREAM_ERROR, Tokens())
            return
        self._meter.close(job.id)
        self._funds.release(job.id)
        self._ledger.release(job.id)
        job.settled = True
