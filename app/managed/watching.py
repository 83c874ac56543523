"""Keeps an eye on the daemon while the engine should run: its events, its going and its coming back.

Rule 1: an event is a hint to look, never a fact; by the time it is read the container may run again. Rule 2: a daemon
that goes away is waited for, however long that takes, at a pace that an idle machine does not notice. Rule 3: at most
one daemon is in use at a time, whoever asks first.
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


class Watch:
    """Follows one container, by name, from `follow` or `await_daemon` until `stop`. Use it on the running loop.

    `find` gives the daemon and raises ContainerError; `look` is called when the container may have ended; `back` when a
    daemon is there again; `gone` when it went away; `reloaded` when it has read its configuration again. `back` raises
    ContainerError where the engine could not be brought up.
    """

    def __init__(
        self,
        container: str,
        *,
        find: Callable[[], Awaitable[Docker]],
        look: Callable[[], object],
        back: Callable[[], Awaitable[None]],
        gone: Callable[[DaemonUnreachable], None],
        reloaded: Callable[[], object],
    ) -> None:
        self._container = container
        self._find = find
        self._look = look
        self._back = back
        self._gone = gone
        self._reloaded = reloaded
        self._away = False
        """The daemon is being waited for."""
        self._task: asyncio.Task[None] | None = None

    def follow(self) -> None:
        """Look from now on; nothing where it looks already."""
        if self._task is None:
            self._begin(None)

    def await_daemon(self, error: DaemonUnreachable) -> None:
        """Ask for a daemon from now on; nothing where it does already. Its events may still go on where one call alone
        was not answered; then nobody would come back to this."""
        if not self._away:
            self.stop()
            self._begin(error)

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
        self._task, self._away = None, False

    def _begin(self, away: DaemonUnreachable | None) -> None:
        self._away = away is not None
        self._task = asyncio.get_running_loop().create_task(self._follow(away), name="engine-container")

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
            self._away = True
            self._gone(away)
            await self._return()
            self._away, away = False, None

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
