"""Recorded readings run through the account book that meters, to see what it would have billed.

Rule 1: the book is the one that meters; here it is only fed, in the order in which things happened, and what it says of
a request is taken at that request's end, before any later reading. Rule 2: joules and truth are both above idle: the
card's own idle for the one, the meter's for the other, each from the time before the first request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from app.power.accounts import ClosedAccount, EnergyBook, StaticWatts
from app.power.curves import PowerSpan
from app.power.recordings import RecordedReading, RecordedRequest, RecordingError, Truth

SOURCES = ("counter", "instant", "average")
BEFORE_S = 3.0
"""So much of the time before the first request says what idle is, and at least"""
LEAST_S = 0.3
"""so much is needed."""

_START, _READING, _END = 0, 1, 2


@dataclass(frozen=True, slots=True)
class ReplayedRequest:
    """One request: what would have been billed above idle, and, where the truth is known, how far off that is."""

    start_s: float
    end_s: float
    joules: float
    low: float
    high: float
    """The ends of its 95 % interval."""
    measured: bool
    """Whether the card told of all of it."""
    tokens: int | None
    truth_j: float | None
    error: float | None
    """As a part of the truth."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What a recording comes to; `source` is the column that was believed, or `card` for all it has."""

    source: str
    idle_w: float
    requests: tuple[ReplayedRequest, ...]


def replay(
    readings: Sequence[RecordedReading],
    requests: Sequence[RecordedRequest],
    truth: Truth | None = None,
    *,
    source: str | None = None,
    watts: StaticWatts,
    parallel: int = 1_000,
    gain_doubt: float | None = None,
) -> Replay:
    """Bill `requests` by `readings`, and hold that against `truth`.

    `source`: of what the card says, believe this column alone. `watts` speak where the readings do not. Every request
    counts as running from its start to its end, unless `parallel` says how many the engine takes at once. Raises
    RecordingError where the recording cannot tell.
    """
    begin_s = min(request.start_s for request in requests)
    idle_w = _idle_w(readings, begin_s, source)
    doubt = {} if gain_doubt is None else {"gain_doubt": gain_doubt}
    book = EnergyBook(watts, False, parallel, source="recording", **doubt)
    closed: dict[int, ClosedAccount] = {}
    events = [(reading.at_us, _READING, index) for index, reading in enumerate(readings)]
    events += [(request.start_us, _START, index) for index, request in enumerate(requests)]
    events += [(request.end_us, _END, index) for index, request in enumerate(requests)]
    for at_us, what, index in sorted(events):
        if what == _START:
            book.open(str(index), at_us)
        elif what == _END:
            closed[index] = book.close(str(index), at_us)
        else:
            _feed(book, readings[index], source, idle_w)
    true_idle_w = None if truth is None else _true_idle_w(truth, begin_s)
    return Replay(
        source or "card",
        idle_w,
        tuple(
            _replayed(request, closed[index], truth, true_idle_w) for index, request in enumerate(requests)
        ),
    )


def _feed(book: EnergyBook, reading: RecordedReading, source: str | None, idle_w: float) -> None:
    power_w, span, energy_uj = reading.instant_w, PowerSpan.UPDATE, reading.energy_uj
    if source == "average" or (source is None and power_w is None):
        power_w, span = reading.average_w, PowerSpan.SECOND
    if source == "counter":
        power_w = None
    elif source is not None:
        energy_uj = None
    book.reading(reading.at_us, power_w, energy_uj, idle_w, span=span)


def _idle_w(readings: Sequence[RecordedReading], begin_s: float, source: str | None) -> float:
    """What the card says that it draws before the first request."""
    before = [one for one in readings if begin_s - BEFORE_S <= one.at_us / 1e6 < begin_s]
    if source == "counter":
        # Between two changes of the counter, so that it does not matter when within its period it was read.
        moved = [
            later
            for earlier, later in pairwise(before)
            if None not in (earlier.energy_uj, later.energy_uj) and later.energy_uj != earlier.energy_uj
        ]
        if len(moved) >= 2 and moved[-1].at_us - moved[0].at_us >= LEAST_S * 1e6:
            counted_uj = (moved[-1].energy_uj or 0) - (moved[0].energy_uj or 0)
            return max(0.0, counted_uj / (moved[-1].at_us - moved[0].at_us))
        powers = []
    elif source == "average":
        powers = [one.average_w for one in before if one.average_w is not None]
    else:
        powers = [one.instant_w for one in before if one.instant_w is not None]
        if source is None and not powers:
            powers = [one.average_w for one in before if one.average_w is not None]
    column = {"counter": "energy_mj", "average": "average_w"}.get(source or "", "instant_w")
    if not powers and not any(_has(one, source) for one in readings):
        raise RecordingError(f"The readings have no column {column}: choose another --source.")
    if not powers or before[-1].at_us - before[0].at_us < LEAST_S * 1e6:
        raise RecordingError(
            f"The readings must begin at least {LEAST_S:g} s before the first request (at {begin_s:g} s), for idle to "
            "be known."
        )
    return max(0.0, median(powers))


def _has(reading: RecordedReading, source: str | None) -> bool:
    if source == "counter":
        return reading.energy_uj is not None
    if source == "average":
        return reading.average_w is not None
    return reading.instant_w is not None or (source is None and reading.average_w is not None)


def _true_idle_w(truth: Truth, begin_s: float) -> float:
    for span_s in (BEFORE_S, 2.0, 1.0, 0.5, LEAST_S):
        if truth.covers(begin_s - span_s, begin_s):
            return truth.joules(begin_s - span_s, begin_s) / span_s
    raise RecordingError(
        f"The truth must begin at least {LEAST_S:g} s before the first request (at {begin_s:g} s), for idle to be "
        "known."
    )


def _replayed(
    request: RecordedRequest, closed: ClosedAccount, truth: Truth | None, true_idle_w: float | None
) -> ReplayedRequest:
    joules, truth_j, error = closed.energy_uj / 1e6, None, None
    if truth is not None and true_idle_w is not None and truth.covers(request.start_s, request.end_s):
        span_s = request.end_s - request.start_s
        truth_j = truth.joules(request.start_s, request.end_s) - true_idle_w * span_s
        error = joules / truth_j - 1 if truth_j > 0 else None
    return ReplayedRequest(
        start_s=request.start_s,
        end_s=request.end_s,
        joules=joules,
        low=closed.low_uj / 1e6,
        high=closed.high_uj / 1e6,
        measured=closed.source == "recording",
        tokens=request.tokens,
        truth_j=truth_j,
        error=error,
    )
