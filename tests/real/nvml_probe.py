"""Records what a real NVIDIA card says of its power while a known load comes and goes.

`python -m tests.real.nvml_probe FOLDER` needs nothing but the driver and `pynvml`: the load is a few lines of PTX that
the driver itself compiles. It takes a minute. What an H200 said is in docs/power-probe.md, and its readings are in
tests/power/data/h200_pulses.csv.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import json
import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml as nvml

from app.power.sensors.nvml import FIELDS

LOADS_S = (0.5, 1.0, 2.0, 3.42, 5.9, 1.0, 0.3, 1.0, 5.0, 1.0)
PAUSE_S = 3.0
EVERY_S = 0.004
BLOCKS, THREADS = 1056, 256
SLICE_S = 0.02
"""So long one launch runs at most; the load ends within this of its time."""
COLUMNS = ("t_s", "instant_w", "average_w", "energy_mj")
_UNION = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")

BURN = b"""
.version 6.4
.target sm_70
.address_size 64
.visible .entry burn(.param .u64 result, .param .u64 cycles)
{
  .reg .pred more;
  .reg .f32 x<5>;
  .reg .u64 began, now, wanted, address;
  .reg .u32 turn;
  ld.param.u64 wanted, [cycles];
  ld.param.u64 address, [result];
  mov.u64 began, %clock64;
  mov.f32 x1, 0f3F800001;
  mov.f32 x2, 0f3F800002;
  mov.f32 x3, 0f3F800003;
  mov.f32 x4, 0f3F7FFFF0;
AGAIN:
  mov.u32 turn, 0;
TURN:
  fma.rn.f32 x1, x1, x4, x2;
  fma.rn.f32 x2, x2, x4, x3;
  fma.rn.f32 x3, x3, x4, x1;
  fma.rn.f32 x1, x1, x4, x3;
  add.u32 turn, turn, 1;
  setp.lt.u32 more, turn, 512;
  @more bra TURN;
  mov.u64 now, %clock64;
  sub.u64 now, now, began;
  setp.lt.u64 more, now, wanted;
  @more bra AGAIN;
  add.f32 x1, x1, x2;
  st.global.f32 [address], x1;
  ret;
}
"""


class Load:
    """Keeps every multiprocessor of the first card busy, through the driver's own interface."""

    def __init__(self) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        device, context, module = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._kernel, self._memory = ctypes.c_void_p(), ctypes.c_uint64()
        self._ask("cuInit", 0)
        self._ask("cuDeviceGet", ctypes.byref(device), 0)
        self._ask("cuCtxCreate_v2", ctypes.byref(context), 0, device)
        self._ask("cuModuleLoadData", ctypes.byref(module), BURN)
        self._ask("cuModuleGetFunction", ctypes.byref(self._kernel), module, b"burn")
        self._ask("cuMemAlloc_v2", ctypes.byref(self._memory), ctypes.c_size_t(1 << 20))
        began = time.monotonic()
        self._launch(100_000_000)
        self._hz = 100_000_000 / (time.monotonic() - began)

    def run(self, seconds: float) -> None:
        """For about so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._launch(int(self._hz * min(SLICE_S, max(0.001, left))))

    def _launch(self, cycles: int) -> None:
        result, wanted = ctypes.c_uint64(self._memory.value), ctypes.c_uint64(cycles)
        arguments = (ctypes.c_void_p * 2)(ctypes.addressof(result), ctypes.addressof(wanted))
        self._ask("cuLaunchKernel", self._kernel, BLOCKS, 1, 1, THREADS, 1, 1, 0, None, arguments, None)
        self._ask("cuCtxSynchronize")

    def _ask(self, function: str, *arguments: Any) -> None:
        code = getattr(self._cuda, function)(*arguments)
        if code:
            raise SystemExit(f"{function} failed with CUDA's code {code}.")


class Recorder:
    """Reads the three fields in one call, as often as the driver lets it, in a thread of its own."""

    def __init__(self, handle: Any) -> None:
        self.rows: list[tuple[float, float | None, float | None, float | None]] = []
        self.codes: set[tuple[int, ...]] = set()
        self.cost_s: list[float] = []
        self._handle = handle
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._record)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def _record(self) -> None:
        while not self._stop.wait(EVERY_S):
            before = self.now()
            fields = nvml.nvmlDeviceGetFieldValues(self._handle, FIELDS)
            after = self.now()
            self.cost_s.append(after - before)
            self.codes.add(tuple(field.nvmlReturn for field in fields))
            energy, instant, average = (
                getattr(field.value, _UNION[field.valueType]) if field.nvmlReturn == 0 else None
                for field in fields
            )
            watts = [None if milliwatts is None else milliwatts / 1000 for milliwatts in (instant, average)]
            self.rows.append(((before + after) / 2, watts[0], watts[1], energy))


def asked(function: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, or NVML's code where this card has none."""
    try:
        return function(*arguments)
    except nvml.NVMLError as error:
        return f"NVML {error.value}"


def main() -> None:
    """Writes readings.csv (a row where anything changed), marks.csv (start and end of each load) and card.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    nvml.nvmlInit()
    card = nvml.nvmlDeviceGetHandleByIndex(0)
    marks = []
    with Recorder(card) as recorder:
        time.sleep(4)
        load = Load()
        processes = asked(nvml.nvmlDeviceGetComputeRunningProcesses, card)
        time.sleep(5)
        for seconds in LOADS_S:
            began = recorder.now()
            load.run(seconds)
            marks.append((began, recorder.now()))
            time.sleep(PAUSE_S)
    changed = [
        row
        for row, before in zip(recorder.rows, [None, *recorder.rows], strict=False)
        if before is None or row[1:] != before[1:]
    ]
    with (folder / "readings.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *((f"{row[0]:.3f}", *row[1:]) for row in changed)])
    with (folder / "marks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("start_s", "end_s"), *((f"{a:.3f}", f"{b:.3f}") for a, b in marks)])
    told = {
        "name": str(nvml.nvmlDeviceGetName(card)),
        "driver": str(nvml.nvmlSystemGetDriverVersion()),
        "architecture": asked(nvml.nvmlDeviceGetArchitecture, card),
        "enforced_limit_mw": asked(nvml.nvmlDeviceGetEnforcedPowerLimit, card),
        "fan": asked(nvml.nvmlDeviceGetFanSpeed, card),
        "return_codes": sorted(recorder.codes),
        "read_ms": round(statistics.median(recorder.cost_s) * 1000, 2),
        "own_process_listed": isinstance(processes, list) and os.getpid() in [one.pid for one in processes],
    }
    (folder / "card.json").write_text(json.dumps(told, indent=1))
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
