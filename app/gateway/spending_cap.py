"""The contributor's spending cap: a purse for the period that the settings name, filled from the ledger.

Rule 1: the ledger alone says what was spent in a period; it is asked at the start, where another period begins to
count, where lost records came back, and where the clock was set back by more than is known. Until it has answered, all
that was ever spent counts. Rule 2: a cap for all that is ever spent needs no asking.
"""

from __future__ import annotations

import asyncio
import logging

from app.basics.clock import wall_us
from app.basics.signal import Signal
from app.basics.zones import clocks
from app.billing.money import to_pico
from app.billing.periods import Period, edge_text
from app.billing.purse import Purse
from app.billing.spending import NOTHING_KNOWN, Spending
from app.gateway.labour import Labour
from app.ledger.errors import LedgerError
from app.ledger.sqlite.store import Ledger
from app.settings.parameters import Settings

log = logging.getLogger(__name__)

EARLIER_US = 32 * 86_400_000_000
"""So much more than the running period is read: clocks are set back, and months begin before weeks do."""
ASK_EVERY_S = 60.0
"""A ledger that could not answer is asked again so often."""


class SpendingCap:
    """`purse` is what everybody holds in and charges to."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self.counted: Signal[[]] = Signal()
        """Told when the ledger has said what was spent."""
        self._ledger = ledger
        self._asking = asyncio.Lock()
        self._again: set[asyncio.Task[None]] = set()
        self._asked_s = -ASK_EVERY_S
        self.purse = Purse(
            to_pico(settings.spending_cap),
            Period(settings.cap_period),
            clocks(settings.time_zone),
            Spending(ledger.spent_pico, {}, NOTHING_KNOWN),
            wall_us(),
        )

    async def ask(self, settings: Settings, labour: Labour | None = None) -> None:
        """Know what was spent in the running period as `settings` have it; `labour` is what hands records over before
        it charges them."""
        span = Period(settings.cap_period).span(wall_us(), clocks(settings.time_zone))
        if span.from_us is None:
            return
        async with self._asking:
            if labour is not None:
                await labour.settled()
            self.purse.read_anew()
            try:
                spent = await self._ledger.spent_since(span.from_us - EARLIER_US)
            except LedgerError as error:
                self.purse.was_not_read()
                log.error("What was spent in the running period is not known, so all of it counts: %s", error)
                return
            self.purse.was_read(spent.total_pico, spent.quarters(), spent.known_from, wall_us())
        self.counted()

    def ask_again(self, settings: Settings, labour: Labour) -> None:
        """The same beside what runs."""
        self._asked_s = asyncio.get_running_loop().time()
        task = asyncio.get_running_loop().create_task(self.ask(settings, labour))
        self._again.add(task)
        task.add_done_callback(self._again.discard)

    def make_sure(self, settings: Settings, labour: Labour) -> None:
        """Ask again where it is not known what was spent in the running period, once a minute at most."""
        if not self.purse.exact and asyncio.get_running_loop().time() >= self._asked_s + ASK_EVERY_S:
            self.ask_again(settings, labour)

    def follow(self, settings: Settings) -> None:
        """Go by these from now on."""
        self.purse.set_cap(to_pico(settings.spending_cap))
        self.purse.set_period(Period(settings.cap_period), clocks(settings.time_zone), wall_us())

    def renews(self, now_us: int) -> str:
        """When the running period ends, in words; empty where it never does."""
        to_us = self.purse.span.to_us
        return "" if to_us is None else edge_text(to_us, now_us, self.purse.zone)

    async def close(self) -> None:
        """Ask no more."""
        for task in tuple(self._again):
            task.cancel()
        await asyncio.gather(*self._again, return_exceptions=True)
