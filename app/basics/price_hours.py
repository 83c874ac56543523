"""Prices by the hours of a week, as people write them: «mon-fri 17:00-20:00 0.42», «jun-sep daily 16:00-21:00 0.5».

Rule 1: pure; a moment is looked at as the clocks of the place show it, so an hour that comes twice has its price twice.
Rule 2: the first line that fits gives the price; where none fits there is none. On a holiday only lines fit that say
`holidays`, or that name no days at all. Hours past midnight belong to the day on which they began.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
A_DAY_MIN = 24 * 60
HOLIDAYS = "holidays"
EVERY_DAY = "daily"
_HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)", re.ASCII)
_PRICE = re.compile(r"[+-]?\d{1,6}(\.\d{1,12})?", re.ASCII)
_MOST = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Holiday:
    """A day of one year, or, where `year` is None, of every year."""

    year: int | None
    month: int
    day: int

    def fits(self, day: date) -> bool:
        """Whether it is that day."""
        return (self.month, self.day) == (day.month, day.day) and self.year in (None, day.year)


@dataclass(frozen=True, slots=True)
class PriceHours:
    """From `from_min` to `to_min` minutes after midnight (of the next day, where it is not later), a price per kWh."""

    months: frozenset[int]
    """1 to 12."""
    days: frozenset[int]
    """0 is Monday."""
    holidays: bool
    from_min: int
    to_min: int
    price: Decimal

    def holds(self, at: datetime, holidays: Collection[Holiday]) -> bool:
        """Whether it is the price when the clocks show `at`."""
        minute = at.hour * 60 + at.minute
        if self.from_min < self.to_min:
            return self.from_min <= minute < self.to_min and self._on(at.date(), holidays)
        if minute >= self.from_min:
            return self._on(at.date(), holidays)
        return minute < self.to_min and self._on(at.date() - timedelta(days=1), holidays)

    def _on(self, day: date, holidays: Collection[Holiday]) -> bool:
        if day.month not in self.months:
            return False
        if any(each.fits(day) for each in holidays):
            return self.holidays
        return day.weekday() in self.days


def parse_price_hours(line: str) -> PriceHours:
    """One line: months and days where it is not always, hours, price. Raises ValueError with a hint."""
    words = line.lower().split()
    if len(words) < 2:
        raise ValueError(f"«{line}» wants hours and a price, as in mon-fri 17:00-20:00 0.42")
    *when, hours, price = words
    found = _HOURS.fullmatch(hours)
    if found is None:
        raise ValueError(f"«{hours}» is no span of hours like 17:00-20:00")
    first_h, first_m, last_h, last_m = map(int, found.groups())
    from_min, to_min = first_h * 60 + first_m, last_h * 60 + last_m
    if from_min >= A_DAY_MIN or to_min > A_DAY_MIN or from_min == to_min:
        raise ValueError(f"«{hours}» must begin before 24:00 and end at another time, 24:00 at the latest")
    months: set[int] = set()
    days: set[int] = set()
    holidays = every_day = False
    for word in ",".join(when).split(","):
        if not word:
            continue
        if word == HOLIDAYS:
            holidays = True
        elif word == EVERY_DAY:
            every_day = True
        elif (run := _run(word, MONTHS)) is not None:
            months |= {number + 1 for number in run}
        elif (run := _run(word, DAYS)) is not None:
            days |= set(run)
        else:
            raise ValueError(f"«{word}» is no day (mon to sun, daily, holidays) and no month (jan to dec)")
    if every_day or (not days and not holidays):
        days, holidays = set(range(7)), True
    return PriceHours(
        frozenset(months or range(1, 13)), frozenset(days), holidays, from_min, to_min, parse_price(price)
    )


def parse_holiday(text: str) -> Holiday:
    """«2026-04-06», or «12-25» for every year. Raises ValueError with a hint."""
    parts = text.strip().split("-")
    try:
        numbers = [int(part) for part in parts]
        if len(numbers) == 2:
            date(2024, *numbers)  # a leap year: every year has its holidays, 29 February some
            return Holiday(None, *numbers)
        day = date(*numbers)
    except (ValueError, TypeError):
        raise ValueError(f"«{text}» is no day like 2026-12-25, or 12-25 for every year") from None
    return Holiday(day.year, day.month, day.day)


def parse_hours(text: str) -> tuple[PriceHours, ...]:
    """Lines with ; between."""
    return tuple(parse_price_hours(part) for part in text.split(";") if part.strip())


def parse_holidays(text: str) -> tuple[Holiday, ...]:
    """Days with commas between."""
    return tuple(parse_holiday(part) for part in text.split(",") if part.strip())


def parse_tiers(text: str) -> tuple[Decimal, ...]:
    """Prices with commas between."""
    return tuple(parse_price(part.strip()) for part in text.split(",") if part.strip())


def _run(word: str, names: tuple[str, ...]) -> list[int] | None:
    """«fri-mon» as the numbers of all of them, around the end of the list where it says so; None for other words."""
    first, dash, last = word.partition("-")
    if first not in names or (dash and last not in names):
        return None
    start = names.index(first)
    count = (names.index(last) - start) % len(names) + 1 if dash else 1
    return [(start + step) % len(names) for step in range(count)]


def parse_price(text: str) -> Decimal:
    """A price per kilowatt-hour. Raises ValueError with a hint."""
    try:
        price = Decimal(text) if _PRICE.fullmatch(text) else None
    except InvalidOperation:
        price = None
    if price is None or abs(price) > _MOST:
        raise ValueError(f"«{text}» is no price of a kilowatt-hour like 0.42")
    return price
