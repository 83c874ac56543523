"""Coroutines started from slots.

Rule 1: a slot never awaits; it starts a task here, and the task is kept until it ends, because the loop itself
keeps only a weak reference. Rule 2: no exception is lost: it goes to the log, and its sentence to whoever shows
notices. Cancelling is not a fault.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class FaceTasks:
    """The running tasks of one face. `report` is given one sentence for each that failed."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], failing: str) -> asyncio.Task[Any]:
        """Run `work` on the running loop; `failing` opens the sentence should it fail, without a full stop."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(lambda done: self._ended(done, failing))
        return task

    @property
    def count(self) -> int:
        """How many are still running."""
        return len(self._running)

    def cancel(self) -> None:
        """Cancel all that still run."""
        for task in tuple(self._running):
            task.cancel()

    def _ended(self, task: asyncio.Task[Any], failing: str) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("%s", failing, exc_info=error)
            self._report(sentence_of(error, failing))


def sentence_of(error: BaseException, failing: str) -> str:
    """What to tell a person: what failed, then the error's own sentence."""
    said = str(error).strip() or type(error).__name__
    return f"{failing}. {said}" if said.endswith((".", "?")) else f"{failing}: {said}."
