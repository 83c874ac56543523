"""The container's way out to the network, open only while somebody needs it.

Rule 1: the first who needs it opens it, the last closes it, also when they are cancelled or fail. Rule 2: closing that
fails is said in the log and done at the next start; it never hides what its user was told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from app.containers.base import ContainerError

log = logging.getLogger(__name__)


class WayOut:
    """Counts who needs the way out. `connect` and `disconnect` raise ContainerError."""

    def __init__(
        self, connect: Callable[[], Awaitable[None]], disconnect: Callable[[], Awaitable[None]]
    ) -> None:
        self._connect = connect
        self._disconnect = disconnect
        self._users = 0
        self._is_open = False
        self._touched = False
        """It may be open: somebody tried, and failed or was cancelled in the middle."""
        self._turn = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def needed(self) -> bool:
        """Whether somebody needs it now."""
        return self._users > 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """It is open while this is. Raises ContainerError where it cannot be opened."""
        self._users += 1
        try:
            async with self._turn:
                if not self._is_open:
                    self._touched = True
                    await self._connect()
                    self._is_open = True
            yield
        finally:
            self._users -= 1
            if not self._users:
                task = asyncio.get_running_loop().create_task(self._close(), name="way-out")
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
                # Shielded: whoever is cancelled while this runs leaves it running, and it is still closed.
                await asyncio.shield(task)

    async def settle(self, limit_s: float) -> None:
        """Wait for what is being closed, at most `limit_s`."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=limit_s)

    async def _close(self) -> None:
        async with self._turn:
            if self._users or not self._touched:
                return
            self._is_open = self._touched = False
            try:
                await self._disconnect()
            except ContainerError as error:
                log.warning("The container's way out stays open until the next start: %s", error)
