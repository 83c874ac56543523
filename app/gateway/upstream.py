"""The engine and everything that belongs to it: its watch, whoever keeps it running, its models, giving the GPU back.

Rule 1: the rest of the gateway meets the engine here and nowhere else. Rule 2: what we did not start is never stopped
from here; `host.managed` says which it is, and `NoHost` could not do it anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from app.basics.addresses import url_is_here
from app.basics.signal import Signal
from app.containers.base import ContainerError
from app.engine.base import Engine
from app.engine.health import EngineWatch
from app.engine.host import EngineHost, HostCare, HostPhase, NoHost, Processor
from app.gateway.quiet import Quiet
from app.gateway.release import NOTHING, Released, release
from app.managed.waking import Waking
from app.models.base import ModelError
from app.models.names import canonical, is_passing
from app.models.shelf import Shelf
from app.models.updates import UpdateReport
from app.power.meter import Meter
from app.settings.parameters import Settings
from app.tunnel.exposure import check_engine

LEAVE_S = 15.0
"""How long quitting waits for the engine's container to stop."""

log = logging.getLogger(__name__)


class EngineVerbUnknown(LookupError):
    """Nothing of that name can be done to an engine; `str()` is a sentence."""


class Upstream:
    """Make it inside the running loop. `changed` is called when a face should look again."""

    def __init__(
        self,
        engine: Engine,
        make_host: Callable[[HostCare], EngineHost],
        meter: Meter,
        quiet: Quiet,
        *,
        settings: Callable[[], Settings],
        folder: Path,
        changed: Callable[[], None],
        audit: Callable[[UpdateReport], Awaitable[None]],
    ) -> None:
        self.engine = engine
        self.moved: Signal[[]] = Signal()
        """Told whenever the engine or its container came, went, or is different."""
        self.host = make_host(HostCare(self.moved, quiet.busy, quiet.quietly))
        self._meter = meter
        self._settings = settings
        self.watch = EngineWatch(engine, lambda _: self.moved())
        self.models = Shelf(
            engine=engine,
            models=lambda: self.watch.state.models,
            loaded=lambda: self.watch.state.loaded,
            refresh=self.watch.refresh,
            host=self.host,
            gpu_memory_b=self._gpu_memory,
            settings=settings,
            changed=changed,
            folder=folder,
            audit=audit,
            loading=lambda active: meter.loading(active=active),
        )
        self._waking = Waking(self._woke)

    @property
    def gpu_expected(self) -> bool:
        """This machine's GPU is there for the engine: it runs here, natively, and nobody chose the processor."""
        return (
            self._meter.sensor_info is not None
            and self.engine.native
            and url_is_here(self.engine.url)
            and self._settings().engine_gpu != "cpu"
        )

    async def up(self) -> None:
        """Have the engine running, as far as that is ours to do. What went wrong is in the host's state."""
        if self.host.managed:
            self._waking.start()
        try:
            await self.host.start()
        except ContainerError as error:
            log.error("%s %s", error, error.detail)
        await self.watch.refresh()
        with contextlib.suppress(ModelError):
            await self.models.recover()

    async def exposure(self) -> str | None:
        """What to tell the contributor where the engine's own port can be reached past the gateway."""
        found = await check_engine(self.engine.kind, self.engine.url)
        return None if found is None else f"{found.problem} {found.fix}"

    async def release(self, used: Iterable[str], *, others: bool = False) -> Released:
        """Give the GPU back: unload `used`, what we loaded ourselves and all that lies in a container of ours, and
        with `others` whatever else the engine holds."""
        self._waking.stop()
        if (
            self.host.managed
            and self.host.state.phase is not HostPhase.RUNNING
            and not self.watch.state.reachable
        ):
            # A container that does not run holds nothing, and an engine that is not there yet has loaded nothing.
            return NOTHING
        here = {canonical(name) for name in (*used, *self.models.brought)}

        def ours(name: str) -> bool:
            return others or self.host.managed or canonical(name) in here or is_passing(name)

        came = await release(self.engine, self._meter.memory_used, ours)
        self.models.brought.difference_update(came.models)
        await self.watch.refresh()
        return came

    async def verb(self, verb: str) -> str:
        """`start`, `stop`, `restart`, `update` or `recreate` the engine's container; a sentence about what came of it.

        Raises ContainerError, or EngineVerbUnknown.
        """
        if verb not in _SAID:
            raise EngineVerbUnknown(f"{verb!r} cannot be done to an engine: say {', '.join(_SAID)}.")
        if not self.host.managed:
            return await NoHost().update()
        if verb == "update":
            said = await self.host.update()
        elif verb == "recreate":
            await self.host.recreate()
            said = _SAID[verb]
        else:
            if verb in ("stop", "restart"):
                await self.host.stop()
            if verb in ("start", "restart"):
                await self.host.start()
            said = _SAID[verb]
        await self.watch.refresh()
        return said

    async def log_tail(self) -> str:
        """The end of the container's log, some 200 lines. Raises ContainerError."""
        return await self.host.log_tail(200)

    async def close(self) -> None:
        """Ask no more, look after it no more. A managed container is stopped: it must not hold the GPU unseen."""
        self._waking.stop()
        await self.models.close()
        await self.watch.close()
        if self.host.managed:
            try:
                async with asyncio.timeout(LEAVE_S):
                    await self.host.stop()
            except (ContainerError, TimeoutError) as error:
                log.warning("The engine's container was not stopped: %s", error or "Docker does not answer.")
        await self.host.close()

    def _gpu_memory(self) -> int | None:
        if self.host.state.processor is Processor.CPU:
            return 0
        reading, info = self._meter.last_reading, self._meter.sensor_info
        if reading is not None and reading.memory_total_b:
            return reading.memory_total_b
        return info.memory_total_b if info is not None else None

    async def _woke(self) -> None:
        """The machine slept."""
        try:
            await self.host.resumed()
        except ContainerError as error:
            log.warning("Whether the GPU is still used could not be found out: %s", error)
        await self.watch.refresh()


_SAID = {
    "start": "The engine runs.",
    "stop": "The engine is stopped; its models are kept.",
    "restart": "The engine was restarted.",
    "update": "",
    "recreate": "The engine's container was made anew; its models are kept.",
}
