"""What the contributor pays for electricity, as a tariff for one day and the next.

Rule 1: pure; the moment is handed in. Rule 2: prices that change are recorded day by day: a tariff of a year would make
every log long, and what is priced is rarely older than a day. The tariff of a day tells the next day's prices too, for
what still runs at midnight; before and after them the nearest price holds. Rule 3: a price that nobody said is the last
one known, and `guessed_from_us` says from when on that is so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal

from app.basics.price_hours import A_DAY_MIN, Holiday, PriceHours
from app.billing.money import to_pico
from app.billing.periods import ALWAYS, CalendarSpan, Period
from app.billing.series import PriceSeries
from app.billing.tariff import Interval, Tariff

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER_US = 900_000_000
"""Clocks are changed at a quarter of an hour, everywhere."""


@dataclass(frozen=True, slots=True)
class DayTariff:
    """`tariff` is in force during `span`; from `guessed_from_us` on (None: never within it) its prices are the last
    known one."""

    tariff: Tariff
    span: CalendarSpan
    guessed_from_us: int | None = None


@dataclass(frozen=True, slots=True)
class FlatPlan:
    """One price per kWh for ever."""

    currency: str
    price: Decimal

    def on(self, at_us: int) -> DayTariff:
        """The tariff, whatever the moment."""
        return DayTariff(Tariff.flat(to_pico(self.price), self.currency), ALWAYS)


@dataclass(frozen=True, slots=True)
class WeeklyPlan:
    """Prices by the hours of the week on the clocks of `zone`; `price` where no line fits."""

    currency: str
    price: Decimal
    hours: tuple[PriceHours, ...]
    holidays: tuple[Holiday, ...]
    zone: tzinfo

    def on(self, at_us: int) -> DayTariff:
        """The tariff of the day that `at_us` lies in, and of the next."""
        today = Period.DAY.span(at_us, self.zone)
        from_us, to_us = _two_days(today, self.zone)
        edges = sorted(edge for edge in self._edges(from_us, to_us) if from_us < edge < to_us)
        prices = [(edge, to_pico(self.price_at(edge))) for edge in (from_us, *edges)]
        return DayTariff(_joined(self.currency, prices), today)

    def price_at(self, at_us: int) -> Decimal:
        """Per kWh, by what the clocks show at that moment."""
        shown = _shown(at_us, self.zone)
        return next((each.price for each in self.hours if each.holds(shown, self.holidays)), self.price)

    def _edges(self, from_us: int, to_us: int) -> set[int]:
        """Every moment at which the clocks may show something that another price fits: the lines' own times, either
        time where they come twice, and the moments when the clocks are changed."""
        minutes = {0} | {minute % A_DAY_MIN for each in self.hours for minute in (each.from_min, each.to_min)}
        edges = set()
        day, last = _shown(from_us, self.zone).date(), _shown(to_us, self.zone).date()
        while day <= last:
            for minute in minutes:
                shown = datetime.combine(day, time(minute // 60, minute % 60), self.zone)
                edges |= {_moment(shown), _moment(shown.replace(fold=1))}
            day += timedelta(days=1)
        offset = None
        for at_us in range(from_us - from_us % _QUARTER_US, to_us, _QUARTER_US):
            before, offset = offset, _shown(at_us, self.zone).utcoffset()
            if offset != before:
                edges.add(at_us)
        return edges


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """Prices that somebody published; `price` before the first of them, and where there are none at all. `surcharge`
    is added to each of them: grid, taxes, the supplier's own."""

    currency: str
    price: Decimal
    series: PriceSeries
    surcharge: Decimal
    zone: tzinfo

    def on(self, at_us: int) -> DayTariff:
        """The tariff of the day that `at_us` lies in, and of the next."""
        today = Period.DAY.span(at_us, self.zone)
        from_us, to_us = _two_days(today, self.zone)
        more = to_pico(self.surcharge)
        last = self.series.last_before(from_us)
        known = to_pico(self.price) if last is None else last.price_pico_per_kwh + more
        at, guessed = from_us, None
        prices = [(from_us, known)]
        for slot in self.series.within(from_us, to_us):
            if slot.start_us > at and guessed is None:
                guessed = at
            known = slot.price_pico_per_kwh + more
            prices.append((max(from_us, slot.start_us), known))
            at = slot.end_us
        if guessed is None and today.to_us is not None and at < today.to_us:
            guessed = at
        return DayTariff(_joined(self.currency, prices), today, guessed)


PricePlan = FlatPlan | WeeklyPlan | SeriesPlan


def _joined(currency: str, prices: Sequence[tuple[int, int]]) -> Tariff:
    """From (since, price) pairs in the order of time, with neighbours of one price made one."""
    kept: list[tuple[int, int]] = []
    for since_us, price in prices:
        if kept and kept[-1][0] == since_us:
            kept.pop()
        if not kept or kept[-1][1] != price:
            kept.append((since_us, price))
    starts = [None, *(since_us for since_us, _ in kept[1:])]
    ends = [*starts[1:], None]
    return Tariff.of(
        currency,
        [Interval(start, end, price) for start, end, (_, price) in zip(starts, ends, kept, strict=True)],
    )


def _two_days(today: CalendarSpan, zone: tzinfo) -> tuple[int, int]:
    assert today.from_us is not None
    assert today.to_us is not None
    tomorrow = Period.DAY.span(today.to_us, zone)
    assert tomorrow.to_us is not None
    return today.from_us, tomorrow.to_us


def _shown(at_us: int, zone: tzinfo) -> datetime:
    return (_EPOCH + timedelta(microseconds=at_us)).astimezone(zone)


def _moment(shown: datetime) -> int:
    return (shown.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
