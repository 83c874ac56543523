"""A virtual screen with a window manager and a panel that has a tray."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence

PROGRAMS = {
    "Xvfb": "xvfb",
    "openbox": "openbox",
    "tint2": "tint2",
    "xdotool": "xdotool",
    "xwininfo": "x11-utils",
}
"""What is needed, with the Debian packages it comes in."""

# The panel embeds the icon as a small square child window of ours.
ICON = re.compile(r'"Mortdecai Gateway": \(.* (\d\d)x(\d\d)\+-?\d+\+-?\d+ +\+(\d+)\+(\d+)')

WAIT_S = 15.0


def missing() -> list[str]:
    """The Debian packages that are not there."""
    return [package for program, package in PROGRAMS.items() if shutil.which(program) is None]


@contextlib.contextmanager
def screen_with_panel(size: str = "1280x900x24") -> Iterator[str]:
    """The DISPLAY of a new screen; everything on it ends with the block."""
    if missing():
        raise FileNotFoundError(f"Run: sudo apt-get install {' '.join(missing())}")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", size, "-nolisten", "tcp", "-noreset"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(_running(command, pass_fds=(write,)))
        os.close(write)
        with os.fdopen(read) as pipe:
            display = f":{pipe.readline().strip()}"
        stack.enter_context(_running(["openbox"], display=display))
        stack.enter_context(_running(["tint2"], display=display))
        wait_for(lambda: "tint2" in tree(display), "the panel")
        yield display


@contextlib.contextmanager
def _running(command: Sequence[str], display: str = "", pass_fds: Sequence[int] = ()) -> Iterator[None]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "DISPLAY": display}
    process = subprocess.Popen(command, env=environment, pass_fds=pass_fds, **quiet)  # type: ignore[call-overload]
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tree(display: str) -> str:
    """Every window of the screen, as xwininfo lists them."""
    return _said(["xwininfo", "-root", "-tree"], display)


def click(display: str, x: int, y: int, button: int = 1) -> None:
    """Click somewhere."""
    _said(["xdotool", "mousemove", str(x), str(y), "click", str(button)], display)


def press(display: str, *keys: str) -> None:
    """Press keys, one after the other: `Down`, `ctrl+3`."""
    _said(["xdotool", "key", "--delay", "50", *keys], display)


def type_text(display: str, text: str) -> None:
    """Type into whatever has the keyboard."""
    _said(["xdotool", "type", "--delay", "20", text], display)


def click_icon(display: str, button: int = 1) -> None:
    """Click our icon in the panel, once it has come and the panel has found a place for it."""
    before: tuple[str, ...] = ()

    def settled() -> bool:
        nonlocal before
        time.sleep(0.2)
        icon = ICON.search(tree(display))
        now, before = before, icon.groups() if icon is not None else ()
        return bool(before) and before == now

    wait_for(settled, "the icon")
    width, height, x, y = map(int, before)
    click(display, x + width // 2, y + height // 2, button)


def _said(command: Sequence[str], display: str, more: Mapping[str, str] | None = None) -> str:
    environment = {**os.environ, "DISPLAY": display, **(more or {})}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


def wait_for(condition: object, what: str) -> None:
    """Wait until `condition()` holds; AssertionError naming `what` after a while."""
    assert callable(condition)
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)
