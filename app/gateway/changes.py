"""The one signal to the faces: look again. Several changes in one turn of the loop make one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.basics.signal import Signal


class Changes:
    """Call it to say that something changed; `connect` to hear of it, soon and once."""

    def __init__(self) -> None:
        self._heard: Signal[[]] = Signal()
        self._due = False

    def connect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after state, cap or errors changed; returns the un-subscriber."""
        return self._heard.connect(callback)

    def __call__(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._due = False
        self._heard()
