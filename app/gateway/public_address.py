"""The public address as the gateway has it: opened where the settings say so, closed with the gateway.

Rule 1: off until somebody asks for it in so many words. Rule 2: it never keeps the gateway from starting or ending;
what went wrong is in what the faces see.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.containers.base import DaemonUnreachable
from app.settings.parameters import Settings
from app.tunnel.state import TunnelState
from app.tunnel.token import TOKEN_NAME, read_token
from app.tunnel.tunnel import Tunnel
from app.tunnel.words import TunnelError
from app.vault.base import Vault

if TYPE_CHECKING:
    from app.containers.docker import Docker

log = logging.getLogger(__name__)


_OURS = ("public_address", "public_hostname", "tunnel_image")


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
        home: str = "",
        mark: Path,
        vault: Vault,
        settings: Callable[[], Settings],
        configure: Callable[[dict[str, Any]], Awaitable[object]],
        address: str,
        changed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._configure = configure
        self._vault = vault
        self._mark = mark
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        self._swept = False
        """Nothing that an earlier run left open can be there any more."""
        self._tunnel = Tunnel(
            docker,
            profile=profile,
            home=home,
            image=lambda: settings().tunnel_image,
            token=lambda: vault.get(TOKEN_NAME),
            address=lambda: address,
            hostname=lambda: settings().public_hostname,
            on_change=changed,
        )

    @property
    def state(self) -> TunnelState:
        """What faces show."""
        return self._tunnel.state

    def start(self) -> None:
        """The gateway listens: close what a crash left open, and open what the settings ask for."""
        if self._settings().public_address != "off" or self._mark.exists():
            self.follow_settings()

    async def set_mode(self, mode: str) -> None:
        """Open (`quick`, `named`) or close (`off`) it, and keep that for the next start; what came of it is in `state`.

        Raises SettingError.
        """
        await self._configure({"public_address": mode})
        # Also where the settings said so already: asking again is the way out of a failure.
        self.follow_settings()
        await self.settled()

    def settings_changed(self, before: Settings, now: Settings) -> None:
        """Open or close it where what it is made of is different."""
        if any(getattr(before, name) != getattr(now, name) for name in _OURS):
            self.follow_settings()

    def follow_settings(self) -> None:
        """Open or close it as the settings now say, in the background; nothing once it is shut."""
        if self._ended:
            return
        self._task = asyncio.get_running_loop().create_task(self._follow(self._task), name="public-address")

    async def keep_token(self, pasted: str) -> None:
        """Keep a named tunnel's token, or the command that it stands in. Raises TunnelError and VaultUnavailable; the
        text of either is all that a person needs."""
        try:
            await self._vault.set(TOKEN_NAME, read_token(pasted))
        except TunnelError as error:
            raise TunnelError(f"{error} {error.fix}".strip()) from None
        except ValueError:
            raise TunnelError(
                "That is too long for a tunnel's token. Copy it again from Cloudflare."
            ) from None

    async def settled(self) -> None:
        """Wait until it is open, closed, or has failed, also where somebody wants something else meanwhile."""
        waited: asyncio.Task[None] | None = None
        while self._task is not waited and self._task is not None:
            waited = self._task
            await asyncio.wait([waited])

    async def shut(self) -> None:
        """The gateway ends. Never raises."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        # What could not be removed stays marked: the next start sees to it.
        if self._mark.exists() and await self._tunnel.shut():
            self._unmark()

    async def _follow(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            before.cancel()
            await asyncio.wait([before])
        mode = self._settings().public_address
        try:
            if not self._mark.exists():
                self._swept = True
            elif not self._swept:
                self._swept = await self._tunnel.sweep()
            if mode == "off":
                await self._tunnel.close()
                if self._swept:
                    self._unmark()
            else:
                self._mark.touch(mode=0o600)
                await self._tunnel.open(mode)
        except TunnelError as error:
            log.warning("The public address: %s %s", error, error.fix)
        except OSError as error:
            # Without the mark a crash would leave it open unseen.
            log.error(
                "The public address was not opened, because %s cannot be written: %s", self._mark, error
            )

    def _unmark(self) -> None:
        with contextlib.suppress(OSError):
            self._mark.unlink(missing_ok=True)
