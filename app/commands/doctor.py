"""`doctor`: what the gateway needs, each with its fix. Looks only; changes nothing."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

from app.commands.common import Ground, ground
from app.engine.base import EngineError
from app.engine.ollama import OllamaEngine
from app.power.sensors.probe import probe_sensors
from app.proxy.server import port_is_free, port_owner
from app.vault.base import VaultUnavailable

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
    yield await _engine(base)
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


async def _engine(base: Ground) -> Check:
    engine = OllamaEngine(base.store.current.upstream_url)
    try:
        version = await engine.version()
        models = await engine.models()
    except EngineError as error:
        return Check("Engine", False, f"nothing usable at {engine.url}", str(error))
    finally:
        await engine.close()
    if not models:
        return Check(
            "Engine",
            False,
            f"Ollama {version} has no model",
            "Pull one, for example: ollama pull llama3.1:8b",
        )
    return Check("Engine", True, f"Ollama {version} with {len(models)} models at {engine.url}")


async def _sensor() -> Check:
    sensors = await asyncio.to_thread(probe_sensors)
    try:
        if not sensors:
            return Check("Power", True, "no GPU sensor found; the watts of the settings are used")
        return Check(
            "Power", True, ", ".join(f"{sensor.info.name} by {sensor.info.source}" for sensor in sensors)
        )
    finally:
        for sensor in sensors:
            sensor.close()
