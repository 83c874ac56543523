"""The hours of the week in which a key may be used, by the contributor's clocks.

Written as «DAYS HH:MM-HH:MM»: `mon-fri 18:00-23:00`, `sat,sun 08:00-24:00`, `22:00-06:00` (every day, over midnight).
Rule 1: a time belongs to the day on which it begins. Rule 2: what clocks show counts: an hour that is left out when
they are put forward cannot be used, and one that comes twice can be used twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

MOST = 20
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60
_WEEK = 7 * _DAY
_SPAN = re.compile(r"(?:([a-z, -]+) )?(\d{1,2}):(\d{2}) ?- ?(\d{1,2}):(\d{2})", re.ASCII)
_SAYS = "hours must be a list of 1 to 20 times like «mon-fri 18:00-23:00» or «22:00-06:00»"


class HoursError(ValueError):
    """Hours that cannot be; the sentence says what is wrong."""


@dataclass(frozen=True, slots=True)
class Hours:
    """`spans`: minutes of the week, from Monday 00:00 by the contributor's clocks, the end not counted in; an end may
    lie in the next week."""

    said: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, said: object) -> Hours:
        """The inverse of `said`. Raises HoursError."""
        if not isinstance(said, list | tuple) or not 1 <= len(said) <= MOST:
            raise HoursError(f"{_SAYS}.")
        texts: list[str] = []
        spans: list[tuple[int, int]] = []
        for each in said:
            text = " ".join(each.lower().split()) if isinstance(each, str) else ""
            spans += _spans(text)
            texts.append(text)
        return cls(tuple(texts), tuple(spans))

    def open_at(self, now_us: int, zone: tzinfo) -> bool:
        """Whether the wall time `now_us` lies within them."""
        there = datetime.fromtimestamp(now_us / 1e6, zone)
        minute = there.weekday() * _DAY + there.hour * 60 + there.minute
        return any(start <= at < end for start, end in self.spans for at in (minute, minute + _WEEK))

    def opens_us(self, now_us: int, zone: tzinfo) -> int:
        """The next wall time after `now_us` at which one of them begins."""
        there = datetime.fromtimestamp(now_us / 1e6, zone)
        monday = there.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None) - timedelta(
            there.weekday()
        )
        begins = (
            round(
                (monday + timedelta(minutes=start + week)).replace(tzinfo=zone, fold=fold).timestamp() * 1e6
            )
            for start, _ in self.spans
            for week in (0, _WEEK, 2 * _WEEK)
            for fold in (0, 1)
        )
        return min(at_us for at_us in begins if at_us > now_us)


def _spans(text: str) -> list[tuple[int, int]]:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise HoursError(f"{_SAYS}; {text[:40]!r} is none.")
    days, start_h, start_min, end_h, end_min = found.groups()
    start, end = _minute(int(start_h), int(start_min), text), _minute(int(end_h), int(end_min), text)
    if start in (end, _DAY):
        raise HoursError(f"{text!r} begins where it ends: write 00:00-24:00 for a whole day.")
    if end < start:
        end += _DAY
    return [(day * _DAY + start, day * _DAY + end) for day in _days(days, text)]


def _minute(hour: int, minute: int, text: str) -> int:
    at = hour * 60 + minute
    if minute > 59 or at > _DAY:
        raise HoursError(f"{text!r} names no time of a day: hours go from 00:00 to 24:00.")
    return at


def _days(said: str | None, text: str) -> list[int]:
    if said is None:
        return list(range(7))
    days: set[int] = set()
    for part in said.split(","):
        ends = [word.strip() for word in part.split("-")]
        if len(ends) > 2 or not all(day in DAYS for day in ends):
            raise HoursError(f"{text!r} names no days: they are {', '.join(DAYS)}, as in mon-fri or sat,sun.")
        begin, end = DAYS.index(ends[0]), DAYS.index(ends[-1])
        days.update(day % 7 for day in range(begin, (end if end >= begin else end + 7) + 1))
    return sorted(days)
