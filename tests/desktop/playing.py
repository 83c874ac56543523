"""Stories that play on the Qt loop, and palettes of real desktops.

A story is an async function; `play` runs it as the application's main coroutine. `until` waits for a condition
and fails when it does not come true, instead of sleeping for luck.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

from app.desktop.loop import run
from app.desktop.tasks import FaceTasks

OFFSCREEN_NOTE = "This plugin does not support (propagateSizeHints|raise)"
"""What Qt's offscreen platform says when a window is shown and when it is raised."""


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a story to its end."""
    app = QApplication.instance()
    assert isinstance(app, QApplication)
    app.setQuitOnLastWindowClosed(False)  # as the program does: the last window is not the end
    run(story, app)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Let the loop turn until the condition holds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, "it did not come true in time"
        await asyncio.sleep(0.002)


async def settled(tasks: FaceTasks) -> None:
    """Wait until nothing that a face started is running."""
    await until(lambda: tasks.count == 0)


def settle() -> None:
    """Let layouts inside layouts come to rest: each passes its change on to the one around it in a turn of its own."""
    for _ in range(6):
        QApplication.processEvents()


def running_timers(root: QObject) -> list[QTimer]:
    """Timers below an object that would wake the machine."""
    return [timer for timer in root.findChildren(QTimer) if timer.isActive()]


PALETTES = {
    # window, text, base, alternate base
    "Fusion, light": ("#efefef", "#000000", "#ffffff", "#f7f7f7"),
    "Fusion, dark": ("#323232", "#f0f0f0", "#242424", "#2b2b2b"),
    "Breeze": ("#eff0f1", "#232629", "#fcfcfc", "#f7f7f7"),
    "Breeze Dark": ("#31363b", "#eff0f1", "#232629", "#31363b"),
    "Windows 11, light": ("#f3f3f3", "#1b1b1b", "#ffffff", "#f9f9f9"),
    "Windows 11, dark": ("#202020", "#ffffff", "#2d2d2d", "#333333"),
    "macOS, light": ("#ececec", "#262626", "#ffffff", "#f4f5f5"),
    "macOS, dark": ("#323232", "#dfdfdf", "#1e1e1e", "#292929"),
    "High contrast, black": ("#000000", "#ffffff", "#000000", "#000000"),
}


def palette(name: str) -> QPalette:
    """The palette of a desktop."""
    window, text, base, alternate = map(QColor, PALETTES[name])
    result = QPalette(window)
    roles = QPalette.ColorRole
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        result.setColor(role, text)
    result.setColor(roles.Window, window)
    result.setColor(roles.Base, base)
    result.setColor(roles.AlternateBase, alternate)
    return result


@contextmanager
def desktop_colours(name: str) -> Iterator[None]:
    """The application under another palette, as when a person switches between light and dark."""
    before = QApplication.palette()
    QApplication.setPalette(palette(name))
    QApplication.processEvents()
    try:
        yield
    finally:
        QApplication.setPalette(before)
        QApplication.processEvents()
