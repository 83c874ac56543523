"""AMD GPUs through `pyamdgpuinfo`, the optional extra `amd`: for those whose sysfs has no power file.

Rule 1: the package is GPL-3.0-only and for Linux on x86_64; it is imported where somebody installed it, and is in no
bundle of ours. Rule 2: it opens the device and so wakes a parked GPU: the kernel is asked first, and the device is
opened only between a first `read` and `close`. Rule 3: it tells whole watts and counts no energy.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from app.power.exact import plausible_w
from app.power.sensors import sysfs
from app.power.sensors.base import Clock, Reading, SensorError, SensorInfo, monotonic_us

PCI_DEVICES = Path("/sys/bus/pci/devices")


def find_amd_extra(
    module: Any = None,
    *,
    known: Collection[str] = (),
    clock: Clock = monotonic_us,
    pci_devices: Path = PCI_DEVICES,
) -> list[PyamdgpuSensor]:
    """A sensor for every AMD GPU that the package finds, but those at the PCI addresses `known`; none without it."""
    if module is None:
        try:
            module = importlib.import_module("pyamdgpuinfo")
        except ImportError:
            return []
    try:
        count = int(module.detect_gpus())
    except OSError:
        # A machine without /dev/dri.
        return []
    found = []
    for index in range(count):
        gpu = module.get_gpu(index)
        if gpu.pci_slot is None or gpu.pci_slot not in known:
            found.append(PyamdgpuSensor(module, index, gpu, clock=clock, pci_devices=pci_devices))
    return found


class PyamdgpuSensor:
    """One GPU, by its number among those that the package finds; `gpu` is used to describe it, and not kept."""

    def __init__(self, module: Any, index: int, gpu: Any, *, clock: Clock, pci_devices: Path) -> None:
        self._module = module
        self._index = index
        self._clock = clock
        self._gpu: Any = None
        self._device = None if gpu.pci_slot is None else pci_devices / gpu.pci_slot
        self._info = SensorInfo(
            id=gpu.pci_slot or f"amd-{index}",
            name=gpu.name or "AMD GPU",
            vendor="AMD",
            source="pyamdgpuinfo",
            limit_w=None,
            memory_total_b=gpu.memory_info["vram_size"],
        )

    @property
    def info(self) -> SensorInfo:
        """What it measures."""
        return self._info

    def read(self) -> Reading:
        """One sample. Raises SensorError where the device cannot be opened."""
        at_us = self._clock()
        if self._gpu is None:
            try:
                self._gpu = self._module.get_gpu(self._index)
            except (OSError, RuntimeError) as error:
                raise SensorError(
                    f"{self._info.name} cannot be opened ({error}). It will be asked again.", lost=False
                ) from error
        gpu = self._gpu
        power_w = plausible_w(_asked(gpu.query_power))
        load = _asked(gpu.query_load)
        used_b = _asked(gpu.query_vram_usage)
        return Reading(
            at_us=at_us,
            power_w=power_w,
            energy_uj=None,
            utilisation_pct=None if load is None else min(100.0, load * 100),
            memory_used_b=None if used_b is None else int(used_b),
            memory_total_b=self._info.memory_total_b,
            temperature_c=_asked(gpu.query_temperature),
            origin="" if power_w is None else "query_power",
        )

    def close(self) -> None:
        """Close the device."""
        self._gpu = None

    def asleep(self) -> bool:
        """True while the kernel has suspended the card."""
        return self._device is not None and sysfs.parked(self._device)


def _asked(query: Callable[[], float]) -> float | None:
    """Its answer; None where this GPU has no such figure, which the package says by RuntimeError."""
    try:
        return float(query())
    except RuntimeError:
        return None
