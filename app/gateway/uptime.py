"""Dedicated mode: the uptime that no request carries goes to the client the machine is kept for.

Every few minutes, and whenever lending begins or ends or the price or the terms change, what has run up is one `uptime`
record in the first client's log. Time in which the machine was not lent is nobody's bill. In marginal mode nothing is
billed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.basics.clock import mono_us, wall_us
from app.billing.pricing import BillingMode, Pricing
from app.billing.purse import Purse
from app.ledger.drafts import UptimeDraft
from app.ledger.ids import new_id
from app.ledger.sqlite.store import Ledger
from app.power.meter import Meter

EVERY_S = 300.0


class Uptime:
    """Bills uptime between `begin` and `end`."""

    def __init__(
        self,
        ledger: Ledger,
        meter: Meter,
        cap: Purse,
        pricing: Callable[[], Pricing],
        log: Callable[[], str],
    ) -> None:
        self._ledger = ledger
        self._meter = meter
        self._cap = cap
        self._pricing = pricing
        self._log = log
        self._lent = False
        self._timer: asyncio.TimerHandle | None = None
        self._began_us, self._began_mono_us = wall_us(), mono_us()

    def begin(self) -> None:
        """The machine is lent from now on; what ran up until now is nobody's bill."""
        self.bill()
        self._lent = True
        self._run()

    def go_on(self) -> None:
        """The terms have changed, and what ran up under the old ones is billed."""
        if self._lent:
            self._run()

    def end(self) -> None:
        """The machine is lent no more: bill the last stretch. Again is harmless."""
        self.bill()
        self._lent = False
        self._stop_timer()

    def bill(self) -> None:
        """Record what has run up since `begin` or the last `bill`; what ran up while it was not lent is dropped."""
        pricing = self._pricing()
        t0_us, mono0_us = self._began_us, self._began_mono_us
        energy_uj, dur_us = self._meter.take_uptime()
        self._began_us, self._began_mono_us = wall_us(), mono_us()
        # Both ends by one clock, which nobody sets: whoever prices the record anew has no other ends than these.
        t1_us = t0_us + self._began_mono_us - mono0_us
        if pricing.mode is not BillingMode.DEDICATED or not self._lent or dur_us <= 0:
            return
        if self._ledger.missing is not None:
            # It would be charged and not recorded; such a stretch is the contributor's loss.
            return
        cost = pricing.request_cost(pricing.tariff.spread(energy_uj, t0_us, t1_us), dur_us)
        draft = UptimeDraft(
            id=new_id(self._began_us),
            t0=t0_us,
            t1=t1_us,
            dur_us=dur_us,
            e_uj=energy_uj,
            e_src=self._meter.source,
            tariff=pricing.tariff.id,
            cost=self._cap.charge(cost, t0_us + dur_us, t1_us),
        )
        self._ledger.append(self._log(), draft)

    def _tick(self) -> None:
        self.bill()
        self._run()

    def _run(self) -> None:
        """Bill again after a while, and at once when the price changes."""
        self._stop_timer()
        if self._pricing().mode is not BillingMode.DEDICATED:
            return
        now_us = wall_us()
        # A millisecond later, for timers may ring a little early.
        change_s = (self._pricing().tariff.changes_after(now_us) - now_us) / 1e6 + 0.001
        self._timer = asyncio.get_running_loop().call_later(min(EVERY_S, change_s), self._tick)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
