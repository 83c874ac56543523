"""What reading a GPU ten times a second costs: NVIDIA's real binding above the C library that plays a card, the
sampler's threads, and the meter on its loop, as in the gateway while a request runs."""

from __future__ import annotations

import asyncio
import ctypes
import tempfile
import time
from pathlib import Path
from typing import Any

import pynvml

from app.power.accounts import StaticWatts
from app.power.meter import Meter
from app.power.sampler import Sampler
from app.power.sensors.nvml import find_nvml
from tests.bench.tools import BenchFailed
from tests.power.played_nvml import PlayedNvml, build


def measure(seconds: float = 20.0) -> dict[str, Any]:
    """`cpu_percent` of one core over `seconds`, and the `readings` a second; `read_percent` is the part of sensor and
    sampler, without the meter and its loop."""
    with tempfile.TemporaryDirectory() as name:
        played = PlayedNvml(Path(name))
        library = ctypes.CDLL(str(build(Path(name))))
        if library.played_nvml_open(str(played.file).encode()):
            raise BenchFailed("the played NVML cannot be opened")
        played.go_by_the_machine(time.monotonic_ns() // 1000)
        played.gpus[0].run((4711, 6 << 30, 90, False))
        pynvml.nvmlLib = library
        read_percent = _read_alone(seconds)
        return {**asyncio.run(_measure(played, seconds)), "read_percent": read_percent}


def _read_alone(seconds: float) -> float:
    sampler = Sampler(find_nvml()[0], lambda outcome: None, rate_hz=10)
    sampler.wake()
    time.sleep(2)
    cpu_s = time.process_time()
    time.sleep(seconds)
    cpu_s = time.process_time() - cpu_s
    sampler.stop()
    return cpu_s / seconds * 100


async def _measure(played: PlayedNvml, seconds: float) -> dict[str, Any]:
    meter = Meter(
        find_nvml()[0],
        StaticWatts(15, 54, 45, 65),
        dedicated=False,
        rate_hz=10,
        tail_s=0,
        cost_per_hour=lambda watts: 0,
        loop=asyncio.get_running_loop(),
    )
    meter.open("bench")
    await asyncio.sleep(2)
    calls, cpu_s = played.gpus[0].calls("fields"), time.process_time()
    await asyncio.sleep(seconds)
    cpu_s = time.process_time() - cpu_s
    calls = played.gpus[0].calls("fields") - calls
    meter.close("bench")
    meter.stop()
    return {"cpu_percent": cpu_s / seconds * 100, "readings": calls / seconds}


if __name__ == "__main__":
    print(measure())
