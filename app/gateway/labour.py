"""The contributor's own time: logged by hand, charged under the cap, recorded in the log of the client it was for.

Rule 1: what is charged is what is recorded: there is no labour for part of its price, so what the cap has no room for
is refused as a whole, and until the record is durable its price is held. Rule 2: the sums are those of the records;
they are read once, and added to as records become durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from app.basics.clock import wall_us
from app.basics.signal import Signal
from app.billing.budget import HoldError
from app.billing.pricing import Pricing
from app.billing.purse import Purse
from app.ledger.drafts import LaborDraft
from app.ledger.errors import DuplicateRecord, LedgerError
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
        cap: Purse,
        pricing: Callable[[], Pricing],
        sums: Mapping[str, LabourSum],
    ) -> None:
        self.charged: Signal[[]] = Signal()
        """Told when something was charged."""
        self._ledger = ledger
        self._cap = cap
        self._pricing = pricing
        self._sums = dict(sums)
        self._reading: asyncio.Task[None] | None = None
        self._logged = 0
        self._pending: set[asyncio.Future[Receipt]] = set()

    def sum(self, log: str | None) -> LabourSum:
        """What was logged in one log, or (None) in all."""
        if log is not None:
            return self._sums.get(log, LabourSum())
        logged = self._sums.values()
        return LabourSum(sum(one.dur_us for one in logged), sum(one.cost_pico for one in logged))

    async def settled(self) -> None:
        """Wait until nothing is handed over for recording that is not charged yet."""
        while self._pending:
            await asyncio.wait(self._pending)

    def read_again(self) -> None:
        """Records that had been lost are back: what was logged is read anew, and counts as soon as that is done."""
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        try:
            logged = -1
            while logged != self._logged:  # what is recorded meanwhile may be in what was read, or not
                logged = self._logged
                sums = await self._ledger.labour()
            self._sums = sums
        except LedgerError as error:
            log.warning("What was logged of the operator's time is not known: %s", error)

    async def log(self, client: Client, dur_us: int, note: str, record_id: str) -> LaborDraft:
        """Record `dur_us` of work that ends now, for `client`; durable on return.

        Raises NoRoomForLabour, DuplicateRecord where a record of that id is there already, LedgerFault where the disk
        takes nothing now (it is recorded as soon as it does), LedgerError.
        """
        now_us = wall_us()
        cost = self._pricing().labor_cost(dur_us)
        draft = LaborDraft(record_id, max(0, now_us - dur_us), now_us, dur_us, note, cost)
        try:
            if not self._cap.hold(record_id, cost, now_us):
                raise NoRoomForLabour(cost, self._cap.remaining)
        except HoldError:
            raise DuplicateRecord(f"{record_id} is being recorded already.") from None
        try:
            recorded = self._ledger.append(client.log, draft)
        except LedgerError:
            self._cap.release(record_id)
            raise

        self._pending.add(recorded)

        def settled(done: asyncio.Future[Receipt]) -> None:
            self._pending.discard(recorded)
            self._cap.release(record_id)
            if done.cancelled() or done.exception() is not None:
                return
            # What is recorded counts in full, also where the cap was lowered while it was being written.
            self._cap.restore(cost, now_us, wall_us())
            self._sums[client.log] = self.sum(client.log).plus(draft)
            self._logged += 1
            self.charged()

        recorded.add_done_callback(settled)
        await durable(self._ledger, recorded)
        return draft
