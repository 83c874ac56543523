"""A sum for a period: so much a day, a week, a month, or once for all, with the holds of what runs.

Rule 1: what is charged in a period, and what is held in it, never exceed its sum (see `Budget`). Rule 2: at a period's
edge what is charged begins anew, and holds stay: a request that runs across the edge is charged to the period in which
it ends. Whatever is known only later to have ended before the edge is charged to the period that is over, and no more
than that one has left. Rule 3: where the clock is set back across an edge, the earlier period runs again, with all that
was charged since it began. Rule 4: no clock: every method that takes or gives is told the wall time, and `look` tells
it before anything is shown. One thread owns a purse.

Held money may pass the sum in two ways, both like a sum that was lowered: prices below zero had made room that ends
with the period, or the clock was set back. Then nothing new is held, nothing is charged above the sum, and `over` says
by how much it is passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo

from app.billing.budget import Budget
from app.billing.periods import CalendarSpan, Period
from app.billing.spending import Spending


class Purse:
    """All amounts in pico-units, all times wall time in µs since the epoch."""

    __slots__ = ("_budget", "_period", "_span", "_spending", "_zone")

    def __init__(self, cap_pico: int, period: Period, zone: tzinfo, spending: Spending, now_us: int) -> None:
        self._spending = spending
        self._period = period
        self._zone = zone
        self._span = period.span(now_us, zone)
        self._budget = Budget(cap_pico, spending.since(self._span.from_us))

    def look(self, now_us: int) -> None:
        """What is shown from now on is of the period that this moment lies in."""
        if not self._span.holds(now_us):
            self._span = self._period.span(now_us, self._zone)
            self._budget.begin_with(self._spending.since(self._span.from_us))

    @property
    def cap(self) -> int:
        """The sum for each period."""
        return self._budget.cap

    @property
    def spent(self) -> int:
        """What was charged in the running period."""
        return self._budget.spent

    @property
    def total(self) -> int:
        """What was ever charged."""
        return self._spending.total_pico

    @property
    def held(self) -> int:
        """The sum of all open holds."""
        return self._budget.held

    @property
    def remaining(self) -> int:
        """Room for new holds in the running period."""
        return self._budget.remaining

    @property
    def over(self) -> int:
        """By how much the sum is passed by what is spent and held; see `Budget`."""
        return self._budget.over

    @property
    def period(self) -> Period:
        """For how long the sum is meant."""
        return self._period

    @property
    def span(self) -> CalendarSpan:
        """The running period."""
        return self._span

    @property
    def zone(self) -> tzinfo:
        """By whose clocks periods begin."""
        return self._zone

    @property
    def exact(self) -> bool:
        """Whether it is known what was charged in the running period; otherwise everything that ever was counts."""
        return self._spending.covers(self._span.from_us)

    def hold(self, hold_id: str, amount: int, now_us: int) -> bool:
        """Reserve `amount`; False, and nothing reserved, where there is no room for it. Raises HoldError."""
        self.look(now_us)
        return self._budget.hold(hold_id, amount)

    def renew(self, hold_id: str, amount: int, now_us: int) -> bool:
        """Set a hold to `amount`; False, and the old amount kept, where there is no room for a larger one."""
        self.look(now_us)
        return self._budget.renew(hold_id, amount)

    def held_by(self, hold_id: str) -> int:
        """The amount of one open hold. Raises HoldError."""
        return self._budget.held_by(hold_id)

    def cover(self, hold_id: str, cost: int, ended_us: int, now_us: int) -> int:
        """How much of `cost`, for work that ended then, the hold and the room beside it cover. Raises HoldError."""
        self.look(now_us)
        return min(self._budget.cover(hold_id, cost), self._left_then(cost, ended_us))

    def settle(self, hold_id: str, cost: int, ended_us: int, now_us: int) -> int:
        """Release the hold and charge `cost`, at most what is covered; returns the charge, which is to be recorded.
        A cost below zero is charged in full. Raises HoldError."""
        self.look(now_us)
        charged = self._budget.settle(hold_id, min(cost, self._left_then(cost, ended_us)))
        self._count(charged, ended_us)
        return charged

    def release(self, hold_id: str) -> None:
        """Give a hold back without charging anything. Raises HoldError."""
        self._budget.release(hold_id)

    def charge(self, cost: int, ended_us: int, now_us: int) -> int:
        """Charge what had no hold, at most what is left; returns the charge."""
        self.look(now_us)
        charged = self._budget.charge(min(cost, self._left_then(cost, ended_us)))
        self._count(charged, ended_us)
        return charged

    def restore(self, cost: int, ended_us: int, now_us: int) -> None:
        """Count what was charged elsewhere, or is given back (below zero): in full, whatever the sum."""
        self.look(now_us)
        self._budget.restore(cost)
        self._count(cost, ended_us)

    def set_cap(self, cap_pico: int) -> None:
        """Another sum for each period, from now on."""
        self._budget.set_cap(cap_pico)

    def set_period(self, period: Period, zone: tzinfo, now_us: int) -> None:
        """Other periods, from now on; holds stay."""
        if (period, zone) != (self._period, self._zone):
            self._period, self._zone = period, zone
            self._span = period.span(now_us, zone)
            self._budget.begin_with(self._spending.since(self._span.from_us))

    def read_anew(self) -> None:
        """See `Spending.read_anew`."""
        self._spending.read_anew()

    def was_not_read(self) -> None:
        """See `Spending.was_not_read`."""
        self._spending.was_not_read()

    def was_read(self, total_pico: int, quarters: Mapping[int, int], known_from: int, now_us: int) -> None:
        """See `Spending.was_read`; it counts from now on."""
        self._spending.was_read(total_pico, quarters, known_from)
        self._span = self._period.span(now_us, self._zone)
        self._budget.begin_with(self._spending.since(self._span.from_us))

    def _left_then(self, cost: int, ended_us: int) -> int:
        """How much of `cost` the period has left in which it ended, where that is over."""
        if self._is_over(ended_us):
            then = self._period.span(ended_us, self._zone)
            return min(cost, max(0, self._budget.cap - self._spending.within(then)))
        return cost

    def _count(self, charged: int, ended_us: int) -> None:
        """`charged` was taken from the running period: it may belong to one that is over."""
        self._spending.add(charged, ended_us)
        if self._is_over(ended_us):
            self._budget.restore(-charged)

    def _is_over(self, ended_us: int) -> bool:
        return self._span.from_us is not None and ended_us < self._span.from_us
