"""`power calibrate`: watch the GPU at rest and, where there is a plug, at work, and say what was learned.

Rule 1: it asks nothing of the engine: rest is when nobody uses the GPU, work is what its owner lets it do meanwhile.
Rule 2: watts at rest are kept for the gateway's next start; a running gateway learns them itself and would write over
them. Rule 3: the socket's factor is kept and shown, and billed by only where its owner sets it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from app.basics.clock import wall_us
from app.basics.threads import in_thread
from app.commands.common import CommandError, Ground, ground
from app.commands.parts import PROBE_S, probed
from app.commands.power_plug import plug_of
from app.gateway.power_file import POWER_FILE, PowerFile
from app.power.baseline import IdleBaseline, KeptIdle
from app.power.plug import Plug, PlugError, WallPlug
from app.power.sensors.base import Reading, Sensor, SensorError
from app.power.sensors.probe import probe_machine
from app.power.supply import SupplyFactor, SupplyPair, SupplyUnclear, idle_wall_w, ratio
from app.settings.parameters import Settings

LEAST_S, MOST_S = 15, 3600
EVERY_S = 0.25
PLUG_EVERY_S = 2.0
"""Plugs renew their figure about once a second."""
READ_S = 5.0


@dataclass(slots=True)
class Watched:
    """What was seen until now."""

    idle: IdleBaseline
    processor: bool
    pairs: list[SupplyPair] = field(default_factory=list)
    problem: str = ""


def calibrate(options: argparse.Namespace) -> int:
    """`mortdecai-gateway power calibrate [--seconds N] [--json]`; 1 where nothing was learned."""
    if not LEAST_S <= options.seconds <= MOST_S:
        raise CommandError(f"--seconds wants a number from {LEAST_S} to {MOST_S}.")
    return asyncio.run(_calibrate(ground(options), options.seconds, as_json=options.json))


async def _calibrate(base: Ground, seconds: float, *, as_json: bool) -> int:
    sensor = await probed(base.store.current.metered_gpus)
    if sensor.asleep():
        raise CommandError(
            "There is no GPU whose power can be read now, so there is nothing to calibrate: the watts of the settings"
            " are used, and a parked GPU is not woken for this."
        )
    plug = await plug_of(base)
    if not as_json:
        print(
            f"Watching {sensor.info.name} for {seconds:g} seconds. Leave it alone for the first half of them."
        )
        if plug is not None:
            print("Then have it work, for example by a long answer: the plug tells the rest.")
    running = base.running_url() is not None
    file = PowerFile(base.folders.state / POWER_FILE)
    before = file.idle(sensor.info.id)
    machine = await in_thread(probe_machine, PROBE_S, name="probing sensors")
    seen = await watch(
        sensor,
        plug,
        seconds,
        least_memory_b=None if before is None else before.least_memory_b,
        processor=next((one for one in machine if one.info.name == "Processor"), None),
    )
    kept = seen.idle.kept(wall_us())
    factor, unclear = factor_of(seen, plug, base.store.current)
    try:
        if kept is not None and kept.empty is not None and not running:
            file.write_idle(sensor.info.id, kept)
        if factor is not None:
            file.write_supply(factor)
    except OSError as error:
        raise CommandError(f"What was learned could not be kept in {file.path}: {error}.") from None
    if as_json:
        print(json.dumps(_json(sensor.info.id, kept, seen, factor, unclear), ensure_ascii=False))
    else:
        for line in _lines(kept, seen, factor, unclear, running=running):
            print(line)
    return 0 if kept is not None or factor is not None else 1


async def watch(
    sensor: Sensor,
    plug: Plug | None,
    seconds: float,
    *,
    least_memory_b: int | None = None,
    processor: Sensor | None = None,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Watched:
    """Read the sensor, the processor and the plug for so long. `least_memory_b` is what is known of the GPU's memory
    without a model. Raises CommandError where the sensor fails."""
    wall = None if plug is None else WallPlug(plug)
    idle = IdleBaseline(0.0, kept=KeptIdle(None, None, least_memory_b))
    seen = Watched(idle, processor is not None)
    counted: list[float] = []
    ends, ask_at = clock() + seconds, clock() + PLUG_EVERY_S
    try:
        while clock() < ends:
            reading = await _read(sensor)
            if seen.processor and processor is not None:
                extra_w = await _processor_w(processor)
                seen.processor = extra_w is not None
            else:
                extra_w = None
            _take(seen, reading, counted, extra_w or 0.0)
            if wall is not None and clock() >= ask_at and counted:
                ask_at = clock() + PLUG_EVERY_S
                try:
                    seen.pairs.append(SupplyPair(sum(counted) / len(counted), await wall.watts()))
                except PlugError as error:
                    seen.problem = str(error)
                counted.clear()
            await pause(EVERY_S)
    finally:
        sensor.close()
        if wall is not None:
            await wall.close()
    return seen


async def _read(sensor: Sensor) -> Reading:
    try:
        return await in_thread(sensor.read, READ_S, name="power sensor")
    except SensorError as error:
        raise CommandError(error.sentence) from None
    except TimeoutError:
        raise CommandError(f"{sensor.info.name} has not answered for {READ_S:g} seconds.") from None


async def _processor_w(sensor: Sensor) -> float | None:
    """None where it may not be read; 0 before its counter has moved."""
    try:
        return (await in_thread(sensor.read, READ_S, name="power sensor")).power_w or 0.0
    except (SensorError, TimeoutError):
        return None


def _take(seen: Watched, reading: Reading, counted: list[float], extra_w: float) -> None:
    seen.idle.sample(
        reading.at_us,
        reading.power_w,
        busy=False,
        memory_used_b=reading.memory_used_b,
        utilisation_pct=reading.utilisation_pct,
    )
    if reading.power_w is not None:
        counted.append(reading.power_w + extra_w)


def factor_of(seen: Watched, plug: Plug | None, settings: Settings) -> tuple[SupplyFactor | None, str]:
    """The socket's factor, or why there is none. Where the processor is not measured, the settings' watts stand for
    what it draws more at work."""
    if plug is None:
        return None, ""
    rest_w = 0.0 if seen.processor else settings.system_inference_watts - settings.system_idle_watts
    try:
        return SupplyFactor(ratio(seen.pairs, unmeasured_w=rest_w), plug.kind.value, wall_us()), ""
    except SupplyUnclear as error:
        return None, seen.problem or str(error)


def _lines(
    kept: KeptIdle | None, seen: Watched, factor: SupplyFactor | None, unclear: str, *, running: bool
) -> list[str]:
    lines = []
    if kept is not None and kept.empty is not None:
        count = len(kept.empty.windows_w)
        lines.append(f"At rest the GPU draws {kept.empty.watts:.1f} W (median of {count} quiet windows).")
        if running:
            lines.append("The running gateway learns this itself, whenever it is quiet; nothing was kept.")
    else:
        lines.append("The GPU was never quiet for long enough to say what it draws at rest.")
    if kept is not None and kept.resident is not None:
        lines.append(f"With a model in its memory it draws {kept.resident.watts:.1f} W.")
    if seen.pairs:
        lines.append(f"At rest the socket gives {idle_wall_w(seen.pairs):.1f} W.")
    if factor is not None:
        lines.append(f"The socket gives {factor.ratio:.3f} W for each watt that is counted.")
    elif unclear:
        lines.append(f"How much the socket gives for each watt counted is not known. {unclear}")
    return lines


def _json(
    gpu: str, kept: KeptIdle | None, seen: Watched, factor: SupplyFactor | None, unclear: str
) -> dict[str, Any]:
    empty, resident = (None, None) if kept is None else (kept.empty, kept.resident)
    return {
        "gpu": gpu,
        "idle_watts": empty and round(empty.watts, 3),
        "idle_windows": 0 if empty is None else len(empty.windows_w),
        "resident_watts": resident and round(resident.watts, 3),
        "wall_idle_watts": round(idle_wall_w(seen.pairs), 3) if seen.pairs else None,
        "factor": factor and round(factor.ratio, 4),
        "factor_problem": unclear or None,
    }
