"""Numbers and times as the faces show them.

Rule 1: pure, and as many digits as say something: watts whole, energy three figures, no «0.00».
Rule 2: times follow the user's zone and locale; numbers keep the decimal point everywhere, as the ledger does.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from PySide6.QtCore import QDateTime, QLocale

from app.basics.figures import three_figures

NOTHING: Final = "–"
"""Shown where there is no figure; never 0."""

_UJ_PER_WH: Final = 3_600_000_000


def watts(power_w: float | None) -> str:
    """«171 W»; a dash where nothing was measured."""
    if power_w is None or math.isnan(power_w):
        return NOTHING
    return f"{power_w:.0f} W"


def energy(energy_uj: int | None) -> str:
    """Microjoules as watt-hours, or kilowatt-hours from a thousand on, with three figures."""
    if energy_uj is None:
        return NOTHING
    wh = energy_uj / _UJ_PER_WH
    if abs(wh) >= 1000:
        return f"{three_figures(wh / 1000)} kWh"
    if 0 < abs(wh) < 0.001:
        return f"{three_figures(wh * 1000)} mWh"
    return f"{three_figures(wh)} Wh"


def percent(value: float | None) -> str:
    """«98 %»."""
    return NOTHING if value is None else f"{value:.0f} %"


def gigabytes(size_b: int) -> str:
    """Bytes as binary gigabytes, the way graphics cards are sold: «7.8», «24»."""
    value = size_b / 2**30
    return f"{value:.0f}" if value >= 100 or value == round(value) else f"{value:.1f}"


def memory(used_b: int | None, total_b: int | None) -> str:
    """«7.8 of 24 GB»."""
    if used_b is None:
        return NOTHING
    if not total_b:
        return f"{gigabytes(used_b)} GB"
    return f"{gigabytes(used_b)} of {gigabytes(total_b)} GB"


def size(size_b: float) -> str:
    """Bytes of a file or a download in decimal units, the way disks and networks count: «4.9 GB», «637 MB»."""
    unit, by = _unit_of(size_b)
    return f"{_in_unit(size_b, by)} {unit}"


def size_of(done_b: float, total_b: float) -> str:
    """«1.2 of 4.9 GB», both in the unit of the whole."""
    unit, by = _unit_of(total_b)
    return f"{_in_unit(min(done_b, total_b), by)} of {_in_unit(total_b, by)} {unit}"


def speed(b_per_s: float) -> str:
    """«38 MB/s»."""
    unit, by = _unit_of(b_per_s)
    figure = b_per_s / by
    return f"{figure:.1f} {unit}/s" if figure < 10 and by > 1 else f"{figure:.0f} {unit}/s"


def time_left(seconds: float) -> str:
    """«2 min left», with the coarseness that a guess deserves."""
    if seconds < 10:
        return "a few seconds left"
    if seconds <= 50:
        return f"{math.ceil(seconds / 10) * 10} s left"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"{minutes} min left"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min left" if hours < 24 else "more than a day left"


_UNITS: Final = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def _unit_of(size_b: float) -> tuple[str, float]:
    # From 999.5 on a figure would be rounded to a thousand, which is one of the next unit.
    return next(((unit, by) for unit, by in _UNITS if size_b >= 0.9995 * by), ("B", 1.0))


def _in_unit(size_b: float, by: float) -> str:
    value = size_b / by
    return f"{value:.1f}" if by == _UNITS[0][1] and value < 99.95 else f"{value:,.0f}"


def count(value: int | None) -> str:
    """A whole number with its thousands apart."""
    return NOTHING if value is None else f"{value:,}"


def counted(value: int, one: str, many: str) -> str:
    """«1 request», «2 requests»."""
    return f"{value:,} {one if value == 1 else many}"


def rate(per_second: float) -> str:
    """Tokens per second: one decimal below ten."""
    return f"{per_second:.1f}" if per_second < 10 else f"{per_second:.0f}"


def duration(dur_us: int | None) -> str:
    """«3.42 s», «1 min 04 s», «2 h 03 min»."""
    if dur_us is None:
        return NOTHING
    seconds = dur_us / 1e6
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def _local(at_us: int) -> QDateTime:
    return QDateTime.fromMSecsSinceEpoch(at_us // 1000)


def clock(at_us: int, *, seconds: bool = False) -> str:
    """Time of day in the user's zone: «14:02», or «14:02:31» with seconds, or as the locale has it."""
    locale = QLocale()
    if not seconds:
        return locale.toString(_local(at_us).time(), QLocale.FormatType.ShortFormat)
    pattern = locale.timeFormat(QLocale.FormatType.ShortFormat)
    if "s" not in pattern:
        pattern = pattern.replace("mm", "mm:ss", 1)
    return locale.toString(_local(at_us).time(), pattern)


def day(at_us: int) -> str:
    """«3 December», in the order the locale writes a day and a month."""
    locale = QLocale()
    pattern = locale.dateFormat(QLocale.FormatType.LongFormat)
    month_first = "MMMM" in pattern and "d" in pattern and pattern.find("MMMM") < pattern.rfind("d")
    return locale.toString(_local(at_us).date(), "MMMM d" if month_first else "d MMMM")


def when(at_us: int, now_us: int) -> str:
    """The time of day for today, the day and the time otherwise."""
    moment = _local(at_us)
    if moment.date() == _local(now_us).date():
        return clock(at_us)
    return f"{day(at_us)}, {clock(at_us)}"


def stamp(at_us: int) -> str:
    """Date and time with seconds, in the user's zone and format."""
    locale = QLocale()
    date = locale.toString(_local(at_us).date(), QLocale.FormatType.ShortFormat)
    if locale.language() == QLocale.Language.C:
        # No locale at all; Qt would write «3 12 2026».
        date = _local(at_us).date().toString("yyyy-MM-dd")
    return f"{date} {clock(at_us, seconds=True)}"


def parse_amount(
    text: str, *, symbol: str = "", decimal_point: str = ".", group: str = ","
) -> Decimal | None:
    """What a person typed as money, exactly; None where it is not an amount, or could be read two ways.

    Point and comma are both taken as the decimal mark, except where the locale's grouping mark stands before
    three digits, as in «1,000», which then is a thousand.
    """
    plain = text.strip().removeprefix(symbol).removesuffix(symbol).strip()
    plain = (
        plain.replace("\u00a0", "").replace("\u202f", "").replace(" ", "").replace("'", "").replace("’", "")
    )
    if group in ".," and _grouped(plain, decimal_point, group):
        plain = plain.replace(group, "")
    if plain.count(".") + plain.count(",") > 1:
        return None
    plain = plain.replace(",", ".")
    if not plain or plain.strip("0123456789.") != "":
        return None
    try:
        return Decimal(plain)
    except InvalidOperation:
        return None


def _grouped(text: str, decimal_point: str, group: str) -> bool:
    whole = text.split(decimal_point, 1)[0]
    head, *rest = whole.split(group)
    return bool(rest) and 1 <= len(head) <= 3 and head != "0" and all(len(part) == 3 for part in rest)


_MORNING_HOUR: Final = 6
_LEAST_REST: Final = timedelta(hours=3)


def until_tomorrow(now: datetime) -> datetime:
    """The next morning at six that is at least three hours away, in `now`'s zone.

    Not midnight: who pauses at eleven in the evening «until tomorrow» is still using the machine at twelve.
    """
    if now.tzinfo is None:
        raise ValueError("until_tomorrow needs a time with a zone")
    morning = now.replace(hour=_MORNING_HOUR, minute=0, second=0, microsecond=0)
    while morning.timestamp() - now.timestamp() < _LEAST_REST.total_seconds():
        morning += timedelta(days=1)
    return morning
