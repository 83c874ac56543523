"""The meter keeps what the GPU draws at rest: learned while a face looks, told when the sensor comes to rest."""

from __future__ import annotations

import asyncio

import pytest

from app.power import baseline
from app.power.accounts import StaticWatts
from app.power.baseline import KeptIdle
from app.power.meter import Meter
from app.power.sensors.base import Reading, SensorInfo, monotonic_us


class Steady:
    """A GPU at rest; `enough` is set after `reads` readings."""

    info = SensorInfo("GPU-1", "A GPU", "NVIDIA", "nvml", 350.0, None)

    def __init__(self, reads: int) -> None:
        self.left = reads
        self.enough = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def read(self) -> Reading:
        self.left -= 1
        if self.left == 0:
            self._loop.call_soon_threadsafe(self.enough.set)
        return Reading(monotonic_us(), 22.0, None, 0.0, 1 << 30, None, None)

    def close(self) -> None:
        pass

    def asleep(self) -> bool:
        return False


async def test_what_was_learned_is_handed_over_once_the_sensor_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "SETTLE_US", 0)
    monkeypatch.setattr(baseline, "WINDOW_US", 100_000)
    sensor = Steady(reads=12)
    kept: asyncio.Queue[KeptIdle] = asyncio.Queue()
    meter = Meter(
        sensor,
        StaticWatts(15, 54, 45, 65),
        dedicated=False,
        rate_hz=50,
        tail_s=0,
        cost_per_hour=lambda watts: 0,
        loop=asyncio.get_running_loop(),
        keep=kept.put_nowait,
    )
    meter.watching(sensor, active=True)
    async with asyncio.timeout(10):
        await sensor.enough.wait()
        meter.watching(sensor, active=False)
        told = await kept.get()
    meter.stop()
    assert told.empty is not None
    assert told.empty.watts == 22.0
    assert told.empty.at_us > 1_600_000_000_000_000
    assert told.least_memory_b == 1 << 30
