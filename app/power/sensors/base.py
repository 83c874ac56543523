"""What every power sensor is: one small protocol, its data, and the sensor that is not there.

Rule 1: a sensor blocks, and may hang; only the sampler's own thread calls it. Rule 2: a figure that cannot be had
is None, never zero. Rule 3: between `close` and the next `read` a sensor holds nothing open, because an open
handle keeps a laptop's GPU awake (5 to 25 W).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from app.power.curves import PowerSpan

Clock = Callable[[], int]
"""Monotonic microseconds."""


def monotonic_us() -> int:
    """The clock that sensors use unless they are given another one."""
    return time.monotonic_ns() // 1000


class SensorError(Exception):
    """A reading failed. `sentence` is for people; `lost` says that trying again soon is of no use."""

    def __init__(self, sentence: str, *, lost: bool) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.lost = lost


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """One program that uses the GPU."""

    pid: int
    memory_b: int | None
    """Of the GPU's memory; None where the system does not tell (Windows, a container without the right)."""
    busy_pct: float | None
    """Of the GPU's time, over the last second or so; None where no sensor tells."""
    graphics: bool
    """Whether it draws; otherwise it computes."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One sample."""

    at_us: int
    """When it was taken: monotonic. What its figures speak of, and since when, is for the accounts to find out."""
    power_w: float | None
    energy_uj: int | None
    """The GPU's own counter since its driver was loaded."""
    utilisation_pct: float | None
    memory_used_b: int | None
    memory_total_b: int | None
    temperature_c: float | None
    power_span: PowerSpan = PowerSpan.MOMENT
    """What `power_w` speaks of."""
    origin: str = ""
    """Which of the source's figures `power_w` is, in the source's own word: `instant`, `average`, `power1_input` …"""
    limit_w: float | None = None
    """The limit in force now, which its owner may have changed since the sensor was found."""
    fan_pct: float | None = None
    processes: tuple[GpuProcess, ...] | None = None
    """None where they cannot be had, which is not «nobody»."""
    device: str = ""
    """Where this is one of several GPUs that are read together: its sensor's id."""
    parts: tuple[Reading, ...] = ()
    """Where this is a sum: what each GPU said."""


@dataclass(frozen=True, slots=True)
class SensorInfo:
    """What a sensor measures."""

    id: str
    """Stable across restarts: a UUID or a PCI address."""
    name: str
    vendor: str
    source: str
    """`nvml`, `amdgpu`, `xe` … or `simulated`, as records say it; `model` where nothing is measured."""
    limit_w: float | None
    memory_total_b: int | None


class Sensor(Protocol):
    """One GPU's power."""

    @property
    def info(self) -> SensorInfo:
        """What it measures; known without touching the GPU."""

    def read(self) -> Reading:
        """One sample; opens what it needs. Blocks. Raises SensorError."""

    def close(self) -> None:
        """Let go of the GPU. The next `read` takes hold of it again. Never raises."""

    def asleep(self) -> bool:
        """True while the GPU is parked, so that reading would wake it. Does not wake it."""


class NullSensor:
    """No sensor: never to be polled, and nothing known."""

    info = SensorInfo(
        id="none", name="No power sensor", vendor="", source="model", limit_w=None, memory_total_b=None
    )

    def __init__(self, clock: Clock = monotonic_us) -> None:
        self._clock = clock

    def read(self) -> Reading:
        """The time, and nothing else."""
        return Reading(self._clock(), None, None, None, None, None, None)

    def close(self) -> None:
        """Nothing is held."""

    def asleep(self) -> bool:
        """Always: there is nothing to read."""
        return True
