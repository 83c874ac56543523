"""Periods as people say them: a month, a day, or a moment.

Rule: a month or a day is meant whole, at its end too; what names no time zone is in this machine's.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from app.commands.common import CommandError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_month = re.compile(r"(\d{4})-(\d{2})", re.ASCII).fullmatch
_day = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII).fullmatch


def period_us(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """[from, to) in µs since the epoch, None where it is open; CommandError for what is no time, or no period."""
    from_us = None if since is None else _instant_us(since, end=False)
    to_us = None if until is None else _instant_us(until, end=True)
    if from_us is not None and to_us is not None and from_us >= to_us:
        raise CommandError(f"Nothing lies between {since} and {until}: the first must be the earlier one.")
    return from_us, to_us


def _instant_us(text: str, *, end: bool) -> int:
    try:
        if match := _month(text):
            year, month = int(match[1]), int(match[2])
            first = date(year, month, 1)
            at = _midnight(date(year + month // 12, month % 12 + 1, 1) if end else first)
        elif _day(text):
            at = _midnight(date.fromisoformat(text) + timedelta(days=end))
        else:
            at = datetime.fromisoformat(text)
        return (at.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError, OSError):
        raise CommandError(
            f"{text!r:.80} is no time: say for example 2026-08, 2026-08-31 or 2026-08-31T18:00."
        ) from None


def _midnight(day: date) -> datetime:
    """With which the day begins here."""
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 (this machine's time zone is meant)
