"""`power`: what the sensors of this machine say now, and who says it.

Rule: a sensor is read here as the gateway reads it, in a thread with a deadline; one that is parked is not woken, and
what cannot be read is said in the sensor's own sentence.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.basics.clock import wall_us
from app.basics.threads import in_thread
from app.commands.common import CommandError, Ground, ground
from app.commands.operator import ask_running
from app.commands.parts import PROBE_S
from app.commands.power_plug import plug_of, wall_watts
from app.commands.tables import TableColumn, show
from app.gateway.power_file import POWER_FILE, PowerFile
from app.power.baseline import KeptIdle, KeptState
from app.power.plug import PlugError
from app.power.sensors.base import Reading, Sensor, SensorError, SensorInfo
from app.power.sensors.probe import metered, probe_machine, probe_sensors
from app.power.supply import TYPICAL_FACTOR, SupplyFactor
from app.settings.parameters import Settings

READ_S = 5.0
"""So long one sensor may take."""

AGAIN_S = 0.3
"""A counter of energy tells its power by the second look, so long after the first."""

_COLUMNS = (
    TableColumn("SENSOR", whole=False),
    TableColumn("ID"),
    TableColumn("POWER", right=True),
    TableColumn("BY"),
    TableColumn("LIMIT", right=True),
    TableColumn("BUSY", right=True),
    TableColumn("MEMORY", right=True),
    TableColumn("TEMPERATURE", right=True),
    TableColumn("PROGRAMS", right=True),
)


@dataclass(frozen=True, slots=True)
class SensorLook:
    """One sensor and what it said; `reading` is None where it was parked or failed, and `problem` says which."""

    info: SensorInfo
    reading: Reading | None
    problem: str


@dataclass(frozen=True, slots=True)
class PowerLook:
    """Everything that measures here, and what the running gateway says of it."""

    gpus: tuple[SensorLook, ...]
    machine: tuple[SensorLook, ...]
    plug: str
    """Which kind, or `off`."""
    wall_w: float | None
    plug_problem: str
    gateway: Mapping[str, Any] | None
    idle: Mapping[str, KeptIdle]
    """What was learned of GPUs at rest, by their ids."""
    supply: SupplyFactor


def power(options: argparse.Namespace) -> int:
    """`mortdecai-gateway power [--json]`."""
    base = ground(options)
    look = asyncio.run(_look(base))
    if options.json:
        print(json.dumps(_json(look), ensure_ascii=False))
        return 0
    sensors = (*look.gpus, *look.machine)
    if sensors:
        show(_COLUMNS, map(_row, sensors))
    own = base.store.is_set("gpu_idle_watts")
    for line in (
        *_problems(sensors),
        *_learned(look, base.store.current, own=own),
        *_said(look, base.store.current),
    ):
        print(line)
    return 0


async def _look(base: Ground) -> PowerLook:
    url = base.running_url()
    stats = None if url is None else await ask_running(base, url, "GET", "/stats")
    try:
        sensors = await in_thread(probe_sensors, PROBE_S, name="probing sensors")
    except TimeoutError:
        raise CommandError("The GPU's driver does not answer. Restart this computer.") from None
    machine = await in_thread(probe_machine, PROBE_S, name="probing sensors")
    gpus = [await look_at(sensor) for sensor in sensors]
    rest = [await look_at(sensor) for sensor in machine]
    wall_w, problem = None, ""
    plug = await plug_of(base)
    if plug is not None:
        try:
            wall_w = await wall_watts(plug)
        except PlugError as error:
            problem = str(error)
    file = PowerFile(base.folders.state / POWER_FILE)
    ids = [metered(sensors, base.store.current.metered_gpus).info.id, *(sensor.info.id for sensor in sensors)]
    learned = {gpu: kept for gpu in ids if (kept := file.idle(gpu)) is not None}
    supply = file.supply() or TYPICAL_FACTOR
    return PowerLook(
        tuple(gpus), tuple(rest), base.store.current.plug, wall_w, problem, stats, learned, supply
    )


async def look_at(sensor: Sensor) -> SensorLook:
    """One reading, unless the GPU is parked; the sensor is let go of."""
    try:
        return await in_thread(lambda: _read(sensor), READ_S, name="power sensor")
    except TimeoutError:
        return SensorLook(sensor.info, None, f"{sensor.info.name} has not answered for {READ_S:g} seconds.")


def _read(sensor: Sensor) -> SensorLook:
    try:
        if sensor.asleep():
            return SensorLook(
                sensor.info, None, f"{sensor.info.name} is parked, and reading it would wake it."
            )
        reading = sensor.read()
        if reading.power_w is None and (reading.energy_uj is not None or sensor.info.vendor == "Intel"):
            for _ in range(4):
                time.sleep(AGAIN_S)
                reading = sensor.read()
                if reading.power_w is not None:
                    break
        return SensorLook(sensor.info, reading, "")
    except SensorError as error:
        return SensorLook(sensor.info, None, error.sentence)
    finally:
        sensor.close()


def _json(look: PowerLook) -> dict[str, Any]:
    wall = {"kind": look.plug, "power_watts": look.wall_w, "problem": look.plug_problem or None}
    return {
        "sensors": [sensor_json(one) for one in look.gpus],
        "machine": [sensor_json(one) for one in look.machine],
        "plug": None if look.plug == "off" else wall,
        "gateway": look.gateway,
        "idle": {
            gpu: {"empty": _state(kept.empty), "resident": _state(kept.resident)}
            for gpu, kept in look.idle.items()
        },
        "factor": {"ratio": look.supply.ratio, "source": look.supply.source, "at_us": look.supply.at_us},
    }


def _state(state: KeptState | None) -> dict[str, Any] | None:
    return None if state is None else {"watts": round(state.watts, 3), "at_us": state.at_us}


def sensor_json(seen: SensorLook) -> dict[str, Any]:
    """One sensor as JSON; null for what is not known."""
    info, reading = seen.info, seen.reading
    return {
        "id": info.id,
        "name": info.name,
        "vendor": info.vendor,
        "source": info.source,
        "limit_watts": info.limit_w,
        "power_watts": reading and reading.power_w,
        "power_origin": (reading and reading.origin) or None,
        "energy_uj": None if reading is None or reading.energy_uj is None else str(reading.energy_uj),
        "utilization_percent": reading and reading.utilisation_pct,
        "memory_used_b": reading and reading.memory_used_b,
        "memory_total_b": info.memory_total_b,
        "temperature_c": reading and reading.temperature_c,
        "fan_percent": reading and reading.fan_pct,
        "processes": None
        if reading is None or reading.processes is None
        else [
            {
                "pid": each.pid,
                "memory_b": each.memory_b,
                "busy_percent": each.busy_pct,
                "graphics": each.graphics,
            }
            for each in reading.processes
        ],
        "problem": seen.problem or None,
    }


def _row(seen: SensorLook) -> tuple[object, ...]:
    info, reading = seen.info, seen.reading
    used_b = None if reading is None else reading.memory_used_b
    total_b = info.memory_total_b
    memory = "" if used_b is None else _gb(used_b)
    return (
        info.name,
        info.id,
        "" if reading is None else _unit(reading.power_w, " W", 1),
        f"{info.source} {reading.origin}" if reading is not None and reading.origin else info.source,
        _unit(info.limit_w, " W"),
        "" if reading is None else _unit(reading.utilisation_pct, " %"),
        f"{memory} of {_gb(total_b)}" if memory and total_b else memory,
        "" if reading is None else _unit(reading.temperature_c, " °C"),
        "" if reading is None or reading.processes is None else len(reading.processes),
    )


def _problems(seen: Sequence[SensorLook]) -> list[str]:
    mute = [one for one in seen if one.reading is not None and one.reading.power_w is None]
    return [one.problem for one in seen if one.problem] + [
        f"{one.info.name} does not tell its power; the watts of the settings are used." for one in mute
    ]


def _learned(look: PowerLook, settings: Settings, *, own: bool) -> list[str]:
    """The watts at rest with their age, and what the socket gives for each watt."""
    lines = []
    for gpu, kept in look.idle.items():
        told = [
            f"{state.watts:.1f} W {how} (learned {_age(state.at_us)} ago)"
            for state, how in ((kept.empty, "empty"), (kept.resident, "with a model in its memory"))
            if state is not None
        ]
        lines.append(f"At rest {gpu} draws {', '.join(told)}.")
    if own:
        lines.append(
            f"Billed is above {settings.gpu_idle_watts:g} W at rest: your own figure wins (gpu_idle_watts)."
        )
    supply = look.supply
    by = (
        "the usual figure of a power supply; power calibrate measures yours by a plug"
        if supply.at_us is None
        else f"measured by the plug ({supply.source}) {_age(supply.at_us)} ago"
    )
    lines.append(f"For each watt counted the socket gives {supply.ratio:.2f} W: {by}.")
    return lines


def _age(at_us: int) -> str:
    minutes = max(0, wall_us() - at_us) // 60_000_000
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"


def _said(look: PowerLook, settings: Settings) -> list[str]:
    lines, running = [], look.gateway
    if look.wall_w is not None:
        lines.append(f"The socket gives {look.wall_w:.1f} W, by the plug ({look.plug}).")
    if look.plug_problem:
        lines.append(look.plug_problem)
    if not look.gpus and running is None:
        lines.append("No GPU sensor was found, so requests are billed by the watts of the settings.")
    lines.append(
        f"By the settings: GPU {settings.gpu_idle_watts:g} W at rest and {settings.gpu_load_watts:g} W at work, "
        f"rest of the machine {settings.system_idle_watts:g} and {settings.system_inference_watts:g} W."
    )
    if running is not None:
        gpu = running["gpu"]
        by = f"{gpu['name']} by {gpu['source']}" if gpu["source"] != "model" else "the watts of the settings"
        lines.append(
            f"The running gateway counts {running['total_watts']:g} W in all, "
            f"{running['marginal_watts']:g} W of it for requests: {by}."
        )
    return lines


def _unit(value: float | None, unit: str, places: int = 0) -> str:
    return "" if value is None else f"{value:.{places}f}{unit}"


def _gb(size_b: int) -> str:
    return f"{size_b / 1e9:.1f} GB"
