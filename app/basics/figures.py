"""Numbers for people: plain digits, never an exponent, and the decimal point everywhere, as the ledger has it.

Rule: for what is only looked at. Money has its own function, `billing.money.format_money`.
"""

from __future__ import annotations

import math
from decimal import Decimal


def three_figures(value: float) -> str:
    """Three significant figures: 0.0000446, 0.0561, 12.3, 1,230."""
    if value == 0:
        return "0"
    # Rounded first: 9.999 has its three figures as 10.0.
    digits = max(0, 2 - math.floor(math.log10(abs(float(f"{value:.3g}")))))
    return f"{value:,.{digits}f}"


def plain_digits(value: float) -> str:
    """All digits that make out this finite number, without idle zeros: 0.00000784, 10."""
    whole, _, fraction = f"{Decimal(repr(value)):f}".partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole
