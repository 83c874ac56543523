"""The purses of keys and clients with a budget for a day or a month: made as their limits say, filled from the ledger.

Rule 1: a purse is charged from the moment it is there; what was spent before is read from the ledger, exactly up to a
moment, and a limit is in force as soon as that is known: whoever sets it waits for it, and so does every start. Rule 2:
only what requests cost counts here, not the time and uptime that the contributor bills by himself. Rule 3: a purse
whose limit stays is the same purse, with its holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo

from app.access.limits import Limits
from app.access.principals import Principal
from app.basics.clock import wall_us
from app.basics.zones import clocks
from app.billing.periods import Period
from app.billing.purse import Purse
from app.billing.purses import Funds, PurseOf, Purses
from app.billing.spending import NOTHING_KNOWN, Spending
from app.gateway.spending_cap import ASK_EVERY_S, EARLIER_US
from app.ledger.errors import LedgerError
from app.ledger.spending import SpentSince
from app.ledger.sqlite.store import Ledger

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PurseOwner:
    """A `key` by its id, or a `client` by its log."""

    whose: str
    name: str


class ClientPurses:
    """Keeps `funds` supplied with the purses of all that have a budget."""

    def __init__(self, ledger: Ledger, funds: Funds, time_zone: str) -> None:
        self._ledger = ledger
        self._funds = funds
        self._zone: tzinfo = clocks(time_zone)
        self._purses: dict[tuple[PurseOwner, Period], PurseOf] = {}
        self._unread: set[tuple[PurseOwner, Period]] = set()
        self._new: set[PurseOf] = set()
        """Those that were never read."""
        self._asking = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked_s = -ASK_EVERY_S
        """When it was looked last whether all is known."""

    def follow(self, principals: Iterable[Principal]) -> None:
        """These may come in from now on, with these limits."""
        wanted: dict[tuple[PurseOwner, Period], int] = {}
        for principal in principals:
            for owner, limits in _owners(principal):
                for period, amount in limits.budgets.items():
                    wanted[owner, Period(period)] = amount
        now_us = wall_us()
        for place in self._purses.keys() - wanted.keys():
            del self._purses[place]
            self._unread.discard(place)
        for place, amount in wanted.items():
            if place in self._purses:
                self._purses[place].purse.set_cap(amount)
                continue
            owner, period = place
            purse = Purse(amount, period, self._zone, Spending(0, {}, NOTHING_KNOWN), now_us)
            self._purses[place] = PurseOf(owner.whose, purse)
            self._new.add(self._purses[place])
            self._unread.add(place)
        self._supply()
        if self._unread:
            self._spawn()

    def set_zone(self, time_zone: str) -> None:
        """Days and months begin by other clocks from now on."""
        self._zone = clocks(time_zone)
        for each in self._purses.values():
            each.purse.set_period(each.purse.period, self._zone, wall_us())

    def read_again(self) -> None:
        """Records that had been lost are back, or the clock was set back by more than is known."""
        self._unread.update(self._purses)
        if self._unread:
            self._spawn()

    def make_sure(self) -> None:
        """Read again where it is not known what was spent in a running period, once a minute at most."""
        now_s, now_us = asyncio.get_running_loop().time(), wall_us()
        if now_s < self._asked_s + ASK_EVERY_S:
            return
        self._asked_s = now_s
        for each in self._purses.values():
            each.purse.look(now_us)
        if not self._tasks and not all(each.purse.exact for each in self._purses.values()):
            self.read_again()

    async def ready(self) -> None:
        """Wait until all that can be known of what was spent is known."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def of(self, key: str, log_id: str) -> Purses:
        """The purses of a key and of its client, as they are now."""
        now_us = wall_us()
        purses = self._funds.of(key, log_id)
        for each in purses:
            each.purse.look(now_us)
        return purses

    async def close(self) -> None:
        """Read no more."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _supply(self) -> None:
        supplies: Mapping[str, dict[str, Purses]] = {"key": {}, "client": {}}
        for (owner, _), purse in sorted(self._purses.items(), key=lambda item: item[0][1]):
            of_one = supplies[owner.whose]
            of_one[owner.name] = (*of_one.get(owner.name, ()), purse)
        self._new.intersection_update(self._purses.values())
        self._funds.know(supplies["key"], supplies["client"], self._new)

    def _spawn(self) -> None:
        task = asyncio.get_running_loop().create_task(self._read())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self) -> None:
        async with self._asking:
            reading = {place: self._purses[place] for place in self._unread}
            self._unread.clear()
            if not reading:
                return
            for each in reading.values():
                each.purse.read_anew()
            since_us = Period.MONTH.span(wall_us(), self._zone).from_us or 0
            try:
                spent = await self._ledger.spent_since(since_us - EARLIER_US)
            except LedgerError as error:
                log.error("What keys have spent is not known, so those with a budget are refused: %s", error)
                for each in reading.values():
                    each.purse.was_not_read()
            else:
                sums = _by_owner(spent)
                for (owner, _), each in reading.items():
                    quarters = sums.get(owner, {})
                    each.purse.was_read(sum(quarters.values()), quarters, spent.known_from, wall_us())
            self._new.difference_update(reading.values())
            self._supply()


def _owners(principal: Principal) -> tuple[tuple[PurseOwner, Limits], ...]:
    return (
        (PurseOwner("key", principal.key), principal.limits),
        (PurseOwner("client", principal.log), principal.shared),
    )


def _by_owner(spent: SpentSince) -> dict[PurseOwner, dict[int, int]]:
    """PurseOwner → quarter → what its requests cost."""
    sums: dict[PurseOwner, dict[int, int]] = {}
    for part in spent.parts:
        if part.key is None:
            continue
        for owner in (PurseOwner("key", part.key), PurseOwner("client", part.log)):
            quarters = sums.setdefault(owner, {})
            quarters[part.quarter] = quarters.get(part.quarter, 0) + part.cost_pico
    return sums
