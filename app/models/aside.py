"""Work that would block the loop, done on one daemon thread, in the order in which it was asked for.

Rule: whoever hangs in here (a disk that went to sleep, a name server that does not answer) keeps neither the loop nor
the end of the process waiting; an executor of the standard library would be joined at exit.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")
_Work = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class Aside:
    """One such thread, started by the first piece of work. Use it on one loop, and `close` it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, call: Callable[[], _T], *, timeout_s: float | None = None) -> _T:
        """What `call` returns or raises. Raises TimeoutError; the call itself goes on then, or when cancelled."""
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, args=(loop,), name=self._name, daemon=True)
            self._thread.start()
        future: asyncio.Future[_T] = loop.create_future()
        self._work.put((call, future))
        async with asyncio.timeout(timeout_s):
            return await future

    def close(self) -> None:
        """Let the thread end after what it has to do."""
        self._work.put(None)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while (work := self._work.get()) is not None:
            call, future = work
            result: Any = None
            error: BaseException | None = None
            try:
                result = call()
            except BaseException as raised:  # noqa: BLE001 - it is handed to whoever waits
                error = raised
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:
                # The loop is closed: nobody waits any more.
                return


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
