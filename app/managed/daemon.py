"""The daemon in use: found when it is first needed, and found anew after it was lost.

Rule: at most one at a time, whoever asks first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.containers.docker import Docker


class DaemonInUse:
    """`find` gives a daemon and raises ContainerError."""

    def __init__(self, find: Callable[[], Awaitable[Docker]]) -> None:
        self._find = find
        self._finding = asyncio.Lock()
        self.found: Docker | None = None

    async def get(self) -> Docker:
        """The daemon. Raises ContainerError where none answers."""
        async with self._finding:
            if self.found is None:
                self.found = await self._find()
            return self.found

    def lose(self) -> None:
        """It is of no use any more. It is not hung up: work that still waits for it hears of its end from itself."""
        self.found = None

    async def close(self) -> None:
        """Hang up."""
        docker, self.found = self.found, None
        if docker is not None:
            await docker.close()
