"""Showing a person how far something is.

Rule: on a terminal one line moves; where something else reads along each stage is a line, and a long one says every few
seconds that it still goes on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from app.engine.host import Progress

_PLAIN_EVERY_S = 5.0


class Shown:
    """Progress on `out` (the terminal's standard error); `moving`: it is a terminal."""

    def __init__(self, out: TextIO | None = None, *, moving: bool | None = None) -> None:
        self._out = sys.stderr if out is None else out
        self._moving = self._out.isatty() if moving is None else moving
        self._width = 0
        self._last = ("", -_PLAIN_EVERY_S)

    def tell(self, progress: Progress) -> None:
        """Show how far it is."""
        text = in_words(progress)
        if self._moving:
            print(f"\r{text.ljust(self._width)}", end="", file=self._out, flush=True)
            self._width = len(text)
            return
        now_s = time.monotonic()
        if progress.what != self._last[0] or now_s - self._last[1] >= _PLAIN_EVERY_S:
            self._last = (progress.what, now_s)
            print(text, file=self._out, flush=True)

    def end(self) -> None:
        """The moving line is over."""
        if self._moving and self._width:
            print(file=self._out, flush=True)
            self._width = 0


def from_line(line: Mapping[str, Any]) -> Progress:
    """The progress in one line of the gateway's (see `proxy.model_admin`)."""
    return Progress(
        what=str(line.get("status", "")),
        done=int(line.get("completed") or 0),
        total=int(line.get("total") or 0),
        rate_b_per_s=float(line.get("bytes_per_second") or 0.0),
        seconds_left=line.get("seconds_left"),
    )


def in_words(progress: Progress) -> str:
    """«Downloading: 1.2 of 4.9 GB (24 %), 48.0 MB/s, 1 min 17 s left»."""
    text = progress.what
    if progress.total:
        part = 100 * progress.done // progress.total
        text += f": {progress.done / 1e9:.1f} of {progress.total / 1e9:.1f} GB ({part} %)"
    elif progress.done:
        text += f": {progress.done / 1e9:.1f} GB"
    if progress.rate_b_per_s:
        text += f", {progress.rate_b_per_s / 1e6:.1f} MB/s"
    if progress.seconds_left is not None:
        text += f", {duration(progress.seconds_left)} left"
    return text


def duration(seconds: float) -> str:
    """«17 s», «1 min 17 s», «2 h 5 min»."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
