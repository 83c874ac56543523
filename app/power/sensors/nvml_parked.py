"""NVIDIA GPUs that are parked when the gateway starts, as in a laptop on its battery.

Rule 1: initialising NVML wakes every GPU of NVIDIA's, so nothing of it is called while all of them are parked; what is
known until then comes from sysfs and from the driver's own list below /proc. Rule 2: once such a GPU is awake, by
somebody else's doing, it is read like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from app.power.sensors import sysfs
from app.power.sensors.base import Reading, SensorError, SensorInfo
from app.power.sensors.nvml import NvmlSensor

PROC_GPUS = Path("/proc/driver/nvidia/gpus")
VENDOR_NVIDIA = "0x10de"
_DISPLAY = "0x03"
"""PCI's class of graphics cards, VGA or 3D; a card's sound and USB are devices of their own."""
_UUID = re.compile(r"GPU-[0-9a-f-]{36}", re.ASCII)


def find_parked(
    find: Callable[[], list[NvmlSensor]], pci_devices: Path, proc_gpus: Path = PROC_GPUS
) -> list[ParkedNvmlSensor]:
    """A sensor for every GPU of NVIDIA's where all of them are parked; none where one is awake, or there is none.
    `find` is what finds them through NVML, later."""
    try:
        devices = sorted(pci_devices.iterdir())
    except OSError:
        return []
    cards = [
        device
        for device in devices
        if sysfs.text(device / "vendor") == VENDOR_NVIDIA
        and sysfs.text(device / "class").startswith(_DISPLAY)
    ]
    if not all(sysfs.parked(card) for card in cards):
        return []
    return [ParkedNvmlSensor(card, find, proc_gpus) for card in cards]


class ParkedNvmlSensor:
    """One of them; `device` is its folder below /sys/bus/pci/devices."""

    def __init__(self, device: Path, find: Callable[[], list[NvmlSensor]], proc_gpus: Path) -> None:
        self._device = device
        self._find = find
        self._sensor: NvmlSensor | None = None
        told = {
            name.strip(): value.strip()
            for name, _, value in (
                line.partition(":")
                for line in sysfs.text(proc_gpus / device.name / "information").splitlines()
            )
        }
        uuid = told.get("GPU UUID", "")
        self._info = SensorInfo(
            id=uuid if _UUID.fullmatch(uuid) else device.name,
            name=told.get("Model") or f"NVIDIA GPU {device.name}",
            vendor="NVIDIA",
            source="nvml",
            limit_w=None,
            memory_total_b=None,
        )

    @property
    def info(self) -> SensorInfo:
        """What it measures; its limit and memory once it was awake. Its id stays."""
        return self._info

    def read(self) -> Reading:
        """One sample. Raises SensorError."""
        if self._sensor is None:
            found = {sensor.address: sensor for sensor in self._find()}
            self._sensor = found.get(self._device.name)
            if self._sensor is None:
                raise SensorError(
                    f"{self._info.name} is awake, and its driver does not know it. Install or start NVIDIA's driver.",
                    lost=True,
                )
            known = self._sensor.info
            self._info = SensorInfo(
                self._info.id, known.name, known.vendor, known.source, known.limit_w, known.memory_total_b
            )
        return self._sensor.read()

    def close(self) -> None:
        """Let go of it."""
        if self._sensor is not None:
            self._sensor.close()

    def asleep(self) -> bool:
        """True while the kernel has suspended it."""
        return sysfs.parked(self._device)
