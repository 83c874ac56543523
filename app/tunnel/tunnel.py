"""The public address: one cloudflared in a container of ours, for as long as it is wanted.

Rule 1: never unless asked for, and gone when the gateway goes; what a crash left running is swept away at the next
start. Rule 2: once it is open it is asked from outside, and closed at once where the engine answers instead of the
gateway. Rule 3: whether it is started again is decided in `containers.life`, as for the engine; where it is not, it has
failed, and says why with the end of its log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from app.containers.base import ContainerError, DaemonUnreachable, PullProgress
from app.containers.life import Happening, Life, LifeWish
from app.tunnel.container import labels, spec_of
from app.tunnel.exposure import Reach, check_public
from app.tunnel.log import LogReader, Trouble
from app.tunnel.state import OFF, TunnelPhase, TunnelState
from app.tunnel.words import (
    PAST_GATEWAY,
    TunnelError,
    reach_words,
    trouble_words,
)
from app.vault.base import VaultUnavailable

if TYPE_CHECKING:
    from app.containers.docker import Docker

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""How long a tunnel may take to come about."""
_SHUT_S = 10.0
_PAUSES_S = (2.0, 10.0, 30.0)
"""Before each new start: after a night's sleep the network takes a moment."""
_LOOKS_S = (2.0, 3.0, 5.0, 10.0, 20.0)
"""When the new address is asked: a fresh name is not known everywhere at once."""


class Tunnel:
    """One profile's tunnel.

    `find` gives the Docker to use, and keeps it; `image` and `hostname` the settings' present values; `token` the
    named tunnel's token from the vault, or None; `address` the gateway's own http://127.0.0.1:PORT. `on_change` is
    called after `state` changed. `check` says who answers at the public address (tests pass their own).
    """

    def __init__(
        self,
        find: Callable[[], Awaitable[Docker]],
        *,
        profile: str,
        home: str = "",
        image: Callable[[], str],
        token: Callable[[], Awaitable[str | None]],
        address: Callable[[], str],
        hostname: Callable[[], str],
        on_change: Callable[[], None],
        check: Callable[[str], Awaitable[Reach]] = check_public,
        clock_s: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
        pauses_s: tuple[float, ...] = _PAUSES_S,
        looks_s: tuple[float, ...] = _LOOKS_S,
    ) -> None:
        self._find = find
        self._profile = profile
        self._home = home
        self._image = image
        self._token = token
        self._address = address
        self._hostname = hostname
        self._on_change = on_change
        self._check = check
        self._clock_s = clock_s
        self._patience_s = patience_s
        self._life = Life(pauses_s)
        self._looks_s = looks_s
        self._state = OFF
        self._settled = asyncio.Event()
        self._switching = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._mode = ""
        self._docker: Docker | None = None
        self._was_open = False
        self._lost = False
        self._past_gateway = False

    @property
    def state(self) -> TunnelState:
        """What is known now."""
        return self._state

    async def open(self, mode: str) -> None:
        """Open it, `quick` or `named`, and wait until it is open. Raises TunnelError, also found in `state`.

        Said again while it is open or opening, it joins; another mode closes the old one first. Being cancelled leaves
        the opening to go on.
        """
        if mode not in ("quick", "named"):
            raise ValueError(f"a tunnel is quick or named, not {mode!r}")
        async with self._switching:
            if not self._life.wanted or self._mode != mode:
                await self._close()
                self._mode = mode
                self._settled.clear()
                self._was_open = self._past_gateway = False
                self._tell(Happening.START)
                self._become(TunnelState(TunnelPhase.OPENING))
                self._task = asyncio.get_running_loop().create_task(self._keep(), name="tunnel")
        await self._settled.wait()
        if self._state.phase is TunnelPhase.FAILED:
            raise TunnelError(self._state.problem or "", self._state.fix or "")

    async def close(self) -> None:
        """Close it and remove the container. Raises TunnelError where the container cannot be removed."""
        async with self._switching:
            await self._close()

    async def _close(self) -> None:
        await self._end_task()
        try:
            await self._remove()
        except ContainerError as error:
            self._fail(str(error), "Stop the container by hand: docker rm -f " + self._name, ())
            raise TunnelError(str(error), self._state.fix or "") from error
        self._mode = ""
        self._become(OFF)
        self._settled.set()

    async def shut(self) -> bool:
        """The gateway ends: remove the container; whether that is done. Never raises, and takes at most ten seconds."""
        gone = False
        try:
            async with asyncio.timeout(_SHUT_S):
                await self._end_task()
                await self._remove()
                gone = self._docker is not None
        except (ContainerError, TimeoutError) as error:
            log.warning("The tunnel's container %s could not be removed: %s", self._name, error)
        self._become(OFF)
        self._settled.set()
        return gone

    async def sweep(self) -> bool:
        """Remove what an earlier run of this profile left behind; for the start of the gateway. Whether that is done;
        never raises."""
        try:
            self._docker = await self._find()
            await self._remove()
        except ContainerError as error:
            log.warning("Whether an earlier run left a tunnel behind could not be found out: %s", error)
            return False
        return True

    @property
    def _name(self) -> str:
        return f"mortdecai-{self._profile}-tunnel"

    def _tell(self, what: Happening) -> tuple[LifeWish, ...]:
        return self._life.told(what, self._clock_s())

    async def _end_task(self) -> None:
        self._tell(Happening.STOP)
        for task in (self._task, self._checking):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait([task])
        self._task = self._checking = None

    async def _remove(self) -> None:
        """Every tunnel of this profile: also one that an earlier run of the gateway left behind."""
        if self._docker is None:
            return
        for container in await self._docker.list(labels(self._profile, self._home)):
            await self._docker.remove(container.id)

    # Keeping it open: one task from `open` to `close`.

    async def _keep(self) -> None:
        try:
            await self._again_and_again()
        except TunnelError as error:
            self._fail(str(error), error.fix, ())
        except ContainerError as error:
            fix = "Start Docker, then open the public address again."
            self._fail(str(error), fix if isinstance(error, DaemonUnreachable) else "", ())
        except asyncio.CancelledError:
            if not self._past_gateway:
                raise
            self._fail(*PAST_GATEWAY, ())
        except Exception:
            log.exception("The tunnel failed by a fault of our own.")
            self._fail("The tunnel failed by a mistake of the gateway's own.", "Its log says which.", ())
        try:
            await self._remove()
        except ContainerError as error:
            log.error(
                "The tunnel's container %s could not be removed: %s %s", self._name, error, error.detail
            )
            # A Docker that is gone has been said already, and has most likely taken the tunnel with it.
            if self._past_gateway or not isinstance(error, DaemonUnreachable):
                self._fail(
                    "The public address may still be open, because Docker did not remove the tunnel's container.",
                    f"Stop it by hand: docker rm -f {self._name}",
                    self._state.log_tail,
                )

    async def _again_and_again(self) -> None:
        while True:
            try:
                reader = await self._once()
            except DaemonUnreachable:
                # Docker may be restarting under a tunnel that was open.
                if not self._was_open or LifeWish.GIVE_UP in self._tell(Happening.ENDED):
                    raise
            else:
                if LifeWish.GIVE_UP in self._tell(Happening.REFUSED if reader.hopeless else Happening.ENDED):
                    self._fail(*trouble_words(reader.trouble, self._mode), reader.tail)
                    return
                log.info("The tunnel ended and is started again. Its last words: %s", reader.tail[-1:])
            self._settled.clear()
            self._become(TunnelState(TunnelPhase.OPENING))
            await asyncio.sleep(self._life.pause_s)

    async def _once(self) -> LogReader:
        """One container from its making to its end; what its log said."""
        token = None
        if self._mode == "named":
            try:
                token = await self._token()
            except VaultUnavailable as error:
                raise TunnelError(str(error)) from error
            if not token:
                raise TunnelError(
                    "There is no token for the named tunnel yet.",
                    "Copy it from Cloudflare, then run: mortdecai-gateway public-address token",
                )
        docker = self._docker = await self._find()
        image = self._image()
        if await docker.image(image) is None:
            await docker.pull(image, self._pulling)
            self._become(replace(self._state, progress=None))
        await self._remove()
        spec = spec_of(
            profile=self._profile,
            home=self._home,
            image=image,
            daemon=docker.daemon,
            address=self._address(),
            token=token,
        )
        container = await docker.create(spec)
        await docker.start(container.id)
        reader = LogReader(() if token is None else (token,))
        await self._follow(docker, container.id, reader)
        return reader

    def _pulling(self, progress: PullProgress) -> None:
        self._become(replace(self._state, progress=progress))

    async def _follow(self, docker: Docker, container: str, reader: LogReader) -> None:
        """Read the log until it ends, or until no connection came about for too long. One that was there and is lost
        is for cloudflared to make anew."""
        lines = docker.follow_logs(container)
        deadline_s = asyncio.get_running_loop().time() + self._patience_s
        ever = False
        try:
            while True:
                async with asyncio.timeout_at(None if ever else deadline_s):
                    line = await anext(lines, None)
                if line is None:
                    return
                reader.feed(line)
                ever = ever or reader.connected
                if reader.hopeless and not reader.connected:
                    return
                self._heard(reader)
        except TimeoutError:
            # cloudflared itself has tried all along; starting it anew would try the same.
            reader.given_up = True
        finally:
            await lines.aclose()
            if self._checking is not None:
                self._checking.cancel()
                self._checking = None

    def _heard(self, reader: LogReader) -> None:
        """What the log now says of the address."""
        if not reader.connected:
            if self._state.phase is TunnelPhase.OPEN:
                self._lost = True
                problem, fix = trouble_words(Trouble.NETWORK, self._mode)
                self._become(replace(self._state, problem=problem, fix=fix))
            return
        url = self._url(reader)
        if self._state.phase is TunnelPhase.OPEN and self._state.url == url:
            if self._lost:
                self._lost = False
                self._become(replace(self._state, problem=None, fix=None))
            return
        if self._mode == "quick" and not url:
            return
        self._lost, self._was_open = False, True
        self._tell(Happening.ANSWERS)
        self._become(TunnelState(TunnelPhase.OPEN, url=url))
        self._settled.set()
        if url:
            if self._checking is not None:
                self._checking.cancel()
            self._checking = asyncio.get_running_loop().create_task(self._verify(url), name="tunnel-check")

    def _url(self, reader: LogReader) -> str:
        if self._mode == "quick":
            return reader.address
        named = self._hostname().rstrip("/")
        if not named and reader.routes:
            # Several names may lead to one tunnel; ours is the one that leads to the gateway's port.
            port = self._address().rpartition(":")[2]
            ours = [route for route in reader.routes if route.service.rstrip("/").endswith(f":{port}")]
            named = (ours or reader.routes)[0].hostname
        return named if not named or "://" in named else f"https://{named}"

    async def _verify(self, url: str) -> None:
        """Ask the address from outside. An engine that answers there closes it at once."""
        reach = Reach.NOBODY
        for pause_s in self._looks_s:
            await asyncio.sleep(pause_s)
            reach = await self._check(url)
            if reach is not Reach.NOBODY:
                break
        self._checking = None
        if self._state.phase is not TunnelPhase.OPEN or self._state.url != url:
            return
        if reach is Reach.ENGINE:
            log.error("The engine itself answered at %s: the tunnel is closed.", url)
            self._past_gateway = True
            if self._task is not None:
                self._task.cancel()
        elif (words := reach_words(reach)) is not None:
            problem, fix = words
            self._become(replace(self._state, problem=problem, fix=fix))

    def _fail(self, problem: str, fix: str, tail: tuple[str, ...]) -> None:
        self._tell(Happening.REFUSED)
        self._become(TunnelState(TunnelPhase.FAILED, problem=problem, fix=fix or None, log_tail=tail))
        self._settled.set()

    def _become(self, state: TunnelState) -> None:
        if state != self._state:
            self._state = state
            self._on_change()
