"""The loop on Windows: qasync's proactor loop, with our turns in place of its Qt timer for every callback.

One rule: of qasync only the sockets are used, that is its thread at the completion port, which hands events to Qt's
thread. Callbacks, timers, running, errors and the executor are asyncio's own, as on the other platforms: what
qasync overrides of them is set back here. Nothing in this file needs Windows: the tests run it on Linux, over
qasync's loop there. (That thread asks the port every 10 ms; without it an idle tray would not wake at all.)
"""

import asyncio
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, Qt, QTimer, Signal

from app.desktop.loop_turns import QtTurns, Ts

os.environ["QT_API"] = "pyside6"  # qasync would follow another value, set for another program
import qasync

WAKE_MS = 200

_Base = asyncio.BaseEventLoop
_Handler = Callable[[int, FrameType | None], Any] | int | None


class _Bell(QObject):
    """Rung from any thread, heard in Qt's."""

    rung = Signal()


class QtLoop(QtTurns, qasync.QEventLoop):
    """An asyncio event loop that runs inside `app.exec()`. To be created and run in Qt's main thread."""

    time = _Base.time
    call_later = _Base.call_later
    call_soon_threadsafe = _Base.call_soon_threadsafe
    run_until_complete = _Base.run_until_complete
    is_running = _Base.is_running
    set_default_executor = _Base.set_default_executor  # type: ignore[assignment]
    set_exception_handler = _Base.set_exception_handler
    default_exception_handler = _Base.default_exception_handler
    call_exception_handler = _Base.call_exception_handler
    # From 3.13 on; the proactor's own would read a self-pipe, for which the bell stands here.
    _run_forever_setup = getattr(_Base, "_run_forever_setup", None)
    _run_forever_cleanup = getattr(_Base, "_run_forever_cleanup", None)

    def __init__(self, app: QCoreApplication) -> None:
        self._bell = _Bell()
        self._bell.rung.connect(self._kick, Qt.ConnectionType.QueuedConnection)
        self._wake_timer = QTimer()
        self._wake_timer.setInterval(WAKE_MS)
        self._wake_timer.timeout.connect(_let_python_run)
        self._replaced: dict[int, _Handler] = {}
        super().__init__(app, app)

    def run_forever(self) -> None:
        """Run until `stop()`, with the thread that waits for the completion port."""
        self._before_run_forever()
        try:
            _Base.run_forever(self)
        finally:
            self._after_run_forever()

    def close(self) -> None:
        """Release everything, and give signals back to those who had them."""
        for sig in tuple(self._replaced):
            self.remove_signal_handler(sig)
        super().close()

    def _write_to_self(self) -> None:
        self._bell.rung.emit()

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """As asyncio's on Unix. Python sees a signal between two instructions, so a timer has it run some."""

        def on_signal(signum: int, frame: FrameType | None) -> None:
            self.call_soon_threadsafe(callback, *args)

        before = signal.signal(sig, on_signal)
        self._replaced.setdefault(sig, before)
        self._wake_timer.start()

    def remove_signal_handler(self, sig: int) -> bool:
        """Give the signal back to its former handler; False where there was none of ours."""
        if sig not in self._replaced:
            return False
        signal.signal(sig, self._replaced.pop(sig))
        if not self._replaced:
            self._wake_timer.stop()
        return True


def _let_python_run() -> None:
    pass
