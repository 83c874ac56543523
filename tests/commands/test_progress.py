"""How far something is: one line that moves in a window, a line a stage elsewhere."""

from __future__ import annotations

import io
import re

import pytest

from app.commands import progress as progress_module
from app.commands.progress import Shown, in_words, verifying
from app.engine.host import Progress

HALF = Progress("Downloading", done=2_400_000_000, total=4_900_000_000, rate_b_per_s=48e6, seconds_left=52.0)


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (HALF, "Downloading: 2.4 of 4.9 GB (48 %), 48.0 MB/s, 52 s left"),
        (Progress("Downloading", 2_400_000_000, 0), "Downloading: 2.4 GB"),
        (Progress("Verifying", 0, 0), "Verifying"),
        (
            Progress("Verifying", 8192, 100_000, seconds_left=4.2, counted="records"),
            "Verifying: 8192 of 100000 records (8 %), 4 s left",
        ),
        (Progress("Trying it out", 0, 0, seconds_left=125.0), "Trying it out, 2 min 5 s left"),
    ],
)
def test_progress_in_words(progress: Progress, words: str) -> None:
    assert in_words(progress) == words


def test_elsewhere_each_stage_is_one_plain_line() -> None:
    out = io.StringIO()
    shown = Shown(out)
    for progress in (HALF, HALF, Progress("Verifying", 0, 0)):
        shown.tell(progress)
    shown.end()
    assert out.getvalue().splitlines() == [in_words(HALF), "Verifying"]


def test_in_a_window_a_bar_moves_and_a_shorter_line_leaves_nothing_of_a_longer_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("TERM", "xterm")
    out = io.StringIO()
    shown = Shown(out, moving=True)
    shown.tell(HALF)
    shown.tell(Progress("Verifying [it]", 0, 0))
    shown.end()
    written = out.getvalue()
    assert "2.4 of 4.9 GB (48 %)" in written
    assert "Verifying [it]" in written, "what an engine says is no markup"
    assert "\x1b[2K" in written, "the line is erased before it is written again"
    assert written.count("\x1b[?25h") == 1, "the cursor is there again"
    lines = [line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).split("\r") if line.strip()]
    assert all(len(line.rstrip("\n")) <= 90 for line in lines)


def test_ending_what_never_began_says_nothing() -> None:
    out = io.StringIO()
    Shown(out, moving=True).end()
    assert out.getvalue() == ""


def test_verifying_shows_how_far_it_is_and_ends_the_line_whatever_comes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "_PLAIN_EVERY_S", 0.0)

    def half_way() -> None:
        with verifying("Verifying the copy") as tell:
            tell(512, 2048)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_way()
    with verifying("Verifying the copy") as tell:
        tell(8, 8)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Verifying the copy: 512 of 2048 records (25 %), ")
    assert line.endswith(" left")
