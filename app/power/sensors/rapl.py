"""The processor's energy through Linux's powercap (RAPL, Intel and AMD).

Rule 1: a zone's counter wraps at its own `max_energy_range_uj`; across a stretch in which nobody looked it may have
wrapped more than once, so what it says is counted from the first look after that. Rule 2: since Linux 5.10 (PLATYPUS,
CVE-2020-8694) only root may read it; that is said with its fix, and is no fault of the machine. Rule 3: packages add
up; `psys` is the whole platform, another sensor, and never added to them. A GPU that is part of the processor is in its
package already.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from app.power.curves import PowerSpan
from app.power.exact import plausible_w
from app.power.sensors import sysfs
from app.power.sensors.base import Clock, Reading, SensorError, SensorInfo, monotonic_us

POWERCAP = Path("/sys/class/powercap")
GAP_US = 30_000_000
"""At 1000 W the smallest range in use (65 kJ) lasts for a minute."""

_ZONE = re.compile(r"intel-rapl:\d+")
_FIX = "Let everybody read it until the next start of the machine: sudo chmod a+r {}"


def find_rapl(root: Path = POWERCAP, *, clock: Clock = monotonic_us) -> list[RaplSensor]:
    """The processor's packages as one sensor, then the platform, as far as there are such zones, readable or not."""
    try:
        zones = sorted(entry for entry in root.iterdir() if _ZONE.fullmatch(entry.name))
    except OSError:
        return []
    named = [(sysfs.text(zone / "name"), zone) for zone in zones]
    packages = [zone for name, zone in named if name.startswith("package")]
    platform = [zone for name, zone in named if name == "psys"]
    found = []
    if packages:
        found.append(RaplSensor("package", "Processor", packages, clock=clock))
    if platform:
        found.append(RaplSensor("psys", "Platform", platform, clock=clock))
    return found


class RaplSensor:
    """One or several zones, added up."""

    def __init__(self, id: str, name: str, zones: list[Path], *, clock: Clock = monotonic_us) -> None:
        self._zones = zones
        self._clock = clock
        self._last: list[int] = []
        self._at_us = 0
        self._total_uj = 0
        self._info = SensorInfo(
            id=f"rapl-{id}", name=name, vendor="", source="rapl", limit_w=None, memory_total_b=None
        )

    @property
    def info(self) -> SensorInfo:
        """What it measures."""
        return self._info

    def read(self) -> Reading:
        """One sample; its power is the mean since the last, its energy is counted from the first look. Raises
        SensorError."""
        at_us = self._clock()
        now = [self._count(zone) for zone in self._zones]
        power_w = None
        span_us = at_us - self._at_us
        if self._last and 0 < span_us <= GAP_US:
            drawn_uj = sum(map(self._step, self._zones, self._last, now))
            power_w = plausible_w(drawn_uj / span_us)
            self._total_uj += drawn_uj
        elif not self._last or span_us > GAP_US:
            self._total_uj = 0
        self._last, self._at_us = now, at_us
        return Reading(
            at_us=at_us,
            power_w=power_w,
            energy_uj=self._total_uj,
            utilisation_pct=None,
            memory_used_b=None,
            memory_total_b=None,
            temperature_c=None,
            power_span=PowerSpan.UPDATE,
            origin=self._info.id.removeprefix("rapl-"),
        )

    def close(self) -> None:
        """Forget where the counters were: they may wrap while nobody looks."""
        self._last = []

    def asleep(self) -> bool:
        """Never: the processor that asks is awake."""
        return False

    def _count(self, zone: Path) -> int:
        path = zone / "energy_uj"
        counted = sysfs.number(path, none=frozenset())
        if counted is not None:
            return counted
        try:
            os.close(os.open(path, os.O_RDONLY))
        except PermissionError:
            fix = _FIX.format(path)
            raise SensorError(
                f"{self._info.name}: its energy may be read by root only. {fix}", lost=True
            ) from None
        except OSError:
            pass
        raise SensorError(f"{self._info.name}: its energy cannot be read from {path}.", lost=True)

    @staticmethod
    def _step(zone: Path, before_uj: int, now_uj: int) -> int:
        if now_uj >= before_uj:
            return now_uj - before_uj
        range_uj = sysfs.number(zone / "max_energy_range_uj", none=frozenset()) or 0
        return max(0, now_uj + range_uj - before_uj)
