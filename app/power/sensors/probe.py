"""Which power sensors this machine has.

Rule: probing never raises and never stays: what a driver does wrong costs its own sensors, and nothing is left
open behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from app.power.sensors.amd_extra import find_amd_extra
from app.power.sensors.amdgpu import DRM, find_amdgpu
from app.power.sensors.base import Clock, NullSensor, Sensor, monotonic_us
from app.power.sensors.emi import find_emi
from app.power.sensors.intel import find_intel
from app.power.sensors.ioreport import find_ioreport, find_ioreport_processor
from app.power.sensors.nvml import PCI_DEVICES, NvmlSensor, find_nvml
from app.power.sensors.nvml_parked import PROC_GPUS, find_parked
from app.power.sensors.rapl import POWERCAP, find_rapl
from app.power.sensors.several import as_one

log = logging.getLogger(__name__)


def probe_sensors(
    *,
    clock: Clock = monotonic_us,
    drm: Path = DRM,
    nvml: Any = None,
    amd: Any = None,
    pci_devices: Path = PCI_DEVICES,
    proc_gpus: Path = PROC_GPUS,
) -> list[Sensor]:
    """Every GPU whose power can be read, NVIDIA's first; empty where there is none. Blocks for up to seconds.

    `drm`, `nvml` and `amd` stand in for /sys/class/drm and the modules pynvml and pyamdgpuinfo. NVIDIA's GPUs are not
    woken where all of them are parked; where one is awake, initialising NVML wakes the others once.
    """

    def nvidia() -> list[NvmlSensor]:
        return find_nvml(nvml, clock=clock, pci_devices=pci_devices)

    found: list[Sensor] = []
    probes: Sequence[Callable[[], Sequence[Sensor]]] = (
        lambda: find_parked(nvidia, pci_devices, proc_gpus) or nvidia(),
        lambda: find_amdgpu(drm, clock=clock),
        lambda: find_amd_extra(amd, known={sensor.info.id for sensor in found}, clock=clock),
        lambda: find_intel(drm, clock=clock),
        lambda: find_ioreport(clock=clock),
    )
    for probe in probes:
        found.extend(_tried(probe))
    return found


def probe_machine(*, clock: Clock = monotonic_us, powercap: Path = POWERCAP) -> list[Sensor]:
    """What measures the rest of the machine: the processor's packages, the platform; readable or not."""
    probes: Sequence[Callable[[], Sequence[Sensor]]] = (
        lambda: find_rapl(powercap, clock=clock),
        lambda: find_emi(clock=clock),
        lambda: find_ioreport_processor(clock=clock),
    )
    return [sensor for probe in probes for sensor in _tried(probe)]


def metered(sensors: Sequence[Sensor], wanted: Collection[str] = ()) -> Sensor:
    """What is billed by: the GPUs whose ids are `wanted`, as one; of themselves, all of the first maker's, without an
    AMD processor's own GPU, whose figure includes the processor. The others are closed. None of them: NullSensor."""
    if wanted:
        chosen = [sensor for sensor in sensors if sensor.info.id in wanted]
        for missing in set(wanted) - {sensor.info.id for sensor in chosen}:
            log.warning("The GPU %s, which is set to be metered, is not there.", missing)
    else:
        first = [sensor for sensor in sensors if sensor.info.vendor == sensors[0].info.vendor]
        chosen = [sensor for sensor in first if not _is_apu(sensor)] or first
    for sensor in sensors:
        if sensor not in chosen:
            sensor.close()
    return as_one(chosen) if chosen else NullSensor()


def _is_apu(sensor: Sensor) -> bool:
    """Cards of their own have a power limit."""
    return sensor.info.source == "amdgpu" and sensor.info.limit_w is None


def _tried(probe: Callable[[], Sequence[Sensor]]) -> Sequence[Sensor]:
    try:
        return probe()
    except Exception:
        log.warning("a power sensor could not be probed", exc_info=True)
        return ()
