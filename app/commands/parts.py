"""The parts a gateway is handed: an engine, whoever keeps it running, a sensor, a tunnel; by the settings.

Rule: nothing is started here, and no daemon is asked; a part that is not needed is not even imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.basics.threads import in_thread
from app.commands.common import Ground
from app.engine.base import Engine
from app.engine.host import EngineHost, HostCare, NoHost
from app.power.sensors.base import NullSensor, Sensor
from app.power.sensors.probe import metered, probe_sensors

if TYPE_CHECKING:
    from app.containers.docker import Docker
    from app.managed.recipe import Recipe

log = logging.getLogger(__name__)

PROBE_S = 30.0
"""How long a GPU's driver may take to say what it has; the first question after a boot loads it."""
UNPLACED = "http://127.0.0.1:9"
"""Where a managed engine is until its container tells its port: nothing answers on the discard port."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a gateway is made of besides its settings, folders and secrets."""

    engine: Engine
    sensor: Sensor
    host: Callable[[HostCare], EngineHost]
    docker: Callable[[], Awaitable[Docker]]
    """Finds the daemon that the settings mean; raises ContainerError."""


@contextlib.asynccontextmanager
async def parts(base: Ground, simulate: bool) -> AsyncIterator[Parts]:
    """The parts that the settings name, or the simulator's."""
    settings = base.store.current
    if simulate:
        async with _simulated(base) as made:
            yield made
        return
    sensor = await probed(settings.metered_gpus)
    if settings.engine == "container":
        yield contained(base, sensor)
        return
    from app.engine.endpoint import EndpointEngine

    engine = EndpointEngine(settings.upstream_url, silence_s=settings.request_timeout_seconds)
    yield Parts(engine, sensor, lambda care: NoHost(), finder(base))


def contained(base: Ground, sensor: Sensor | None = None) -> Parts:
    """The parts of a profile whose engine is a container."""
    from app.engine.ollama import OllamaEngine
    from app.managed.supervisor import ManagedOllama

    engine = OllamaEngine(UNPLACED, silence_s=base.store.current.request_timeout_seconds)

    def host(care: HostCare) -> EngineHost:
        return ManagedOllama(
            engine,
            lambda: recipe_of(base),
            find=finder(base),
            on_change=care.changed,
            busy=care.busy,
            quietly=care.quietly,
        )

    return Parts(engine, sensor or NullSensor(), host, finder(base))


def recipe_of(base: Ground) -> Recipe:
    """What the profile's container is made from now."""
    from app.managed.recipe import Recipe

    return Recipe.of(base.store.current, base.profile, base.folders.fingerprint)


def finder(base: Ground) -> Callable[[], Awaitable[Docker]]:
    """Finds the daemon that the settings mean."""

    async def find() -> Docker:
        # Docker's SDK is two hundred modules: read beside the loop, which may be serving.
        find_daemon = await asyncio.to_thread(_daemon_finder)
        return await find_daemon(base.store.current.docker_host)

    return find


def _daemon_finder() -> Callable[[str], Awaitable[Docker]]:
    from app.containers.find import find_daemon

    return find_daemon


async def probed(wanted: tuple[str, ...] = ()) -> Sensor:
    """What measures the GPUs that the engine uses: those that are `wanted`, or all that may compute."""
    try:
        sensors = await in_thread(probe_sensors, PROBE_S, name="probing sensors")
    except TimeoutError:
        log.warning(
            "The GPU's driver does not answer, so the watts of the settings are used. Restart this computer."
        )
        return NullSensor()
    return metered(sensors, wanted)


@contextlib.asynccontextmanager
async def _simulated(base: Ground) -> AsyncIterator[Parts]:
    from app.power.sensors.simulated import SimulatedSensor
    from app.simulator import Simulator, SimulatorEngine

    simulator = Simulator(parallel=base.store.current.engine_parallel or 1)
    url = await simulator.start()
    try:
        sensor = SimulatedSensor(simulator.gpu_state)
        yield Parts(SimulatorEngine(url), sensor, lambda care: NoHost(), finder(base))
    finally:
        await simulator.stop()
