"""Money: integers of pico-units (1e-12) of one ISO 4217 currency.

Rule 1: a float never becomes money. What people type arrives as text or Decimal, and is rounded once, half-even.
Rule 2: only the two functions at the end turn money back into something to look at.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

from app.basics.rounding import round_half_even

PICO = 10**12
"""Pico-units in one unit of a currency."""

MAX_PICO = 2**63 - 1
"""The most an SQLite integer holds: about 9.2 million units."""

_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_CURRENCY = re.compile(r"[A-Z]{3}")

_SIGNS: dict[str, tuple[str, str | None, int]] = {
    # currency: (sign before the amount, sign of the hundredth part after it, decimals people expect)
    "USD": ("$", "¢", 2),
    "AUD": ("A$", "¢", 2),
    "CAD": ("CA$", "¢", 2),
    "NZD": ("NZ$", "¢", 2),
    "EUR": ("€", "ct", 2),
    "GBP": ("£", "p", 2),
    "INR": ("₹", None, 2),
    "JPY": ("¥", None, 0),
    "KRW": ("₩", None, 0),
}


def to_pico(value: Decimal | str | int) -> int:
    """Units of currency (or of currency per something) to pico-units, half-even.

    Raises TypeError for a float or a bool, ValueError for what is no finite number or does not fit 64 bits.
    """
    if isinstance(value, bool) or not isinstance(value, Decimal | str | int):
        raise TypeError(f"money must be a Decimal, a string or an int, not {type(value).__name__}")
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is not an amount of money; write it like 0.15.") from None
    # The exponent is looked at before anything is scaled: «1e999999999» must not cost memory.
    if not amount.is_finite() or (amount and amount.adjusted() > 7):
        raise ValueError(f"{value!r} is not an amount of money between -9.2 and 9.2 million.")
    if not amount or amount.adjusted() < -13:
        return 0
    numerator, denominator = amount.as_integer_ratio()
    pico = round_half_even(numerator * PICO, denominator)
    if abs(pico) > MAX_PICO:
        raise ValueError(f"{value!r} is not an amount of money between -9.2 and 9.2 million.")
    return pico


def pico_to_decimal(pico: int) -> Decimal:
    """Exact units of currency, with twelve decimals."""
    return Decimal(f"{pico}e-12")


def pico_to_float(pico: int) -> float:
    """The float nearest to the exact amount; for the seed's JSON fields and for graphs, never for sums."""
    return pico / PICO


def check_currency(currency: str) -> str:
    """The code itself; raises ValueError where it is not three capital letters (ISO 4217)."""
    if not _CURRENCY.fullmatch(currency):
        raise ValueError(f"{currency!r} is not a currency; write its ISO 4217 code, like USD or EUR.")
    return currency


def format_money(pico: int, currency: str, *, signed: bool = False) -> str:
    """An amount for people, with as many digits as say something: «$3.42», «$0.034», «0.0084 ¢», «CHF 0.000084».

    Two significant figures at least, and never fewer decimals than the currency has. Below a hundredth the sign
    of the hundredth part is used where the currency has a well-known one. `signed` puts a plus before gains too.
    """
    check_currency(currency)
    sign, minor, decimals = _SIGNS.get(currency, (f"{currency} ", None, 2))
    lead = "−" if pico < 0 else "+" if signed and pico > 0 else ""
    amount = pico_to_decimal(abs(pico))
    if minor is not None and 0 < amount < Decimal("0.01"):
        hundredths = _figures(amount.scaleb(2, _CONTEXT), 0)
        if hundredths != "1":
            return f"{lead}{hundredths} {minor}"
    return f"{lead}{sign}{_figures(amount, decimals)}"


def _figures(amount: Decimal, decimals: int) -> str:
    """Plain digits with two significant figures at least, `decimals` at least, and no idle zeros beyond those."""
    wanted = decimals if not amount else max(decimals, 1 - amount.adjusted())
    rounded = amount.quantize(Decimal(1).scaleb(-wanted), ROUND_HALF_EVEN, _CONTEXT)
    whole, _, fraction = f"{rounded:,f}".partition(".")
    kept = fraction.rstrip("0").ljust(decimals, "0")
    return f"{whole}.{kept}" if kept else whole
