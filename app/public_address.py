"""The public address as the gateway has it: opened where the settings say so, closed with the gateway.

Rule 1: off until somebody asks for it in so many words. Rule 2: it never keeps the gateway from starting or ending;
what went wrong is in what the faces see.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from app.containers.base import DaemonUnreachable
from app.settings.parameters import Settings
from app.snapshot import PublicPhase, PublicView
from app.tunnel.token import TOKEN_NAME
from app.tunnel.tunnel import OFF, Tunnel
from app.tunnel.words import TunnelError
from app.vault.base import Vault

if TYPE_CHECKING:
    from app.containers.docker import Docker

log = logging.getLogger(__name__)


async def no_docker() -> Docker:
    """For a gateway that is not to look for Docker."""
    raise DaemonUnreachable("This gateway runs without Docker, so it has no public address.")


class PublicAddress:
    """Make it inside the running loop.

    `mark`: a file that is there while a tunnel may be; what a crash left open is found by it at the next start.
    """

    def __init__(
        self,
        docker: Callable[[], Awaitable[Docker]],
        *,
        profile: str,
        mark: Path,
        vault: Vault,
        settings: Callable[[], Settings],
        address: Callable[[], str],
        changed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._mark = mark
        self._task: asyncio.Task[None] | None = None
        self._tunnel = Tunnel(
            docker,
            profile=profile,
            image=lambda: settings().tunnel_image,
            token=lambda: vault.get(TOKEN_NAME),
            address=address,
            hostname=lambda: settings().public_hostname,
            on_change=changed,
        )

    def view(self) -> PublicView:
        """What faces show."""
        state = self._tunnel.state
        return PublicView(PublicPhase(state.phase.value), state.url, state.problem, state.fix)

    def start(self) -> None:
        """The gateway listens: close what a crash left open, and open what the settings ask for."""
        if self._settings().public_address != "off" or self._mark.exists():
            self.follow_settings()

    def follow_settings(self) -> None:
        """Open or close it as the settings now say, in the background."""
        self._task = asyncio.get_running_loop().create_task(self._follow(self._task), name="public-address")

    async def settled(self) -> None:
        """Wait until it is open, closed, or has failed."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def shut(self) -> None:
        """The gateway ends. Never raises."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._mark.exists():
            await self._tunnel.shut()
            self._mark.unlink(missing_ok=True)

    async def _follow(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            before.cancel()
            await asyncio.wait([before])
        mode = self._settings().public_address
        try:
            if self._mark.exists() and self._tunnel.state == OFF:
                await self._tunnel.sweep()
            if mode == "off":
                await self._tunnel.close()
                self._mark.unlink(missing_ok=True)
            else:
                self._mark.touch(mode=0o600)
                await self._tunnel.open(mode)
        except TunnelError as error:
            log.warning("The public address: %s %s", error, error.fix)
