"""Recordings of a card's readings, of requests beside them, and of what an external meter saw: three kinds of CSV.

Readings: `t_s,instant_w,average_w[,energy_mj]`, or fewer of these columns; an empty field is a reading that failed.
Requests: `t_s`, start and end alternating, or `start_s,end_s[,tokens]`. Truth: `t_s,power_w`, each power holding until
the next. Rule: what cannot be read is one sentence that names the file, the line and what is wrong with it.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise


class RecordingError(Exception):
    """A recording that is not one; `str()` is a sentence for people."""


@dataclass(frozen=True, slots=True)
class RecordedReading:
    """What a card said at one moment; None where it said nothing."""

    at_us: int
    instant_w: float | None
    average_w: float | None
    energy_uj: int | None


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """From when to when a request ran; `tokens` where the recording says how many it made."""

    start_s: float
    end_s: float
    tokens: int | None

    @property
    def start_us(self) -> int:
        """Microseconds."""
        return round(self.start_s * 1e6)

    @property
    def end_us(self) -> int:
        """Microseconds."""
        return round(self.end_s * 1e6)


class Truth:
    """What an external meter saw: `times_s` rising, each of `powers_w` holding until the next time."""

    def __init__(self, times_s: list[float], powers_w: list[float]) -> None:
        self._times_s = times_s
        self._powers_w = powers_w
        self._sums_j = [0.0]
        for power_w, (begin_s, end_s) in zip(powers_w, pairwise(times_s), strict=False):
            self._sums_j.append(self._sums_j[-1] + power_w * (end_s - begin_s))

    def covers(self, begin_s: float, end_s: float) -> bool:
        """Whether it tells of all this time."""
        return self._times_s[0] <= begin_s and end_s <= self._times_s[-1]

    def joules(self, begin_s: float, end_s: float) -> float:
        """What was drawn in between."""
        return self._until(end_s) - self._until(begin_s)

    def _until(self, at_s: float) -> float:
        index = max(0, bisect_right(self._times_s, at_s) - 1)
        return self._sums_j[index] + self._powers_w[index] * (at_s - self._times_s[index])


def readings(lines: Iterable[str], name: str) -> list[RecordedReading]:
    """The readings in a CSV file called `name`, in the order of their times. Raises RecordingError."""
    found: list[RecordedReading] = []
    for place, row in _rows(lines, name, ("t_s",), ("instant_w", "average_w", "energy_mj")):
        at_s, energy_mj = _present(row["t_s"], place, "t_s"), row["energy_mj"]
        at_us = round(at_s * 1e6)
        if found and at_us <= found[-1].at_us:
            raise RecordingError(f"{place}: t_s must rise from line to line, and {at_s:g} does not.")
        energy_uj = None if energy_mj is None else round(energy_mj * 1000)
        found.append(RecordedReading(at_us, row["instant_w"], row["average_w"], energy_uj))
    if len(found) < 2:
        raise RecordingError(f"{name} holds no readings: at least two lines after its header are needed.")
    return found


def requests(lines: Iterable[str], name: str) -> list[RecordedRequest]:
    """The requests in a CSV file called `name`. A last start without an end is passed over. Raises RecordingError."""
    text = list(lines)
    header = [field.strip() for field in text[0].split(",")] if text else []
    found: list[RecordedRequest] = []
    if "t_s" in header:
        marks = [_present(row["t_s"], place, "t_s") for place, row in _rows(text, name, ("t_s",), ())]
        found = [RecordedRequest(*span, None) for span in zip(marks[::2], marks[1::2], strict=False)]
    else:
        for place, row in _rows(text, name, ("start_s", "end_s"), ("tokens",)):
            start_s, end_s = (_present(row[field], place, field) for field in ("start_s", "end_s"))
            tokens = row["tokens"]
            if tokens is not None and (tokens < 0 or tokens != int(tokens)):
                raise RecordingError(f"{place}: tokens must be a whole number of at least 0, not {tokens:g}.")
            found.append(RecordedRequest(start_s, end_s, None if tokens is None else int(tokens)))
    if not found:
        raise RecordingError(f"{name} holds no request: a start and an end are needed at least.")
    for request in found:
        if request.end_us <= request.start_us:
            raise RecordingError(
                f"{name}: a request must end after its start, and {request.start_s:g} to {request.end_s:g} does not."
            )
    return found


def truth(lines: Iterable[str], name: str) -> Truth:
    """The external meter's powers in a CSV file called `name`. Raises RecordingError."""
    times_s: list[float] = []
    powers_w: list[float] = []
    for place, row in _rows(lines, name, ("t_s", "power_w"), ()):
        at_s = _present(row["t_s"], place, "t_s")
        if times_s and at_s <= times_s[-1]:
            raise RecordingError(f"{place}: t_s must rise from line to line, and {at_s:g} does not.")
        times_s.append(at_s)
        powers_w.append(_present(row["power_w"], place, "power_w"))
    if len(times_s) < 2:
        raise RecordingError(f"{name} holds no powers: at least two lines after its header are needed.")
    return Truth(times_s, powers_w)


def _rows(
    lines: Iterable[str], name: str, needed: tuple[str, ...], others: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, float | None]]]:
    """Each line's place and its fields; columns that nobody asked for are passed over."""
    table = csv.reader(lines)
    header = [field.strip().removeprefix("\ufeff") for field in next(table, [])]
    for column in needed:
        if column not in header:
            raise RecordingError(
                f"{name}: its first line must name the columns {', '.join((*needed, *others))}; {column} is missing."
            )
    for row in table:
        place = f"{name}, line {table.line_num}"
        if not any(field.strip() for field in row):
            continue
        if len(row) > len(header):
            raise RecordingError(f"{place} has {len(row)} fields, and the header has {len(header)}.")
        fields = dict(zip(header, row, strict=False))
        yield place, {column: _number(fields.get(column, ""), place, column) for column in (*needed, *others)}


def _number(field: str, place: str, column: str) -> float | None:
    """None where the field is empty, or says itself that there was no figure."""
    field = field.strip()
    if not field or field.lower() in ("nan", "n/a", "[n/a]"):
        return None
    try:
        number = float(field)
    except ValueError:
        number = math.inf
    if not math.isfinite(number):
        raise RecordingError(f"{place}: {column} must be a number, not {field[:40]!r}.")
    return number


def _present(number: float | None, place: str, column: str) -> float:
    if number is None:
        raise RecordingError(f"{place}: {column} is missing.")
    return number
