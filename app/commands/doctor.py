"""`doctor`: what the gateway needs, each with its fix. Looks only; changes nothing."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

from app.basics.door import port_is_free, port_owner
from app.basics.threads import in_thread
from app.commands.common import Ground, ground
from app.commands.operator import ask_running
from app.commands.parts import PROBE_S
from app.containers.base import ContainerError
from app.containers.find import find_daemon
from app.engine.base import EngineError
from app.engine.endpoint import EndpointEngine
from app.managed.names import names_of
from app.power.sensors.probe import probe_sensors
from app.tunnel.exposure import check_engine
from app.vault.base import VaultUnavailable

SETUP = "mortdecai-gateway setup"
ENOUGH_DISK_B = 500 * 2**20


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, whether it is in order, what was seen, and what to do where it is not."""

    name: str
    good: bool
    seen: str
    fix: str = ""


def doctor(options: argparse.Namespace) -> int:
    """`mortdecai-gateway doctor`; 1 where something needs a fix."""
    return asyncio.run(_print(ground(options)))


async def _print(base: Ground) -> int:
    worst = 0
    async for check in checks(base):
        print(f"{'ok ' if check.good else 'FIX'}  {check.name}: {check.seen}")
        if not check.good:
            worst = 1
            print(f"     {check.fix}")
    return worst


async def checks(base: Ground) -> AsyncIterator[Check]:
    """Every check, one after the other."""
    yield _python()
    yield _disk(base)
    yield await _vault(base)
    yield _port(base)
    yield await _docker(base)
    yield await _engine(base)
    yield await _exposure(base)
    yield await _sensor()


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Check("Python", good, version, "Use Python 3.11, 3.12 or 3.13.")


def _disk(base: Ground) -> Check:
    folder = base.folders.data
    while not folder.exists():
        folder = folder.parent
    free_b = shutil.disk_usage(folder).free
    return Check(
        "Disk",
        free_b >= ENOUGH_DISK_B,
        f"{free_b / 1e9:.1f} GB free for the ledger",
        "Free some space: what cannot be recorded is not served.",
    )


async def _vault(base: Ground) -> Check:
    kind = base.store.current.vault
    try:
        vault = await base.vault()
        return Check("Secrets", True, f"kept in the {vault.name} vault")
    except VaultUnavailable as error:
        return Check("Secrets", False, f"the {kind} vault cannot be used", str(error))


def _port(base: Ground) -> Check:
    settings = base.store.current
    url = base.running_url()
    if url is not None:
        return Check("Address", True, f"this profile's gateway runs at {url}")
    if not port_is_free(settings.host, settings.port):
        return Check(
            "Address",
            False,
            f"port {settings.port} is used by {port_owner(settings.port)}",
            "Stop it, or choose another with --port.",
        )
    return Check("Address", True, f"{settings.host}:{settings.port} is free")


async def _docker(base: Ground) -> Check:
    """Needed where the engine is a container of ours, and good to have elsewhere."""
    needed = base.store.current.engine == "container" or base.store.current.public_address != "off"
    try:
        docker = await find_daemon(base.store.current.docker_host)
    except ContainerError as error:
        if needed:
            return Check("Docker", False, "no Docker answers", str(error))
        return Check("Docker", True, "none is here, and none is needed with the engine that is set")
    await docker.close()
    daemon = docker.daemon
    how = " (rootless)" if daemon.rootless else ""
    nvidia = ", with NVIDIA GPUs" if daemon.nvidia else ""
    return Check("Docker", True, f"{daemon.name} {daemon.version}{how}{nvidia}, found by {daemon.found_by}")


async def _engine(base: Ground) -> Check:
    if base.store.current.engine == "container":
        return await _container(base)
    engine = EndpointEngine(base.store.current.upstream_url)
    try:
        version = await engine.version()
        models = await engine.models()
    except EngineError as error:
        return Check("Engine", False, f"nothing usable at {engine.url}", f"{error} Or run: {SETUP}")
    finally:
        await engine.close()
    name = f"{engine.name} {version}".strip()
    if not models:
        return Check("Engine", False, f"{name} has no model", f"Get one: {SETUP}")
    only = "" if engine.native else "; clients can use /v1 only"
    return Check("Engine", True, f"{name} with {len(models)} models at {engine.url}{only}")


async def _container(base: Ground) -> Check:
    url = base.running_url()
    if url is not None:
        told = (await ask_running(base, url, "GET", "/admin/engine"))["container"]
        good = told["problem"] is None
        return Check(
            "Engine", good, f"{told['name']} is {told['phase']}", f"{told['problem']} {told['fix'] or ''}"
        )
    try:
        docker = await find_daemon(base.store.current.docker_host)
        try:
            container = await docker.find(names_of(base.profile).container)
        finally:
            await docker.close()
    except ContainerError as error:
        return Check("Engine", False, "its container cannot be looked at", str(error))
    if container is None:
        return Check("Engine", False, "its container is not there yet", f"Run: {SETUP}")
    return Check(
        "Engine", True, f"{container.name} is there and {container.status}; it starts with the gateway"
    )


async def _exposure(base: Ground) -> Check:
    """The engine's own port is nobody's business but ours."""
    settings = base.store.current
    exposed = None if settings.engine == "container" else await check_engine("ollama", settings.upstream_url)
    if exposed is not None:
        return Check("Engine's port", False, exposed.problem, exposed.fix)
    return Check("Engine's port", True, "cannot be reached past the gateway from elsewhere")


async def _sensor() -> Check:
    try:
        sensors = await in_thread(probe_sensors, PROBE_S, name="probing sensors")
    except TimeoutError:
        return Check("Power", False, "the GPU's driver does not answer", "Restart this computer.")
    try:
        if not sensors:
            return Check("Power", True, "no GPU sensor found; the watts of the settings are used")
        return Check(
            "Power", True, ", ".join(f"{sensor.info.name} by {sensor.info.source}" for sensor in sensors)
        )
    finally:
        for sensor in sensors:
            sensor.close()
