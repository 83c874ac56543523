"""Intel's discrete GPUs through sysfs (drivers xe and i915).

Rule 1: they count energy (`energy*_input`, µJ) and tell no power; the power here is what the counter says was drawn
since it last moved. Rule 2: there may be two counters, of the card and of its chip, and some cards leave one of them at
rest: the one that moves most is taken, since a card draws no less than its chip. Rule 3: an integrated GPU has no
counter of its own and is not claimed.
"""

from __future__ import annotations

import re
from pathlib import Path

from app.power.curves import PowerSpan
from app.power.exact import plausible_w
from app.power.sensors import sysfs
from app.power.sensors.amdgpu import DRM, cards
from app.power.sensors.base import Clock, Reading, SensorError, SensorInfo, monotonic_us
from app.power.sensors.counted import CountedPower

VENDOR_INTEL = "0x8086"
DRIVERS = ("xe", "i915")
WATCH_US = 1_000_000
"""So long the counters are watched before one is chosen."""

_ENERGY = re.compile(r"energy(\d+)_input")
_LIMITS = ("power1_max", "power1_cap", "power2_max", "power1_rated_max")


def find_intel(root: Path = DRM, *, clock: Clock = monotonic_us) -> list[IntelSensor]:
    """A sensor for every Intel card under `root` that counts energy, by card number."""
    found = []
    for device in cards(root):
        if sysfs.text(device / "vendor") != VENDOR_INTEL or sysfs.uevent(device).get("DRIVER") not in DRIVERS:
            continue
        monitor = sysfs.hwmon(device, *DRIVERS)
        if monitor is not None and _counters(monitor):
            found.append(IntelSensor(device, clock=clock))
    return found


class IntelSensor:
    """One card; `device` is its `…/cardN/device` folder."""

    def __init__(self, device: Path, *, clock: Clock = monotonic_us) -> None:
        self._device = device
        self._clock = clock
        self._hwmon = sysfs.hwmon(device, *DRIVERS)
        self._first: dict[str, int] = {}
        self._watched_us = 0
        self._chosen: str | None = None
        self._power = CountedPower()
        uevent = sysfs.uevent(device)
        self._info = SensorInfo(
            id=uevent.get("PCI_SLOT_NAME") or device.parent.name,
            name=f"Intel GPU {uevent.get('PCI_ID', '')}".strip(),
            vendor="Intel",
            source=uevent.get("DRIVER", "xe"),
            limit_w=self._limit(),
            memory_total_b=None,
        )

    @property
    def info(self) -> SensorInfo:
        """What it measures."""
        return self._info

    def read(self) -> Reading:
        """One sample; without power and energy until its counters were watched for a second. Raises SensorError where
        the card is gone."""
        at_us = self._clock()
        counted = self._counted()
        if not counted:
            if not self._device.is_dir():
                raise SensorError(
                    f"{self._info.name} is no longer there. Plug it in again, or restart the machine.",
                    lost=True,
                )
            # After a reset the driver numbers its hwmon anew.
            self._hwmon = sysfs.hwmon(self._device, *DRIVERS)
            counted = self._counted()
        self._choose(at_us, counted)
        energy_uj = None if self._chosen is None else counted.get(self._chosen)
        temperature_c = None if self._hwmon is None else self._temperature(self._hwmon)
        return Reading(
            at_us=at_us,
            power_w=self._power.look(at_us, energy_uj),
            energy_uj=energy_uj,
            utilisation_pct=None,
            memory_used_b=None,
            memory_total_b=None,
            temperature_c=temperature_c,
            power_span=PowerSpan.UPDATE,
            origin="" if energy_uj is None else f"{self._chosen}_input",
            limit_w=self._limit(),
        )

    def close(self) -> None:
        """Nothing is held open between two reads; what was drawn in between is nobody's power."""
        self._power.forget()

    def asleep(self) -> bool:
        """True while the kernel has suspended the card."""
        return sysfs.parked(self._device)

    def _counted(self) -> dict[str, int]:
        """`energy1` → microjoules, of every counter that can be read."""
        monitor = self._hwmon
        if monitor is None:
            return {}
        said = {name: sysfs.number(monitor / f"{name}_input") for name in _counters(monitor)}
        return {name: counted for name, counted in said.items() if counted is not None}

    def _choose(self, at_us: int, counted: dict[str, int]) -> None:
        if self._chosen in counted or not counted:
            return
        if len(counted) == 1:
            self._chosen = next(iter(counted))
            return
        if set(self._first) != set(counted):
            self._first, self._watched_us = counted, at_us
        elif at_us - self._watched_us >= WATCH_US:
            moved = {name: counted[name] - self._first[name] for name in counted}
            if max(moved.values()) > 0:
                self._chosen = max(moved, key=lambda name: moved[name])

    def _temperature(self, monitor: Path) -> float | None:
        """Of the chip, by its label; other numbers may be of the memory or the slot."""
        for label in sorted(monitor.glob("temp*_label")):
            if sysfs.text(label) == "pkg":
                return sysfs.scaled(label.with_name(label.name.replace("_label", "_input")), 1e3)
        return sysfs.scaled(monitor / "temp1_input", 1e3)

    def _limit(self) -> float | None:
        if self._hwmon is None:
            return None
        said = (plausible_w(sysfs.scaled(self._hwmon / name, 1e6)) for name in _LIMITS)
        return next((limit_w for limit_w in said if limit_w), None)


def _counters(monitor: Path) -> list[str]:
    try:
        names = sorted(entry.name for entry in monitor.iterdir())
    except OSError:
        return []
    return [name.removesuffix("_input") for name in names if _ENERGY.fullmatch(name)]
