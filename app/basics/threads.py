"""What blocks, away from the loop, with a deadline: each call in a daemon thread of its own, or all on one in order.

Rule 1: daemon threads. An executor of the standard library would not do: Python joins its threads at exit, and a hung
Docker, disk or keyring would keep the program alive. Rule 2: whoever stops waiting leaves the thread to itself; what
it still returns is dropped. Rule 3: the loop does not start threads itself: that waits until the kernel has let the new
one run, which a busy machine puts off (measured: up to 0.2 s with two processors and a load of five).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_Launch = tuple[threading.Thread, Callable[[RuntimeError], None]]
_to_launch: SimpleQueue[_Launch] = SimpleQueue()
_launcher: threading.Thread | None = None


def launch(work: Callable[[], None], name: str, not_begun: Callable[[RuntimeError], None]) -> None:
    """Run `work` in a daemon thread of its own, soon. `not_begun` is called in another one where there can be none."""
    global _launcher
    _to_launch.put((threading.Thread(target=work, name=name, daemon=True), not_begun))
    if _launcher is None:
        _launcher = threading.Thread(target=_launch_all, name="thread-launcher", daemon=True)
        _launcher.start()


async def in_thread(work: Callable[[], T], deadline_s: float | None, *, name: str = "blocking") -> T:
    """The result of `work`, run in a daemon thread called `name`. Raises what it raises, TimeoutError after
    `deadline_s`, and RuntimeError where the system gives out no more threads."""
    call = _Call(work)
    launch(call.run, name, call.failed)
    async with asyncio.timeout(deadline_s):
        return await call.outcome


class Aside:
    """One daemon thread for work in the order in which it was asked for, started by the first of it. Use it on one
    loop, and `close` it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._began = False

    async def run(self, work: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """What `work` returns or raises. Raises TimeoutError; the work itself goes on then, or when cancelled."""
        call = _Call(work)
        if not self._began:
            self._began = True
            launch(self._serve, self._name, self._no_thread)
        self._calls.put(call)
        async with asyncio.timeout(timeout_s):
            return await call.outcome

    def close(self) -> None:
        """Let the thread end after what it has to do."""
        self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
            del call  # nothing of a call is kept until the next one

    def _no_thread(self, error: RuntimeError) -> None:
        self._began = False
        while not self._calls.empty():
            call = self._calls.get()
            if call is not None:
                call.failed(error)


class _Call(Generic[T]):
    """One piece of work and the future of its outcome. Make it on the loop."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[T] = self._loop.create_future()

    def run(self) -> None:
        """Do it, in whatever thread this is."""
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001  the caller gets it, whatever it is
            self.failed(error)
        else:
            self._tell(lambda: self.outcome.set_result(result))

    def failed(self, error: BaseException) -> None:
        """It raised `error`, or could not begin."""
        self._tell(lambda: self.outcome.set_exception(error))

    def _tell(self, settle: Callable[[], None]) -> None:
        # The loop may have ended while the thread was stuck; then nobody waits any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(lambda: None if self.outcome.done() else settle())


def _launch_all() -> None:
    while True:
        thread, not_begun = _to_launch.get()
        try:
            thread.start()
        except RuntimeError as error:  # the system gives out no more of them
            not_begun(error)
        del thread, not_begun  # nothing of a call is kept until the next one
