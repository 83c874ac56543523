"""Work that goes on beside its caller.

Rule: none is lost: each is held until it ends, what it raised is looked at, and all can be called off at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from app.containers.base import ContainerError
from app.managed.faults import NotRunning

_CALLED_OFF_S = 5.0

log = logging.getLogger(__name__)

T = TypeVar("T")


class Tasks:
    """Tasks of one owner, on the running loop."""

    def __init__(self) -> None:
        self.ended = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin `work`. A ContainerError of it has been told already, in its owner's state. NotRunning once closed."""
        if self.ended:
            work.close()
            raise NotRunning("The app is closing. Start the engine after the app's next start.")
        task = asyncio.get_running_loop().create_task(work, name="engine-work")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def call_off(self) -> list[asyncio.Task[Any]]:
        """Tell every one to end; those that were told."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        return tasks

    async def close(self) -> None:
        """Call every one off, wait for their ends, but not for ever, and begin no more."""
        self.ended = True
        tasks = self.call_off()
        if tasks:
            await asyncio.wait(tasks, timeout=_CALLED_OFF_S)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ContainerError):
            log.error("Work on the engine's container failed", exc_info=error)


async def outcome_of(task: asyncio.Task[T]) -> T:
    """What `task` gives; whoever waits may go away without ending it. Raises NotRunning where it was called off."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        here = asyncio.current_task()
        if task.cancelled() and not (here and here.cancelling()):
            raise NotRunning(
                "This was called off, because the engine is being stopped. Start it again when it is wanted."
            ) from None
        raise


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives. It is waited for to its end also where whoever waits is cancelled meanwhile, because what it
    asks of a daemon goes on there anyway."""
    task = asyncio.get_running_loop().create_task(work, name="unbroken")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def over(task: asyncio.Task[Any] | None) -> bool:
    """Whether nothing more comes of it: it has ended, was called off, or never was."""
    return task is None or task.done() or task.cancelling() > 0
