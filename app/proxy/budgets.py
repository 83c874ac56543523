"""What keys and clients may spend a day or a month, as the control API shows it.

Rule: a key is shown its own budgets and its client's, and never what the contributor's cap leaves.
"""

from __future__ import annotations

from typing import Any, Protocol

from app.basics.clock import wall_us
from app.billing.money import pico_to_float
from app.billing.periods import edge_text
from app.billing.purses import Purses


class BudgetBook(Protocol):
    """What keeps the purses."""

    def of(self, key: str, log_id: str) -> Purses:
        """The purses of a key and of its client, as they are now."""

    async def ready(self) -> None:
        """Wait until it is known what was spent of those that have just come."""


def budgets_json(purses: Purses) -> list[dict[str, Any]]:
    """Whose, for how long, how much, what of it is left, and when it begins anew; amounts also exactly."""
    now_us = wall_us()
    shown = []
    for each in purses:
        purse, to_us = each.purse, each.purse.span.to_us
        left = max(0, purse.cap - purse.spent)
        shown.append(
            {
                "of": each.whose,
                "period": purse.period.value,
                "budget": pico_to_float(purse.cap),
                "budget_pico": str(purse.cap),
                "spent": pico_to_float(purse.spent),
                "spent_pico": str(purse.spent),
                "held": pico_to_float(purse.held),
                "left": pico_to_float(left),
                "left_pico": str(left),
                "renews": None if to_us is None else to_us / 1e6,
                "renews_text": None if to_us is None else edge_text(to_us, now_us, purse.zone),
            }
        )
    return shown
