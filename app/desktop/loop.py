"""One loop for Qt and asyncio: the proxy, the engine and the window live in the same thread.

Rule 1: Qt waits, asyncio works (loop_turns.py says how). Rule 2: whoever ends first, the main coroutine, Qt, or a
signal, the end is the same: the main coroutine's `finally` blocks run, then the remaining tasks are cancelled, and
nothing is waited for without a limit but the main coroutine itself.
"""

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from PySide6.QtCore import QCoreApplication

if sys.platform == "win32":
    from app.desktop.loop_windows import QtLoop
else:
    from app.desktop.loop_unix import QtLoop

__all__ = ["QtLoop", "run"]

log = logging.getLogger(__name__)

T = TypeVar("T")

LEAVE_S = 2.0  # for each of: cancelled tasks, asynchronous generators, blocking calls


def run(main: Callable[[], Coroutine[Any, Any, T]], app: QCoreApplication) -> T | None:
    """Run `main()` on a new QtLoop inside `app.exec()`, wind everything down, and return its result.

    Where Qt quits first (`QApplication.quit()`, the last window closed) `main()` is cancelled and given the time it
    needs; the result is None where it ends with that. Ctrl-C cancels it too and then raises KeyboardInterrupt, as
    `asyncio.run` does, unless somebody else handles SIGINT. `app.aboutToQuit` comes once where `main()` ends first
    and twice where Qt quits first: with the quitting and at the end.
    """
    loop = QtLoop(app)
    try:
        return _drive(loop, main)
    finally:
        loop.close()


def _drive(loop: QtLoop, main: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
    quit_first = False
    interrupts = 0
    leaving: BaseException | None = None

    def interrupt() -> None:
        nonlocal interrupts
        interrupts += 1
        task.cancel()

    task = loop.create_task(_main_then_wind_down(main), name="main")
    task.add_done_callback(lambda _: loop.stop())
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        loop.add_signal_handler(signal.SIGINT, interrupt)  # closing the loop gives it back
    while not task.done():
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as exc:
            leaving = exc
        # Once: a second app.quit(), by main's own `finally` say, does not disturb its settling.
        if not task.done() and not quit_first:
            quit_first = True
            task.cancel()
    if leaving is not None:
        if not task.cancelled():
            task.exception()  # looked at, or asyncio would report it as forgotten
        raise leaving
    if task.cancelled():
        if interrupts:
            raise KeyboardInterrupt
        if quit_first:
            return None
    return task.result()


async def _main_then_wind_down(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    try:
        return await main()
    finally:
        await _wind_down(asyncio.get_running_loop())


async def _wind_down(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the other tasks, close asynchronous generators, let blocking calls end: each with a limit."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for other in others:
        other.cancel()
    if others:
        ended, stuck = await asyncio.wait(others, timeout=LEAVE_S)
        for other in ended:
            if not other.cancelled() and (error := other.exception()) is not None:
                loop.call_exception_handler(
                    {"message": "A task failed while it was cancelled", "exception": error, "task": other}
                )
        for other in stuck:
            log.warning("%r did not end when cancelled and was left behind.", other)
    try:
        async with asyncio.timeout(LEAVE_S):
            await loop.shutdown_asyncgens()
    except TimeoutError:
        log.warning("Asynchronous generators did not close in time and were left behind.")
    await loop.shutdown_default_executor()
