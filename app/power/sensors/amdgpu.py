"""AMD GPUs through plain sysfs, the reader every Linux machine has.

Rule 1: nothing is believed: a file may be missing, vanish between two reads, be padded with NULs or hold the
firmware's «none» (all ones); each of these makes its own figure None and no other. Rule 2: only cards of AMD's
amdgpu driver are claimed. An APU's power includes its CPU. `gpu_metrics`' energy accumulator is unusable, so there
is no counter.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from app.power.exact import plausible_w
from app.power.sensors.base import Clock, Reading, SensorError, SensorInfo, monotonic_us

DRM = Path("/sys/class/drm")
VENDOR_AMD = "0x1002"
NO_VALUE = frozenset({0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF * 1000, 0xFFFF * 1_000_000})
"""The firmware's 16, 32 and 64 bit «none», raw or scaled to milli and micro."""

_CARD = re.compile(r"card[0-9]+")
_MAX_BYTES = 4096
"""Sysfs files are one page."""


def find_amdgpu(root: Path = DRM, *, clock: Clock = monotonic_us) -> list[AmdgpuSensor]:
    """A sensor for every amdgpu card under `root` that has a power file, by card number."""
    try:
        cards = sorted(
            (entry for entry in root.iterdir() if _CARD.fullmatch(entry.name)),
            key=lambda entry: int(entry.name[4:]),
        )
    except OSError:
        return []
    found = []
    for card in cards:
        device = card / "device"
        if _text(device / "vendor") != VENDOR_AMD or _uevent(device).get("DRIVER") != "amdgpu":
            continue
        hwmon = _hwmon(device)
        if hwmon is not None and _power_file(hwmon) is not None:
            found.append(AmdgpuSensor(device, clock=clock))
    return found


class AmdgpuSensor:
    """One card; `device` is its `…/cardN/device` folder."""

    def __init__(self, device: Path, *, clock: Clock = monotonic_us) -> None:
        self._device = device
        self._clock = clock
        self._hwmon = _hwmon(device)
        self._power = None if self._hwmon is None else _power_file(self._hwmon)
        uevent = _uevent(device)
        pci_id = uevent.get("PCI_ID", "")
        limit_w = _scaled(self._hwmon / "power1_cap", 1e6) if self._hwmon else None
        self._info = SensorInfo(
            id=uevent.get("PCI_SLOT_NAME") or device.parent.name,
            name=_text(device / "product_name") or f"AMD GPU {pci_id}".strip(),
            vendor="AMD",
            source="amdgpu",
            limit_w=plausible_w(limit_w) or None,
            memory_total_b=_number(device / "mem_info_vram_total"),
        )

    @property
    def info(self) -> SensorInfo:
        """What it measures."""
        return self._info

    def read(self) -> Reading:
        """One sample. Raises SensorError where the card is gone, or has stopped to tell its power."""
        at_us = self._clock()
        power_w = plausible_w(_scaled(self._power, 1e6)) if self._power else None
        if power_w is None:
            if not self._device.is_dir():
                raise SensorError(
                    f"{self._info.name} is no longer there. Plug it in again, or restart the machine.",
                    lost=True,
                )
            # After a resume or a reset the driver numbers its hwmon anew.
            self._hwmon = _hwmon(self._device)
            self._power = None if self._hwmon is None else _power_file(self._hwmon)
            power_w = plausible_w(_scaled(self._power, 1e6)) if self._power else None
        busy = _number(self._device / "gpu_busy_percent")
        temperature_c = _scaled(self._hwmon / "temp1_input", 1e3) if self._hwmon else None
        return Reading(
            at_us=at_us,
            power_w=power_w,
            energy_uj=None,
            utilisation_pct=float(busy) if busy is not None and busy <= 100 else None,
            memory_used_b=_number(self._device / "mem_info_vram_used"),
            memory_total_b=self._info.memory_total_b,
            temperature_c=temperature_c if temperature_c is not None and temperature_c < 200 else None,
        )

    def close(self) -> None:
        """Nothing is held open between two reads."""

    def asleep(self) -> bool:
        """True while the kernel has suspended the card (runtime power management)."""
        return _text(self._device / "power" / "runtime_status") in ("suspended", "suspending")


def _hwmon(device: Path) -> Path | None:
    try:
        monitors = sorted((device / "hwmon").iterdir())
    except OSError:
        return None
    for monitor in monitors:
        if _text(monitor / "name") == "amdgpu":
            return monitor
    return None


def _power_file(hwmon: Path) -> Path | None:
    """The instant power where there is one (APUs and new kernels), otherwise the average."""
    for name in ("power1_input", "power1_average"):
        path = hwmon / name
        if path.exists():
            return path
    return None


def _uevent(device: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in _text(device / "uevent").splitlines())
    return {key: value for key, _, value in pairs}


def _scaled(path: Path, divisor: float) -> float | None:
    number = _number(path)
    return None if number is None else number / divisor


def _number(path: Path) -> int | None:
    text = _text(path)
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        return None
    number = int(text)
    return None if number in NO_VALUE else number


def _text(path: Path) -> str:
    """The file without white space and NULs around it; empty where it cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        raw = os.read(file, _MAX_BYTES)
    except OSError:
        return ""
    finally:
        os.close(file)
    return raw.decode("ascii", "replace").strip(" \t\r\n\0")
