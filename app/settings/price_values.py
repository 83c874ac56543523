"""Reading values that say prices: hours with theirs, holidays, tiers.

Rule: as in `values`; they are kept as texts that a person can read, and `basics.price_hours` knows what they mean.
"""

from __future__ import annotations

from app.basics.price_hours import parse_holiday, parse_price, parse_price_hours
from app.settings.values import Kind

LONGEST = 4096


def _line(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST:
        raise ValueError("")
    if not value.isprintable():
        raise ValueError("it holds a line break or another character that cannot be printed")
    return value


def _hours(value: object) -> str:
    parts = [part.strip() for part in _line(value).split(";")]
    for part in filter(None, parts):
        parse_price_hours(part)
    return "; ".join(filter(None, parts))


def _holidays(value: object) -> str:
    parts = [part.strip() for part in _line(value).split(",")]
    for part in filter(None, parts):
        parse_holiday(part)
    return ", ".join(filter(None, parts))


def _tiers(value: object) -> str:
    parts = [part.strip() for part in _line(value).split(",")]
    for part in filter(None, parts):
        parse_price(part)
    return ", ".join(filter(None, parts))


HOURS = Kind(
    "price_hours",
    "hours with their prices, such as mon-fri 17:00-20:00 0.42; sat,sun 00:00-24:00 0.2",
    _hours,
)
HOLIDAYS = Kind("days", "days separated by commas, such as 2026-04-06, 12-25", _holidays)
TIERS = Kind("prices", "prices separated by commas, such as 0.25, 0.31", _tiers)
