"""The contributor's own time: logged by hand, charged under the cap, recorded in the log of the client it was for.

Rule 1: what is charged is what is recorded: there is no labour for part of its price, so what the cap has no room for
is refused as a whole. Rule 2: the sums are those of the records; they are read once, and added to as records become
durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from app.basics.clock import wall_us
from app.basics.signal import Signal
from app.billing.budget import Budget
from app.billing.pricing import Pricing
from app.ledger.drafts import LaborDraft
from app.ledger.heads import LabourSum, Receipt
from app.ledger.parties import Client
from app.ledger.sqlite.durable import durable
from app.ledger.sqlite.store import Ledger
from app.proxy.labour_book import NoRoomForLabour

log = logging.getLogger(__name__)


class Labour:
    """`sums` is what the ledger said at the start."""

    def __init__(
        self,
        ledger: Ledger,
        budget: Budget,
        pricing: Callable[[], Pricing],
        sums: Mapping[str, LabourSum],
    ) -> None:
        self.charged: Signal[[]] = Signal()
        """Told when something was charged, or given back."""
        self._ledger = ledger
        self._budget = budget
        self._pricing = pricing
        self._sums = dict(sums)
        self._reading: asyncio.Task[dict[str, LabourSum]] | None = None

    def sum(self, log: str | None) -> LabourSum:
        """What was logged in one log, or (None) in all."""
        if log is not None:
            return self._sums.get(log, LabourSum())
        logged = self._sums.values()
        return LabourSum(sum(one.dur_us for one in logged), sum(one.cost_pico for one in logged))

    def read_again(self) -> None:
        """Records that had been lost are back: what was logged is read anew, and counts as soon as that is done."""
        self._reading = asyncio.get_running_loop().create_task(self._ledger.labour())
        self._reading.add_done_callback(self._was_read)

    def _was_read(self, done: asyncio.Task[dict[str, LabourSum]]) -> None:
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            log.warning("What was logged of the operator's time is not known: %s", error)
            return
        self._sums = done.result()

    async def log(self, client: Client, dur_us: int, note: str, record_id: str) -> LaborDraft:
        """Record `dur_us` of work that ends now, for `client`; durable on return.

        Raises NoRoomForLabour, DuplicateRecord where a record of that id is there already, LedgerFault where the disk
        takes nothing now (it is recorded as soon as it does), LedgerError.
        """
        now_us = wall_us()
        cost = self._pricing().labor_cost(dur_us)
        room = self._budget.remaining
        if cost > room:
            raise NoRoomForLabour(cost, room)
        draft = LaborDraft(record_id, max(0, now_us - dur_us), now_us, dur_us, note, cost)
        recorded = self._ledger.append(client.log, draft)
        self._budget.charge(cost)
        self.charged()

        def settled(done: asyncio.Future[Receipt]) -> None:
            if done.cancelled() or done.exception() is not None:
                # Nobody recorded it, so nobody pays for it.
                self._budget.restore(-cost)
                self.charged()
            else:
                self._sums[client.log] = self.sum(client.log).plus(draft)

        recorded.add_done_callback(settled)
        await durable(self._ledger, recorded)
        # What is told of it is told with it: the callbacks of a future run in a turn of their own.
        await asyncio.sleep(0)
        return draft
