"""Keeps an eye on the daemon while the engine should run: its events, its going and its coming back.

Rule 1: an event is a hint to look, never a fact; by the time it is read the container may run again. Rule 2: a daemon
that goes away is waited for, however long that takes, at a pace that an idle machine does not notice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from app.containers.base import ContainerError, DaemonUnreachable, Event
from app.containers.docker import Docker

_AGAIN_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
_ENDINGS = frozenset({"die", "oom", "kill", "stop", "destroy", "pause"})

log = logging.getLogger(__name__)


class Watch:
    """Follows one container, by name. Make it inside the running loop; it goes on until `stop`.

    `find` gives the daemon and raises ContainerError; `look` is called when the container may have ended; `back` when a
    daemon is there again; `gone` when it went away; `reloaded` when it has read its configuration again. `back` raises
    ContainerError where the engine could not be brought up.
    """

    def __init__(
        self,
        container: str,
        *,
        find: Callable[[], Awaitable[Docker]],
        look: Callable[[], None],
        back: Callable[[], Awaitable[None]],
        gone: Callable[[DaemonUnreachable], Awaitable[None]],
        reloaded: Callable[[], object],
        away: DaemonUnreachable | None = None,
    ) -> None:
        self._container = container
        self._find = find
        self._look = look
        self._back = back
        self._gone = gone
        self._reloaded = reloaded
        self.away = away is not None
        """The daemon is being waited for."""
        self._task = asyncio.get_running_loop().create_task(self._follow(away), name="engine-container")

    def stop(self) -> None:
        """Look no more."""
        self._task.cancel()

    async def stopped(self, limit_s: float) -> None:
        """Wait until it has ended, at most `limit_s`."""
        await asyncio.wait([self._task], timeout=limit_s)

    async def _follow(self, away: DaemonUnreachable | None) -> None:
        while True:
            if away is None:
                try:
                    await self._events(await self._find())
                except DaemonUnreachable as error:
                    away = error
                except ContainerError as error:
                    away = DaemonUnreachable(str(error), error.detail)
                else:
                    away = DaemonUnreachable(
                        "Docker has stopped. Start it; the engine then starts by itself."
                    )
            self.away = True
            await self._gone(away)
            await self._return()
            self.away, away = False, None

    async def _events(self, docker: Docker) -> None:
        async for event in docker.events():
            if event.kind == "daemon" and event.action == "reload":
                self._reloaded()
            elif event.kind == "daemon" and event.action == "connected":
                # From here on nothing is missed; what happened before is seen by looking.
                self._look()
            elif self._is_ours(event) and event.action in _ENDINGS:
                self._look()

    def _is_ours(self, event: Event) -> bool:
        return event.kind == "container" and event.name == self._container

    async def _return(self) -> None:
        """Until a daemon answers and the engine has been brought up there, or not for the daemon's fault."""
        tries = 0
        while True:
            await asyncio.sleep(_AGAIN_S[min(tries, len(_AGAIN_S) - 1)])
            tries += 1
            try:
                await self._find()
                await self._back()
            except DaemonUnreachable:
                continue
            except ContainerError as error:
                log.warning("The engine could not be brought up again: %s", error)
            return
