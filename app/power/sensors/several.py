"""Several GPUs metered as one: what Ollama spreads a model over is one bill.

Rule 1: a sum is known only where each part is: one GPU that does not tell its power makes the sum None, never less.
Rule 2: a parked GPU is not read, and draws nothing that its owner pays for; its counter stands where it stood.
Rule 3: each GPU's own reading stays beside the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from app.power.curves import PowerSpan
from app.power.sensors.base import Reading, Sensor, SensorInfo

SEVERAL = "several"
"""The source of a sum of different makers' GPUs, as records say it."""

N = TypeVar("N", int, float)


def as_one(sensors: Sequence[Sensor]) -> Sensor:
    """One sensor for all of them; they are at least one."""
    return sensors[0] if len(sensors) == 1 else SensorGroup(sensors)


class SensorGroup:
    """GPUs that are read one after the other, within a millisecond or so, and added up."""

    def __init__(self, sensors: Sequence[Sensor]) -> None:
        self._sensors = tuple(sensors)
        self._counted: list[int | None] = [None] * len(self._sensors)

    @property
    def info(self) -> SensorInfo:
        """All of them: their names, and the sums of their limits and memories."""
        infos = [sensor.info for sensor in self._sensors]
        sources = list(dict.fromkeys(info.source for info in infos))
        return SensorInfo(
            id="+".join(info.id for info in infos),
            name=_named(info.name for info in infos),
            vendor=", ".join(dict.fromkeys(info.vendor for info in infos)),
            source=sources[0] if len(sources) == 1 else SEVERAL,
            limit_w=_sum([info.limit_w for info in infos]),
            memory_total_b=_sum([info.memory_total_b for info in infos]),
        )

    def read(self) -> Reading:
        """One sample of each that is awake. Raises SensorError where one of them fails."""
        parts = []
        for place, sensor in enumerate(self._sensors):
            if sensor.asleep():
                sensor.close()
                continue
            reading = sensor.read()
            self._counted[place] = reading.energy_uj
            parts.append(replace(reading, device=sensor.info.id))
        first = parts[0] if parts else self._sensors[0].read()
        spans = {part.power_span for part in parts}
        programs = [part.processes for part in parts]
        return replace(
            first,
            at_us=sum(part.at_us for part in parts) // len(parts) if parts else first.at_us,
            power_w=_sum([part.power_w for part in parts]),
            energy_uj=_sum(self._counted),
            utilisation_pct=_most(part.utilisation_pct for part in parts),
            memory_used_b=_sum([part.memory_used_b for part in parts]),
            memory_total_b=_sum([sensor.info.memory_total_b for sensor in self._sensors]),
            temperature_c=_most(part.temperature_c for part in parts),
            power_span=spans.pop() if len(spans) == 1 else PowerSpan.UPDATE,
            origin="+".join(dict.fromkeys(part.origin for part in parts)),
            limit_w=_sum([sensor.info.limit_w for sensor in self._sensors]),
            fan_pct=_most(part.fan_pct for part in parts),
            processes=None
            if any(one is None for one in programs)
            else tuple(each for one in programs for each in one or ()),
            parts=tuple(parts),
        )

    def close(self) -> None:
        """Let go of all of them."""
        for sensor in self._sensors:
            sensor.close()

    def asleep(self) -> bool:
        """True while every one of them is parked."""
        return all(sensor.asleep() for sensor in self._sensors)


def _named(names: Iterable[str]) -> str:
    counted: dict[str, int] = {}
    for name in names:
        counted[name] = counted.get(name, 0) + 1
    return ", ".join(name if times == 1 else f"{times} × {name}" for name, times in counted.items())


def _sum(values: Sequence[N | None]) -> N | None:
    """None where one is not known, or there are none."""
    known = [value for value in values if value is not None]
    return sum(known[1:], start=known[0]) if known and len(known) == len(values) else None


def _most(values: Iterable[float | None]) -> float | None:
    """Of those that are known."""
    return max((value for value in values if value is not None), default=None)
