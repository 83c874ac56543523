"""Published prices: from what suppliers and home automations hand out to slots of time, and to a file of ours.

Rule 1: pure. Rule 2: numbers are read as decimal text, never as floats, and rounded once. Rule 3: what is newer wins: a
series that is merged into another replaces what that said of the same time.
"""

from __future__ import annotations

import csv
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from app.billing.money import pico_to_decimal, to_pico

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_US = 3_600_000_000
LONGEST_US = 32 * 24 * HOUR_US
"""No published price is for longer than a month."""
MOST_SLOTS = 400_000
"""Ten years of quarters of an hour."""
_SHAPES = "Octopus's {results}, aWATTar's {data}, a Home Assistant entity, or a list of {start, end, value}"


class SeriesError(ValueError):
    """What was handed over is no list of prices; the sentence says where and why."""


@dataclass(frozen=True, slots=True, order=True)
class PriceSlot:
    """One price from `start_us` (inclusive) to `end_us` (exclusive), wall time."""

    start_us: int
    end_us: int
    price_pico_per_kwh: int


@dataclass(frozen=True, slots=True)
class PriceSeries:
    """Slots in the order of time that do not overlap; there may be gaps. Make one with `of`."""

    slots: tuple[PriceSlot, ...] = ()

    @classmethod
    def of(cls, slots: Iterable[PriceSlot]) -> PriceSeries:
        """Raises SeriesError where slots overlap, are empty or are too long."""
        ordered = tuple(sorted(set(slots)))
        if len(ordered) > MOST_SLOTS:
            raise SeriesError(f"There are {len(ordered)} prices; at most {MOST_SLOTS} are kept.")
        before = None
        for slot in ordered:
            if not slot.start_us < slot.end_us <= slot.start_us + LONGEST_US:
                raise SeriesError(f"The price of {_text(slot.start_us)} does not last for up to a month.")
            if before is not None and slot.start_us < before.end_us:
                raise SeriesError(f"Two prices are said of {_text(slot.start_us)}.")
            before = slot
        return cls(ordered)

    def last_before(self, at_us: int) -> PriceSlot | None:
        """The newest slot that begins before `at_us`."""
        place = bisect_left(self.slots, at_us, key=lambda slot: slot.start_us)
        return self.slots[place - 1] if place else None

    def within(self, from_us: int, to_us: int) -> tuple[PriceSlot, ...]:
        """Every slot that touches [from_us, to_us)."""
        first = bisect_right(self.slots, from_us, key=lambda slot: slot.end_us)
        last = bisect_left(self.slots, to_us, key=lambda slot: slot.start_us)
        return self.slots[first:last]

    def merged(self, newer: PriceSeries) -> PriceSeries:
        """Both; of a moment that both speak of, `newer` says the price."""
        if not newer.slots:
            return self
        kept: list[PriceSlot] = list(newer.slots)
        for slot in self.slots:
            at_us = slot.start_us
            for other in newer.within(slot.start_us, slot.end_us):
                if at_us < other.start_us:
                    kept.append(PriceSlot(at_us, other.start_us, slot.price_pico_per_kwh))
                at_us = max(at_us, other.end_us)
            if at_us < slot.end_us:
                kept.append(PriceSlot(at_us, slot.end_us, slot.price_pico_per_kwh))
        return PriceSeries.of(kept)

    def since(self, at_us: int) -> PriceSeries:
        """Without what had ended by then."""
        return PriceSeries(self.slots[bisect_right(self.slots, at_us, key=lambda slot: slot.end_us) :])

    @property
    def text(self) -> str:
        """As a CSV file, which `read_series` reads."""
        lines = ["start,end,price"]
        for slot in self.slots:
            price = pico_to_decimal(slot.price_pico_per_kwh)
            lines.append(f"{_text(slot.start_us)},{_text(slot.end_us)},{price:f}")
        return "\n".join(lines) + "\n"


def read_series(text: str, zone: tzinfo) -> PriceSeries:
    """Prices per kWh from a CSV (start, end, price; or start, price) or from one of the JSON shapes above.

    Times without an offset are read by the clocks of `zone`. Raises SeriesError.
    """
    text = text.lstrip("\ufeff")
    if not text.strip():
        raise SeriesError("It is empty.")
    if text.lstrip()[0] in "[{":
        try:
            told = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise SeriesError("It begins like JSON and is none.") from None
        return _from_json(told, zone)
    return _from_csv(text, zone)


def _from_json(told: Any, zone: tzinfo) -> PriceSeries:
    if isinstance(told, dict) and isinstance(told.get("attributes"), dict):
        return _from_entity(told, zone)
    if isinstance(told, dict) and isinstance(told.get("results"), list):  # Octopus: pence
        rows, scale = told["results"], Decimal(100)
        names = ("valid_from", "valid_to", "value_inc_vat")
    elif isinstance(told, dict) and isinstance(told.get("data"), list):  # aWATTar: EUR/MWh
        rows, scale = told["data"], Decimal(1000)
        names = ("start_timestamp", "end_timestamp", "marketprice")
    elif isinstance(told, list):
        rows, scale, names = told, Decimal(1), _names(told)
    else:
        raise SeriesError(f"It is none of {_SHAPES}.")
    return _ended([_row(row, names, scale, zone, at) for at, row in enumerate(rows, start=1)])


def _names(rows: list[Any]) -> tuple[str, str, str]:
    first = rows[0] if rows and isinstance(rows[0], dict) else {}
    value = next((name for name in ("value", "price", "price_per_kwh") if name in first), "value")
    return ("start", "end", value)


def _from_entity(told: dict[str, Any], zone: tzinfo) -> PriceSeries:
    """A Home Assistant price entity: its lists of prices where it has some, or its state as the price of this hour."""
    attributes = told["attributes"]
    unit = str(attributes.get("unit_of_measurement", "")).lower().replace(" ", "")
    scale = Decimal(1000) if unit.endswith("/mwh") else Decimal(1)
    if unit.startswith(("ct", "c/", "¢", "p/", "cent", "öre", "øre")):
        scale *= 100
    rows: list[Any] = []
    for name in ("raw_today", "raw_tomorrow", "prices", "rates", "data"):
        listed = attributes.get(name)
        rows += listed if isinstance(listed, list) else []
    if rows:
        return _ended([_row(row, _names(rows), scale, zone, at) for at, row in enumerate(rows, start=1)])
    try:
        price = _price(told.get("state"), scale)
        at_us = _moment(told.get("last_updated") or told.get("last_changed"), zone)
    except SeriesError as error:
        raise SeriesError(f"The entity's state is no price: {error}") from None
    start_us = at_us - at_us % HOUR_US
    return PriceSeries.of([PriceSlot(start_us, start_us + HOUR_US, price)])


def _from_csv(text: str, zone: tzinfo) -> PriceSeries:
    dialect = ";" if text.splitlines()[0].count(";") else ","
    rows = [
        row for row in csv.reader(text.splitlines(), delimiter=dialect) if any(cell.strip() for cell in row)
    ]
    found = []
    for at, row in enumerate(rows, start=1):
        cells = [cell.strip() for cell in row]
        if at == 1 and not cells[0][:1].isdigit():
            continue
        if len(cells) not in (2, 3):
            raise SeriesError(
                f"Line {at} has {len(cells)} columns; it wants start, end and price, or start and price."
            )
        told = {"start": cells[0], "end": cells[1] if len(cells) == 3 else None, "price": cells[-1]}
        found.append(_row(told, ("start", "end", "price"), Decimal(1), zone, at))
    return _ended(found)


def _row(
    row: Any, names: tuple[str, str, str], scale: Decimal, zone: tzinfo, at: int
) -> tuple[int, int | None, int]:
    if not isinstance(row, dict):
        raise SeriesError(f"Price {at} is none of {_SHAPES}.")
    start, end, price = (row.get(name) for name in names)
    try:
        return _moment(start, zone), None if end is None else _moment(end, zone), _price(price, scale)
    except SeriesError as error:
        raise SeriesError(f"Price {at}: {error}") from None


def _ended(rows: list[tuple[int, int | None, int]]) -> PriceSeries:
    """Where no end is said, a price ends with the next one; the last one lasts as long as the one before it."""
    if not rows:
        raise SeriesError("There is no price in it.")
    rows.sort(key=lambda row: row[0])
    slots, length_us = [], HOUR_US
    for at, (start_us, end_us, price) in enumerate(rows):
        if end_us is None:
            end_us = rows[at + 1][0] if at + 1 < len(rows) else start_us + length_us
        length_us = end_us - start_us
        slots.append(PriceSlot(start_us, end_us, price))
    return PriceSeries.of(slots)


def _price(value: Any, scale: Decimal) -> int:
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value).strip())
        return to_pico(number / scale)
    except (ArithmeticError, ValueError, TypeError):
        raise SeriesError(f"{value!r:.40} is no price.") from None


def _moment(value: Any, zone: tzinfo) -> int:
    """ISO 8601, or milliseconds (or seconds) since the epoch."""
    try:
        if isinstance(value, Decimal) and value.adjusted() > 15:
            raise OverflowError  # before anything spells out its digits
        if isinstance(value, Decimal):
            us = int(value * (1_000 if value > 10**11 else 1_000_000))
            _EPOCH + timedelta(microseconds=us)  # OverflowError where it is beyond all calendars
            return us
        at = datetime.fromisoformat(str(value).strip())
        at = at.replace(tzinfo=zone) if at.tzinfo is None else at
        return (at.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise SeriesError(f"{value!r:.40} is no time like 2026-11-28T17:30:00+00:00.") from None


def _text(at_us: int) -> str:
    return (_EPOCH + timedelta(microseconds=at_us)).isoformat().replace("+00:00", "Z")


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")
