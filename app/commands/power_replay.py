"""`power replay`: what recorded readings of a card would have been billed, and how far that is from the truth.

Rule: it needs no gateway and no GPU; the watts of the settings speak only where the readings do not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from app.commands.common import CommandError
from app.commands.tables import TableColumn, show
from app.power import recordings
from app.power.accounts import StaticWatts
from app.power.replay import Replay, ReplayedRequest, replay
from app.settings.parameters import Settings

R = TypeVar("R")

_COLUMNS = (
    TableColumn("START", right=True),
    TableColumn("END", right=True),
    TableColumn("JOULES", right=True),
    TableColumn("95 % BETWEEN", right=True),
    TableColumn("PER TOKEN", right=True),
    TableColumn("TRUTH", right=True),
    TableColumn("ERROR", right=True),
)
_MOST_B = 256 * 2**20


def power_replay(options: argparse.Namespace) -> int:
    """`mortdecai-gateway power replay READINGS.csv --requests MARKS.csv [--truth TRUTH.csv] [--source …] [--json]`."""
    readings = _read(options.readings, recordings.readings)
    requests = _read(options.requests, recordings.requests)
    truth = None if options.truth is None else _read(options.truth, recordings.truth)
    defaults = Settings()
    watts = StaticWatts(defaults.gpu_idle_watts, defaults.gpu_load_watts, 0, 0)
    try:
        done = replay(readings, requests, truth, source=options.source, watts=watts)
    except recordings.RecordingError as error:
        raise CommandError(str(error)) from None
    if options.json:
        print(json.dumps(replay_json(done)))
        return 0
    print(f"By {_WORDS[done.source]}; idle is {done.idle_w:.1f} W, and all joules are above that.")
    show(_COLUMNS, map(_row, done.requests))
    if not all(request.measured for request in done.requests):
        print("Where the readings say nothing, the watts of the settings were taken.")
    return 0


_WORDS = {
    "card": "all that the card said, as it would be metered",
    "counter": "its energy counter alone",
    "instant": "its instant power alone",
    "average": "its average power alone",
}


def replay_json(done: Replay) -> dict[str, object]:
    """The object that `--json` prints: numbers as they came out, null where nothing is known."""
    names = ("start_s", "end_s", "joules", "low", "high", "truth_j", "error")
    requests = [{name: getattr(request, name) for name in names} for request in done.requests]
    return {"source": done.source, "idle_w": done.idle_w, "requests": requests}


def _row(request: ReplayedRequest) -> tuple[object, ...]:
    per_token = f"{request.joules / request.tokens:.3g} J" if request.tokens else None
    return (
        f"{request.start_s:.3f} s",
        f"{request.end_s:.3f} s",
        f"{request.joules:.2f}",
        f"{request.low:.2f} to {request.high:.2f}",
        per_token,
        None if request.truth_j is None else f"{request.truth_j:.2f}",
        None if request.error is None else f"{request.error * 100:+.1f} %",
    )


def _read(path: str, parse: Callable[[Iterable[str], str], R]) -> R:
    file = Path(path)
    try:
        if file.stat().st_size > _MOST_B:
            raise CommandError(f"{path} is larger than {_MOST_B // 2**20} MB: cut it into parts.")
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise CommandError(f"{path} is no text in UTF-8, and so no CSV file.") from None
    try:
        return parse(lines, path)
    except recordings.RecordingError as error:
        raise CommandError(str(error)) from None
