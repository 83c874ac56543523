"""What a card's own readings would have been billed, against the external meter beside it: the RTX 3090's recording.

The recording has no energy counter; for that column an H200's loads stand, with the counter over each whole load with
its edges as the truth (see tests/power/test_h200_pulses.py).
"""

from __future__ import annotations

import time

from app.power import recordings
from app.power.accounts import EnergyBook, StaticWatts
from app.power.curves import PowerSpan
from app.power.replay import replay
from tests.power.traces import BEGAN_S, ENDED_S, readings_csv, requests_csv, truth_csv

WATTS = StaticWatts(15, 54, 0, 0)
LENGTHS_S = (1.0, ENDED_S - BEGAN_S)


def measure() -> dict[str, float]:
    """The largest error of each column and length, at the recording's own rate and at 10 Hz; and a reading's cost."""
    truth = recordings.truth(truth_csv(), "truth")
    seen: dict[str, float] = {}
    for rate, every_s, phases in (("as recorded", 0.007, 1), ("at 10 Hz", 0.1, 10)):
        for source in ("instant", "average"):
            for seconds in LENGTHS_S:
                errors = []
                for phase in range(phases):
                    readings = recordings.readings(readings_csv(every_s, phase * 0.01), "readings")
                    requests = recordings.requests(requests_csv(seconds), "requests")
                    (done,) = replay(readings, requests, truth, source=source, watts=WATTS).requests
                    errors.append(done.error or 0.0)
                seen[f"{source}, {seconds:.1f} s, {rate}"] = max(errors, key=abs) * 100
    return seen


def reading_us() -> float:
    """The book's own time for one reading with its counter, while a request runs."""
    book = EnergyBook(WATTS, False, 4, source="nvml")
    book.open("request", 0)
    count, begun = 20_000, time.process_time()
    for number in range(1, count + 1):
        book.reading(number * 100_000, 200.0 + number % 3, number * 20_000_000, 20.0, span=PowerSpan.UPDATE)
    return (time.process_time() - begun) / count * 1e6
