"""Settings while the gateway runs: what follows from a change, in order, for everybody whom it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from app.basics.clock import wall_us
from app.basics.signal import Signal
from app.billing.money import pico_to_decimal, to_pico
from app.billing.pricing import BillingMode, Pricing
from app.gateway.books import Books
from app.gateway.bounds import policy_of
from app.gateway.encryption import Encryption
from app.gateway.terms import watts_of
from app.gateway.uptime import Uptime
from app.power.meter import Meter
from app.settings.parameters import Settings
from app.settings.store import SettingsStore


class Configuration:
    """The settings of a running gateway; `changed` is told of the old ones and the new ones, once they hold."""

    def __init__(
        self, store: SettingsStore, books: Books, meter: Meter, uptime: Uptime, encryption: Encryption
    ) -> None:
        self.changed: Signal[[Settings, Settings]] = Signal()
        self.repriced: Signal[[]] = Signal()
        """Told when other prices may hold."""
        self._store = store
        self._books = books
        self._meter = meter
        self._uptime = uptime
        self._encryption = encryption
        self.policy = policy_of(store.current)
        """What every request needs from the settings, worked out once and not on every request."""

    async def set_cap(self, cap_pico: int) -> None:
        """At once, and kept. Raises SettingError."""
        await self.configure({"spending_cap": str(pico_to_decimal(cap_pico))})

    async def configure(self, changes: dict[str, Any]) -> Mapping[str, Any]:
        """Apply settings, all or none; raises SettingError. What was changed and what waits for a restart."""
        await self._encryption.check(changes)
        before = self._store.current
        done = await asyncio.to_thread(self._store.update, changes)
        now = self._store.current
        if (now.cap_period, now.time_zone) != (before.cap_period, before.time_zone):
            await self._books.cap.ask(now, self._books.labour)
        self._apply(before, self._store.current)
        await self._encryption.look(settled=True)
        return {
            "changed": list(done.changed),
            "needs_restart": list(done.needs_restart),
            "notes": [override.sentence for override in done.overridden],
        }

    def pricing(self) -> Pricing:
        """The terms of this moment: a day that has ended takes its prices with it, also while a timer slept."""
        if not self._books.day.span.holds(wall_us()):
            self.renew_prices()
        return self._books.pricing

    def renew_prices(self) -> None:
        """Go by the prices of this moment; what ran up is billed by those before."""
        self._uptime.bill()
        self._books.settle_terms(self._store.current)
        self._uptime.go_on()
        self.repriced()

    def _apply(self, before: Settings, now: Settings) -> None:
        if now == before:
            return
        # What ran up is billed under the old terms, but a cap that is lowered holds for it, too.
        purse = self._books.cap.purse
        purse.set_cap(min(purse.cap, to_pico(now.spending_cap)))
        self._uptime.bill()
        pricing = self._books.settle_terms(now)
        self._meter.configure(
            watts=watts_of(now),
            dedicated=pricing.mode is BillingMode.DEDICATED,
            own_idle=self._store.is_set("gpu_idle_watts"),
            by_formula=now.energy_by == "formula",
        )
        self._uptime.go_on()
        self.policy = policy_of(now)
        self.changed(before, now)
