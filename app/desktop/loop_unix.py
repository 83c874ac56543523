"""The loop on Linux and macOS: asyncio's own selector loop, whose selector Qt watches as one file.

One rule: the selector is asked, never waited for. Waiting is Qt's: an epoll or kqueue descriptor is itself readable
while any file registered in it is ready, so one QSocketNotifier stands for all of them. Signals and other threads
come in through asyncio's self-pipe, which is one of those files.
"""

import asyncio
import selectors
import sys

from PySide6.QtCore import QCoreApplication, QSocketNotifier

from app.desktop.loop_turns import QtTurns, in_use

assert sys.platform != "win32"

BUSY_S = 0.01

_Event = tuple[selectors.SelectorKey, int]


class QtLoop(QtTurns, asyncio.SelectorEventLoop):
    """An asyncio event loop that runs inside `app.exec()`. To be created and run in Qt's main thread."""

    __slots__ = ("_notifier",)  # see QtTurns

    def __init__(self, app: QCoreApplication) -> None:
        self._selector = selectors.DefaultSelector()
        super().__init__(app, self._selector)
        self._notifier = QSocketNotifier(self._selector.fileno(), QSocketNotifier.Type.Read)
        self._notifier.setEnabled(False)
        self._notifier.activated.connect(self._turn)

    def _watch(self, on: bool) -> None:
        self._notifier.setEnabled(on)

    def _poll(self) -> None:
        events = self._selector.select(0)
        if events and self._depth > 1:
            events = self._without_busy(events)
        self._process_events(events)  # type: ignore[attr-defined]  # asyncio's own, not in the stubs

    def _without_busy(self, events: list[_Event]) -> list[_Event]:
        """Leave out files whose callback is up the stack, waiting for a nested Qt loop: it is not entered twice."""
        free = [
            event
            for event in events
            if not any(handle and in_use(handle._context) for handle in event[0].data)
        ]
        if len(free) < len(events) and self._notifier.isEnabled():
            self._watch(False)  # it would fire without a pause: the file stays ready
            self.call_later(BUSY_S, self._watch, True)
        return free
