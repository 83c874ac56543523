"""The days, weeks and months that a sum of money may be meant for.

Rule 1: pure; wall time and zone are handed in. Rule 2: a period begins at midnight on the zone's clocks, whatever they
did since the last one: such a day may have 23 or 25 hours. Where a midnight is left out, it begins when the clocks
leave it out; where it comes twice, with the first. Weeks begin on Monday (ISO 8601).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_US = (datetime(9990, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
"""Dates end a little later; a clock beyond that is wrong anyway."""
_A_WEEK_US = 7 * 86_400_000_000


@dataclass(frozen=True, slots=True)
class CalendarSpan:
    """Wall time [from_us, to_us) in µs since the epoch; None: without beginning, without end."""

    from_us: int | None
    to_us: int | None

    def holds(self, at_us: int) -> bool:
        """Whether the moment lies in it."""
        return (self.from_us is None or self.from_us <= at_us) and (self.to_us is None or at_us < self.to_us)


ALWAYS = CalendarSpan(None, None)


class Period(StrEnum):
    """For how long a sum is meant."""

    TOTAL = "total"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    def span(self, at_us: int, zone: tzinfo) -> CalendarSpan:
        """The one that `at_us` lies in."""
        if self is Period.TOTAL:
            return ALWAYS
        today = _local(at_us, zone).date()
        match self:
            case Period.DAY:
                first, following = today, today + timedelta(days=1)
            case Period.WEEK:
                first = today - timedelta(days=today.weekday())
                following = first + timedelta(days=7)
            case _:
                first = today.replace(day=1)
                following = (first + timedelta(days=31)).replace(day=1)
        return CalendarSpan(_midnight(first, zone), _midnight(following, zone))

    @property
    def each(self) -> str:
        """For a sentence, behind an amount: «a week»; empty for a sum that is meant once."""
        return "" if self is Period.TOTAL else f"a {self.value}"

    @property
    def this(self) -> str:
        """For a sentence: «today», «this week»; empty for a sum that is meant once."""
        return {"total": "", "day": "today"}.get(self.value, f"this {self.value}")


def edge_text(at_us: int, now_us: int, zone: tzinfo) -> str:
    """When a period ends, for a sentence: «Monday 00:00», or «1 December 00:00» where that is more than a week away."""
    at = _local(at_us, zone)
    day = f"{at:%A}" if at_us - now_us <= _A_WEEK_US else f"{at.day} {at:%B}"
    return f"{day} {at:%H:%M}"


def _local(at_us: int, zone: tzinfo) -> datetime:
    return (_EPOCH + timedelta(microseconds=min(at_us, _LATEST_US))).astimezone(zone)


def _midnight(day: date, zone: tzinfo) -> int:
    return (datetime.combine(day, time(), zone).astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
