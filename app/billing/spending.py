"""What was charged, by the quarter of an hour in which it was: enough for the sum of any day, week or month.

Rule 1: a charge counts where its record says that the work ended, so the ledger alone gives these sums again. Rule 2:
the sum of a running period has no end: what ended later than now, since the clock was set back, counts now, and once
more when that time has come. Rule 3: what is not known by its time counts in full. So a sum is never too little.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.basics.quarters import quarter_of
from app.billing.periods import CalendarSpan

KEPT_QUARTERS = 62 * 96
"""Two months: more than any period needs, but where the clock is set back further."""
NOTHING_KNOWN = 2**62
"""Known from the end of all times on."""


class Spending:
    """Amounts in pico-units. `total_pico` is all that was ever charged; `quarters` is what of it is known by its time:
    the number of a quarter of an hour (see `basics.quarters`) → sum, complete from the quarter `known_from` on."""

    __slots__ = ("_known_from", "_latest", "_meanwhile", "_quarters", "total_pico")

    def __init__(
        self, total_pico: int = 0, quarters: Mapping[int, int] | None = None, known_from: int = 0
    ) -> None:
        self.total_pico = total_pico
        self._quarters = dict(quarters or {})
        self._known_from = known_from
        self._latest = max(self._quarters, default=0)
        self._meanwhile: list[tuple[int, int]] | None = None

    def covers(self, from_us: int | None) -> bool:
        """Whether the sum since then is known, and not only a bound of it."""
        return from_us is None or quarter_of(from_us) >= self._known_from

    def add(self, cost_pico: int, ended_us: int) -> None:
        """One charge more, for work that ended then (wall time, µs)."""
        quarter = quarter_of(ended_us)
        self.total_pico += cost_pico
        self._quarters[quarter] = self._quarters.get(quarter, 0) + cost_pico
        if quarter > self._latest:
            self._latest = quarter
            if len(self._quarters) > 2 * KEPT_QUARTERS:
                self._forget(quarter - KEPT_QUARTERS)
        if self._meanwhile is not None:
            self._meanwhile.append((cost_pico, ended_us))

    def _forget(self, oldest: int) -> None:
        self._quarters = {at: cost for at, cost in self._quarters.items() if at >= oldest}
        self._known_from = max(self._known_from, oldest)

    def since(self, from_us: int | None) -> int:
        """What was charged from then on; None: ever."""
        if from_us is None:
            return self.total_pico
        if not self.covers(from_us):
            return self.total_pico
        first = quarter_of(from_us)
        return sum(cost for at, cost in self._quarters.items() if at >= first)

    def within(self, span: CalendarSpan) -> int:
        """What was charged in that time alone."""
        return self.since(span.from_us) - (0 if span.to_us is None else self.since(span.to_us))

    def read_anew(self) -> None:
        """The ledger is asked again, from this moment on; what is charged meanwhile is added to its answer."""
        self._meanwhile = []

    def was_not_read(self) -> None:
        """The ledger did not answer: what was known stays."""
        self._meanwhile = None

    def was_read(self, total_pico: int, quarters: Mapping[int, int], known_from: int) -> None:
        """What the ledger says of everything that had been charged when `read_anew` was called."""
        meanwhile, self._meanwhile = self._meanwhile or (), None
        self.total_pico, self._known_from = total_pico, known_from
        self._quarters = dict(quarters)
        self._latest = max(self._quarters, default=0)
        for cost_pico, ended_us in meanwhile:
            self.add(cost_pico, ended_us)
