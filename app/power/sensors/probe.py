"""Which power sensors this machine has.

Rule: probing never raises and never stays: what a driver does wrong costs its own sensors, and nothing is left
open behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app.power.sensors.amdgpu import DRM, find_amdgpu
from app.power.sensors.base import Clock, Sensor, monotonic_us
from app.power.sensors.nvml import find_nvml

log = logging.getLogger(__name__)


def probe_sensors(*, clock: Clock = monotonic_us, drm: Path = DRM, nvml: Any = None) -> list[Sensor]:
    """Every GPU whose power can be read, NVIDIA's first; empty where there is none. Blocks for up to seconds.

    `drm` and `nvml` stand in for /sys/class/drm and the module pynvml. Initialising NVML wakes a parked GPU once.
    """
    probes: Sequence[Callable[[], Sequence[Sensor]]] = (
        lambda: find_nvml(nvml, clock=clock),
        lambda: find_amdgpu(drm, clock=clock),
    )
    found: list[Sensor] = []
    for probe in probes:
        try:
            found.extend(probe())
        except Exception:
            log.warning("a power sensor could not be probed", exc_info=True)
    return found
