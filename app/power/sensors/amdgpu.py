"""AMD GPUs through plain sysfs, the reader every Linux machine has.

Rule 1: nothing is believed: a file may be missing, vanish between two reads, be padded with NULs or hold the
firmware's «none» (all ones); each of these makes its own figure None and no other. Rule 2: only cards of AMD's
amdgpu driver are claimed. An APU's power includes its CPU. `gpu_metrics`' energy accumulator is unusable, so there
is no counter.
"""

from __future__ import annotations

import re
from pathlib import Path

from app.power.exact import plausible_w
from app.power.sensors import sysfs
from app.power.sensors.base import Clock, Reading, SensorError, SensorInfo, monotonic_us

DRM = Path("/sys/class/drm")
VENDOR_AMD = "0x1002"
_CARD = re.compile(r"card[0-9]+")


def find_amdgpu(root: Path = DRM, *, clock: Clock = monotonic_us) -> list[AmdgpuSensor]:
    """A sensor for every amdgpu card under `root` that has a power file, by card number."""
    found = []
    for device in cards(root):
        if sysfs.text(device / "vendor") != VENDOR_AMD or sysfs.uevent(device).get("DRIVER") != "amdgpu":
            continue
        hwmon = sysfs.hwmon(device, "amdgpu")
        if hwmon is not None and _power_file(hwmon) is not None:
            found.append(AmdgpuSensor(device, clock=clock))
    return found


def cards(root: Path) -> list[Path]:
    """The `device` folder of every graphics card under `root`, by card number; neither connectors nor render nodes."""
    try:
        found = [entry for entry in root.iterdir() if _CARD.fullmatch(entry.name)]
    except OSError:
        return []
    return [card / "device" for card in sorted(found, key=lambda entry: int(entry.name[4:]))]


class AmdgpuSensor:
    """One card; `device` is its `…/cardN/device` folder."""

    def __init__(self, device: Path, *, clock: Clock = monotonic_us) -> None:
        self._device = device
        self._clock = clock
        self._hwmon = sysfs.hwmon(device, "amdgpu")
        self._power = None if self._hwmon is None else _power_file(self._hwmon)
        uevent = sysfs.uevent(device)
        pci_id = uevent.get("PCI_ID", "")
        self._info = SensorInfo(
            id=uevent.get("PCI_SLOT_NAME") or device.parent.name,
            name=sysfs.text(device / "product_name") or f"AMD GPU {pci_id}".strip(),
            vendor="AMD",
            source="amdgpu",
            limit_w=self._limit(),
            memory_total_b=sysfs.number(device / "mem_info_vram_total"),
        )

    @property
    def info(self) -> SensorInfo:
        """What it measures."""
        return self._info

    def read(self) -> Reading:
        """One sample. Raises SensorError where the card is gone, or has stopped to tell its power."""
        at_us = self._clock()
        power_w = plausible_w(sysfs.scaled(self._power, 1e6)) if self._power else None
        if power_w is None:
            if not self._device.is_dir():
                raise SensorError(
                    f"{self._info.name} is no longer there. Plug it in again, or restart the machine.",
                    lost=True,
                )
            # After a resume or a reset the driver numbers its hwmon anew.
            self._hwmon = sysfs.hwmon(self._device, "amdgpu")
            self._power = None if self._hwmon is None else _power_file(self._hwmon)
            power_w = plausible_w(sysfs.scaled(self._power, 1e6)) if self._power else None
        busy = sysfs.number(self._device / "gpu_busy_percent")
        temperature_c = sysfs.scaled(self._hwmon / "temp1_input", 1e3) if self._hwmon else None
        return Reading(
            at_us=at_us,
            power_w=power_w,
            energy_uj=None,
            utilisation_pct=float(busy) if busy is not None and busy <= 100 else None,
            memory_used_b=sysfs.number(self._device / "mem_info_vram_used"),
            memory_total_b=self._info.memory_total_b,
            temperature_c=temperature_c if temperature_c is not None and temperature_c < 200 else None,
            origin="" if power_w is None or self._power is None else self._power.name,
            limit_w=self._limit(),
            fan_pct=self._fan(),
        )

    def close(self) -> None:
        """Nothing is held open between two reads."""

    def asleep(self) -> bool:
        """True while the kernel has suspended the card (runtime power management)."""
        return sysfs.parked(self._device)

    def _limit(self) -> float | None:
        """In force now; an APU names none, or 0."""
        return (
            None
            if self._hwmon is None
            else plausible_w(sysfs.scaled(self._hwmon / "power1_cap", 1e6)) or None
        )

    def _fan(self) -> float | None:
        """Per cent of its full duty, which hwmon calls 255."""
        duty = None if self._hwmon is None else sysfs.number(self._hwmon / "pwm1")
        return None if duty is None or duty > 255 else duty / 2.55


def _power_file(hwmon: Path) -> Path | None:
    """The instant power where there is one (APUs and new kernels), otherwise the average."""
    for name in ("power1_input", "power1_average"):
        path = hwmon / name
        if path.exists():
            return path
    return None
