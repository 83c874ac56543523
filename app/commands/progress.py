"""Showing a person how far something is.

Rule: on a terminal one line moves; where something else reads along each stage is a line, and a long one says every few
seconds that it still goes on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from app.engine.host import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_PLAIN_EVERY_S = 5.0


@contextmanager
def verifying(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar while records are verified, where it takes a moment; tell what it gives how many of how many are done."""
    began_s, shown = time.monotonic(), Shown()

    def tell(done: int, total: int) -> None:
        if 0 < done < total:
            left_s = (time.monotonic() - began_s) / done * (total - done)
            shown.tell(Progress(what, done, total, seconds_left=left_s, counted="records"))

    try:
        yield tell
    finally:
        shown.end()


class Shown:
    """Progress on `out` (the terminal's standard error); `moving`: it is a terminal."""

    def __init__(self, out: TextIO | None = None, *, moving: bool | None = None) -> None:
        self._out = sys.stderr if out is None else out
        self._moving = self._out.isatty() if moving is None else moving
        self._bar: Bar | None = None
        self._last = ("", -_PLAIN_EVERY_S)

    def tell(self, progress: Progress) -> None:
        """Show how far it is."""
        if self._moving:
            self._move(progress)
            return
        now_s = time.monotonic()
        if progress.what != self._last[0] or now_s - self._last[1] >= _PLAIN_EVERY_S:
            self._last = (progress.what, now_s)
            print(in_words(progress), file=self._out, flush=True)

    def end(self) -> None:
        """The moving line is over."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()

    def _move(self, progress: Progress) -> None:
        if self._bar is None:
            self._bar = _bar(self._out)
            self._bar.add_task("", total=None, said="")
            self._bar.start()
        self._bar.update(
            self._bar.task_ids[0],
            description=progress.what,
            completed=progress.done,
            total=progress.total or None,
            said=figures(progress),
        )
        self._bar.refresh()


def _bar(out: TextIO) -> Bar:
    """Only where it is shown: rich costs a tenth of a second of every command's start."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    return Bar(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[said]}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
        console=Console(file=out, force_terminal=True, highlight=False),
        # Lines come several times a second, so nothing else has to move it; what a command prints is not ours.
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
        expand=True,
    )


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
    said = figures(progress)
    amount = progress.total or progress.done
    return progress.what + ((": " if amount else ", ") + said if said else "")


def figures(progress: Progress) -> str:
    """«1.2 of 4.9 GB (24 %), 48.0 MB/s, 1 min 17 s left», «8192 of 100000 records (8 %), 4 s left»; empty where
    nothing is known."""
    said = []
    if progress.total:
        part = 100 * progress.done // progress.total
        if progress.counted:
            said.append(f"{progress.done} of {progress.total} {progress.counted} ({part} %)")
        else:
            said.append(f"{progress.done / 1e9:.1f} of {progress.total / 1e9:.1f} GB ({part} %)")
    elif progress.done:
        said.append(f"{progress.done / 1e9:.1f} GB")
    if progress.rate_b_per_s:
        said.append(f"{progress.rate_b_per_s / 1e6:.1f} MB/s")
    if progress.seconds_left is not None:
        said.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(said)


def duration(seconds: float) -> str:
    """«17 s», «1 min 17 s», «2 h 5 min»."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
