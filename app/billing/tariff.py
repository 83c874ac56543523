"""What a kilowatt-hour costs, and when.

Rule 1: a tariff answers for every moment. Its intervals are sorted, touch each other and cover all time, so a
request can never fall into a hole between two prices. Rule 2: its name is its content: `id` is a hash, and two
tariffs with the same prices have the same id. Prices may be negative.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from app.billing.money import check_currency

FOR_EVER_US = 2**63 - 1
"""Later than any moment."""


class TariffError(ValueError):
    """The intervals do not make a tariff; the sentence says which one and why."""


@dataclass(frozen=True, slots=True)
class Interval:
    """One price from `start_us` (inclusive) to `end_us` (exclusive), wall time; None is without end."""

    start_us: int | None
    end_us: int | None
    price_pico_per_kwh: int


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices in pico-units of `currency` per kWh over all time. Make one with `of` or `flat`."""

    id: str
    currency: str
    intervals: tuple[Interval, ...]
    _starts: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """Start of every interval but the first: what the search for a price looks through."""

    def __post_init__(self) -> None:
        check_currency(self.currency)
        _check(self.intervals)
        if self.id != tariff_id(self.currency, self.intervals):
            raise TariffError(f"The tariff {self.id} does not have the prices its id was made from.")
        starts = tuple(interval.start_us for interval in self.intervals if interval.start_us is not None)
        object.__setattr__(self, "_starts", starts)

    @classmethod
    def of(cls, currency: str, intervals: Iterable[Interval]) -> Tariff:
        """A tariff named after its content. Raises TariffError for gaps, overlaps and wrong order."""
        kept = tuple(intervals)
        return cls(tariff_id(currency, kept), currency, kept)

    @classmethod
    def flat(cls, price_pico_per_kwh: int, currency: str) -> Tariff:
        """One price for ever."""
        return cls.of(currency, (Interval(None, None, price_pico_per_kwh),))

    @classmethod
    def of_content(cls, currency: str, content: str) -> Tariff:
        """The tariff whose `content` this is. Raises TariffError."""
        try:
            intervals = [
                Interval(None if start is None else int(start), None if end is None else int(end), int(price))
                for start, end, price in json.loads(content)
            ]
        except (ValueError, TypeError, RecursionError):
            raise TariffError("The content of the tariff is no list of [start, end, price].") from None
        return cls.of(currency, intervals)

    @property
    def content(self) -> str:
        """The intervals as a tariff record tells them: JSON, «[[start_us,end_us,"price_pico_per_kwh"],…]»."""
        rows = [[each.start_us, each.end_us, str(each.price_pico_per_kwh)] for each in self.intervals]
        return json.dumps(rows, separators=(",", ":"))

    @property
    def flat_price(self) -> int | None:
        """The only price there is; None where there are several."""
        return None if self._starts else self.intervals[0].price_pico_per_kwh

    def changes_after(self, t_us: int) -> int:
        """When the price that holds at `t_us` ends; FOR_EVER_US where it never does."""
        index = bisect_right(self._starts, t_us)
        return self._starts[index] if index < len(self._starts) else FOR_EVER_US

    def price_at(self, t_us: int) -> int:
        """Pico-units per kWh at wall time `t_us`."""
        return self.intervals[bisect_right(self._starts, t_us)].price_pico_per_kwh

    def split(self, t0_us: int, t1_us: int) -> tuple[tuple[int, int, int], ...]:
        """(from, to, price) for every interval that [t0, t1) touches, in order; nothing where t0 == t1."""
        if t1_us < t0_us:
            raise TariffError(f"A period cannot end ({t1_us}) before it begins ({t0_us}).")
        parts = []
        at = t0_us
        index = bisect_right(self._starts, t0_us)
        while at < t1_us:
            interval = self.intervals[index]
            until = t1_us if interval.end_us is None else min(t1_us, interval.end_us)
            parts.append((at, until, interval.price_pico_per_kwh))
            at = until
            index += 1
        return tuple(parts)

    def spread(self, energy_uj: int, t0_us: int, t1_us: int) -> tuple[tuple[int, int], ...]:
        """(energy_uj, price) pairs: energy used evenly over [t0, t1), divided at price boundaries.

        The parts add up to `energy_uj` exactly. A period that is empty, or that ends before it begins because the
        wall clock was set back meanwhile, has the price of its beginning.
        """
        if not self._starts:
            return ((energy_uj, self.intervals[0].price_pico_per_kwh),)
        if t1_us <= t0_us:
            return ((energy_uj, self.price_at(t0_us)),)
        whole = t1_us - t0_us
        shares = []
        given = 0
        for _, until, price in self.split(t0_us, t1_us):
            reached = energy_uj * (until - t0_us) // whole
            shares.append((reached - given, price))
            given = reached
        return tuple(shares)

    def highest_price(self, t0_us: int, t1_us: int) -> int:
        """The dearest pico-units per kWh that hold at any moment of [t0, t1]."""
        if not self._starts:
            return self.intervals[0].price_pico_per_kwh
        first = bisect_right(self._starts, t0_us)
        last = bisect_right(self._starts, max(t0_us, t1_us))
        return max(interval.price_pico_per_kwh for interval in self.intervals[first : last + 1])


def canonical_text(currency: str, intervals: Iterable[Interval]) -> str:
    """The text that `id` hashes: the currency, then one line «start end price» an interval, «-» for no end."""
    lines = [currency]
    for interval in intervals:
        start = "-" if interval.start_us is None else str(interval.start_us)
        end = "-" if interval.end_us is None else str(interval.end_us)
        lines.append(f"{start} {end} {interval.price_pico_per_kwh}")
    return "\n".join(lines) + "\n"


def tariff_id(currency: str, intervals: Iterable[Interval]) -> str:
    """«t_» and 16 hex digits of the SHA-256 of `canonical_text`."""
    digest = hashlib.sha256(canonical_text(currency, intervals).encode("ascii", "backslashreplace"))
    return "t_" + digest.hexdigest()[:16]


def _check(intervals: tuple[Interval, ...]) -> None:
    if not intervals:
        raise TariffError("A tariff needs at least one price.")
    if intervals[0].start_us is not None or intervals[-1].end_us is not None:
        raise TariffError(
            "A tariff must cover all time: the first price has no start and the last one no end."
        )
    for number, (left, right) in enumerate(pairwise(intervals), start=2):
        if left.end_us is None or right.start_us is None:
            raise TariffError(f"Price {number} of the tariff overlaps the one before, which has no end.")
        if right.start_us != left.end_us:
            kind = "leaves a gap after" if right.start_us > left.end_us else "overlaps or precedes"
            raise TariffError(f"Price {number} of the tariff {kind} the one before it.")
    for number, interval in enumerate(intervals, start=1):
        if (
            interval.start_us is not None
            and interval.end_us is not None
            and interval.start_us >= interval.end_us
        ):
            raise TariffError(f"Price {number} of the tariff ends before it begins.")
