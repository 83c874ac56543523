"""Work that goes on beside its caller.

Rule: none is lost: each is held until it ends, what it raised is looked at, and all can be called off at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from app.containers.base import ContainerError

_CALLED_OFF_S = 5.0

log = logging.getLogger(__name__)


class Tasks:
    """Tasks of one owner, on the running loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin `work`. A ContainerError of it has been told already, in its owner's state."""
        task = asyncio.get_running_loop().create_task(work, name="engine-work")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def cancel(self) -> None:
        """Call every one off, and wait for their ends, but not for ever."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CALLED_OFF_S)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ContainerError):
            log.error("Work on the engine's container failed", exc_info=error)
