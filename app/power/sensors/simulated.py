"""The sensor of the simulator's GPU.

Rule: it knows nothing of the simulator but a function that says how its GPU is doing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from app.power.sensors.base import Clock, Reading, SensorError, SensorInfo, monotonic_us


class SimulatedCard(Protocol):
    """The state of a simulated GPU; any object with these attributes will do."""

    @property
    def power_w(self) -> float:
        """Watts."""

    @property
    def utilisation_pct(self) -> float:
        """0 to 100."""

    @property
    def memory_used_b(self) -> int:
        """Bytes."""

    @property
    def memory_total_b(self) -> int:
        """Bytes."""

    @property
    def temperature_c(self) -> float:
        """Degrees Celsius."""


class SimulatedSensor:
    """Reads a simulated GPU; every face says that it is one."""

    def __init__(
        self,
        read_watts: Callable[[], SimulatedCard],
        *,
        clock: Clock = monotonic_us,
        name: str = "Simulated GPU",
        limit_w: float | None = None,
        memory_total_b: int | None = None,
    ) -> None:
        self._read = read_watts
        self._clock = clock
        self._info = SensorInfo(
            id="simulated",
            name=name,
            vendor="simulated",
            source="simulated",
            limit_w=limit_w,
            memory_total_b=memory_total_b,
        )

    @property
    def info(self) -> SensorInfo:
        """What it pretends to be."""
        return self._info

    def read(self) -> Reading:
        """The state at this moment. Raises SensorError where the simulator cannot say."""
        try:
            gpu = self._read()
        except (RuntimeError, OSError, ValueError) as error:
            raise SensorError(
                f"The simulated GPU did not answer ({error}). Restart the simulator.", lost=False
            ) from error
        return Reading(
            at_us=self._clock(),
            power_w=gpu.power_w,
            energy_uj=None,
            utilisation_pct=gpu.utilisation_pct,
            memory_used_b=gpu.memory_used_b,
            memory_total_b=gpu.memory_total_b,
            temperature_c=gpu.temperature_c,
        )

    def close(self) -> None:
        """Nothing is held."""

    def asleep(self) -> bool:
        """Never: reading it costs nothing."""
        return False
