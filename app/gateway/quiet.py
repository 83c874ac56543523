"""Quiet for what would break a running request: nothing new is taken, and what runs may end first."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from app.basics.signal import Signal
from app.containers.base import ContainerError
from app.presence.blockers import Blocker
from app.presence.rules import PREPARING
from app.proxy.jobs import Jobs

QUIET_S = 900.0
"""How long what runs may take to end before something that needs quiet is given up."""


class RequestsRunning(ContainerError):
    """The engine is not quiet."""


class Quiet:
    """Whether somebody needs it; `changed` is told when that is different."""

    def __init__(self, jobs: Jobs) -> None:
        self.changed: Signal[[]] = Signal()
        self._jobs = jobs
        self._wanted = 0

    def busy(self) -> bool:
        """Whether requests are under way."""
        return len(self._jobs) > 0

    @contextlib.asynccontextmanager
    async def quietly(self) -> AsyncIterator[None]:
        """Take nothing new and wait until what runs has ended. Raises RequestsRunning."""
        self._wanted += 1
        self.changed()
        try:
            if not await self._jobs.wait_idle(QUIET_S):
                raise RequestsRunning(
                    "Requests have been running all the time. Try again when they have ended."
                )
            yield
        finally:
            self._wanted -= 1
            self.changed()

    def rule(self, _: int) -> Blocker | None:
        """What stands in the way while somebody needs quiet. The models must stay: they are what is waited for."""
        return PREPARING if self._wanted else None
