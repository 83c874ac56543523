"""The desktop around a gateway: one QApplication, one loop, a tray and a window made on first use.

Rule 1: the gateway is handed in; this file knows how to show it and nothing of how it is made. Rule 2: quitting goes
one way, through the event that ends the run, so that the gateway settles before Qt ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from app.desktop import features  # noqa: F401  # isort: skip  # first, so that what follows costs less
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QMessageBox

from app.desktop.clipboard import forget_secret
from app.desktop.icons import app_icon
from app.desktop.loop import run
from app.desktop.tray import Tray
from app.desktop.wording import APP_NAME
from app.face import GatewayFace

Ready = Callable[[Any, asyncio.Event], Awaitable[None]]


def run_desktop(
    make: Callable[[Ready], Coroutine[Any, Any, int]], *, after: Ready, told: tuple[type[Exception], ...]
) -> int:
    """Run `make(ready)` on the Qt loop, with the faces around the gateway it is ready with; the exit status.

    An error of the kinds in `told` is a sentence for a person. It is raised as any other, and where nobody sees a
    terminal it is shown first.
    """
    running = QApplication.instance()
    app = running if isinstance(running, QApplication) else QApplication(sys.argv[:1])
    app.setApplicationName("mortdecai-gateway")
    app.setApplicationDisplayName(APP_NAME)
    QGuiApplication.setDesktopFileName("mortdecai-gateway")
    app.setQuitOnLastWindowClosed(False)
    faces: list[Desktop] = []

    async def ready(gateway: GatewayFace, stop: asyncio.Event) -> None:
        faces.append(Desktop(gateway, stop))
        await after(gateway, stop)

    async def whole() -> int:
        try:
            return await make(ready)
        except told as error:
            if _nobody_sees_a_terminal():
                await _tell(str(error))
            raise
        finally:
            for face in faces:
                face.close()

    status = run(whole, app)
    return 0 if status is None else status


def _nobody_sees_a_terminal() -> bool:
    if QGuiApplication.platformName() in ("offscreen", "minimal"):
        return False
    return sys.stderr is None or not sys.stderr.isatty()


async def _tell(sentence: str) -> None:
    """Show why the gateway did not start, until that was read."""
    read = asyncio.Event()
    box = QMessageBox(QMessageBox.Icon.Warning, APP_NAME, "The gateway did not start.")
    box.setWindowIcon(app_icon())
    box.setInformativeText(sentence)
    box.finished.connect(lambda _: read.set())
    box.open()
    await read.wait()


class Desktop:
    """The tray, and the window from its first opening on."""

    def __init__(self, face: GatewayFace, stop: asyncio.Event) -> None:
        self._face = face
        self._stop = stop
        self._window: Any = None
        self._tray = Tray(face.at("tray"), self.open_window, stop.set, self._ask_public)
        if Tray.is_available():
            self._tray.show()
        else:
            self.open_window()

    def open_window(self) -> None:
        """Show the window; pyqtgraph and the pages are loaded with the first time."""
        if self._window is None:
            from app.desktop.window import MainWindow

            # For every window from now on; before there is one, drawing its ten sizes would only cost time and memory.
            QGuiApplication.setWindowIcon(app_icon())
            self._window = MainWindow(self._face.at("window"), self._stop.set)
        self._window.open()

    def _ask_public(self) -> None:
        self.open_window()
        self._window.ask_public()

    def close(self) -> None:
        """Take the faces away; the gateway has stopped."""
        forget_secret()
        self._tray.close()
        if self._window is not None:
            self._window.end()
