"""Says in time that the spending cap is nearly reached.

Rule: whatever may have spent something has the rules looked at, and so this looks with them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from app.basics.signal import Signal
from app.billing.cap_warning import CapWarning
from app.billing.money import format_money
from app.billing.purse import Purse

log = logging.getLogger(__name__)


class CapWatch:
    """`warned` is told when a level was reached that had not been said."""

    def __init__(self, cap: Purse, currency: Callable[[], str]) -> None:
        self.warned: Signal[[]] = Signal()
        self._cap = cap
        self._currency = currency
        self._span = cap.span
        self._warning = CapWarning(cap.spent, cap.cap)

    @property
    def level_pct(self) -> int:
        """The level that was said: 80 or 95, or 0 for none."""
        return self._warning.said_pct

    def look(self) -> None:
        """Something may have been spent, or the cap may have been set."""
        spent, cap = self._cap.spent, self._cap.cap
        if self._cap.span != self._span:
            # Another period: nothing was said of it yet.
            self._span, self._warning = self._cap.span, CapWarning(0, max(1, cap))
        level = self._warning.told(spent, cap)
        if level is not None:
            currency = self._currency()
            log.warning(
                "%d %% of the spending cap is spent: %s of %s%s.",
                level,
                format_money(spent, currency),
                format_money(cap, currency),
                f" {self._cap.period.each}".rstrip(),
            )
            self.warned()
