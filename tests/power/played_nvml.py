"""Builds the NVML that plays a waveform (`played_nvml.c`) and writes what it plays.

The structures are those of the C file, field by field; `build` refuses a library whose size differs from theirs.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
from collections.abc import Iterable
from ctypes import Structure, c_char, c_double, c_int64
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("played_nvml.c")
LIBRARY = "libnvidia-ml.so.1"
CALLS = ("fields", "usage", "utilisation", "memory", "temperature", "fan", "limit", "pci", "architecture")
CALLS += ("running", "shares")
FIELDS = ("energy", "instant", "average")
GPUS, STEPS, PROCESSES = 4, 4096, 8
GB = 1024**3
AMPERE, HOPPER, TURING = 7, 9, 6


class Step(Structure):
    """From `at_us` on the card draws `power_mw`."""

    _fields_ = [("at_us", c_int64), ("power_mw", c_int64)]


class PlayedProcess(Structure):
    """A program on the GPU."""

    _fields_ = [("pid", c_int64), ("memory_b", c_int64), ("busy_pct", c_int64), ("graphics", c_int64)]


class PlayedGpu(Structure):
    """One card; every figure may be changed while it is read."""

    _fields_ = [
        ("uuid", c_char * 96),
        ("name", c_char * 96),
        ("bus_id", c_char * 32),
        ("architecture", c_int64),
        ("lost", c_int64),
        ("_code", c_int64 * len(CALLS)),
        ("_calls", c_int64 * len(CALLS)),
        ("_field_code", c_int64 * len(FIELDS)),
        ("update_us", c_int64),
        ("phase_us", c_int64),
        ("latency_us", c_int64),
        ("window_us", c_int64),
        ("average_us", c_int64),
        ("gain", c_double),
        ("counter_gain", c_double),
        ("counter_start_mj", c_int64),
        ("limit_mw", c_int64),
        ("memory_total_b", c_int64),
        ("memory_used_b", c_int64),
        ("busy_pct", c_int64),
        ("temperature_c", c_int64),
        ("fan_pct", c_int64),
        ("_processes", c_int64),
        ("_process", PlayedProcess * PROCESSES),
        ("_steps", c_int64),
        ("_step", Step * STEPS),
    ]

    def play(self, steps: Iterable[tuple[float, float]]) -> None:
        """Draw these watts from these seconds on."""
        listed = list(steps)
        for at, (seconds, watts) in enumerate(listed):
            self._step[at] = Step(round(seconds * 1e6), round(watts * 1000))
        self._steps = len(listed)

    def run(self, *processes: tuple[int, int, int, bool]) -> None:
        """Have these programs on it: (pid, bytes, per cent, whether it draws)."""
        for at, process in enumerate(processes):
            self._process[at] = PlayedProcess(*process)
        self._processes = len(processes)

    def refuse(self, call: str, code: int) -> None:
        """Answer one kind of call with this return code; 0 ends it."""
        self._code[CALLS.index(call)] = code

    def refuse_field(self, field: str, code: int) -> None:
        """Have one field say this return code of its own; 0 ends it."""
        self._field_code[FIELDS.index(field)] = code

    def calls(self, call: str | None = None) -> int:
        """How often it was asked, in all or by one kind of call."""
        return sum(self._calls) if call is None else self._calls[CALLS.index(call)]


class _Stage(Structure):
    _fields_ = [
        ("init_code", c_int64),
        ("users", c_int64),
        ("now_us", c_int64),
        ("epoch_us", c_int64),
        ("gpus", c_int64),
        ("gpu", PlayedGpu * GPUS),
    ]


class PlayedNvml:
    """A machine's NVIDIA GPUs; `clock` is theirs, in microseconds, and stands still until a test moves it."""

    def __init__(self, folder: Path, gpus: int = 2) -> None:
        self.file = folder / "stage"
        self.file.write_bytes(bytes(ctypes.sizeof(_Stage)))
        with self.file.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._stage: Any = _Stage.from_buffer(self._memory)
        self._stage.gpus = gpus
        self._stage.now_us = 1_000_000_000
        for index in range(gpus):
            _make_3090(self._stage.gpu[index], index)

    @property
    def gpus(self) -> list[PlayedGpu]:
        """The cards."""
        return [self._stage.gpu[index] for index in range(self._stage.gpus)]

    @property
    def users(self) -> int:
        """How many times NVML is initialised and not yet shut down."""
        return int(self._stage.users)

    def clock(self) -> int:
        """The time that the cards go by."""
        return int(self._stage.now_us)

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._stage.now_us += round(seconds * 1e6)

    def go_by_the_machine(self, epoch_us: int) -> None:
        """Go by the machine's monotonic clock from now on; the waveform began at `epoch_us` of it."""
        self._stage.now_us, self._stage.epoch_us = 0, epoch_us

    def refuse(self, code: int) -> None:
        """Answer initialising with this return code; 0 ends it."""
        self._stage.init_code = code

    def environment(self, library: Path) -> dict[str, str]:
        """What a process needs to find this NVML instead of a driver's."""
        return {**os.environ, "LD_LIBRARY_PATH": str(library.parent), "PLAYED_NVML": str(self.file)}


def build(folder: Path) -> Path:
    """The library, compiled into `folder`. Skips the test where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or os.name != "posix":
        pytest.skip("platform: no C compiler is here (on Debian: apt-get install gcc libc6-dev)")
    path = folder / LIBRARY
    # Without a soname: with one, every later search for a driver's library in this process would find this one.
    words = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    made = subprocess.run([compiler, *words, "-o", path, SOURCE], capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    size = ctypes.CDLL(str(path)).played_nvml_size
    size.restype = c_int64
    assert size() == ctypes.sizeof(_Stage), "played_nvml.c and played_nvml.py disagree"
    return path


def _make_3090(gpu: PlayedGpu, index: int) -> None:
    gpu.uuid, gpu.name = f"GPU-3090-{index}".encode(), b"NVIDIA GeForce RTX 3090"
    gpu.bus_id = f"00000000:{index + 10:02X}:00.0".encode()
    gpu.architecture = AMPERE
    gpu.update_us, gpu.window_us, gpu.average_us = 100_000, 100_000, 1_000_000
    gpu.gain = gpu.counter_gain = 1.0
    gpu.counter_start_mj = 123_456_789
    gpu.limit_mw, gpu.memory_total_b, gpu.memory_used_b = 350_000, 24 * GB, 8 * GB
    gpu.busy_pct, gpu.temperature_c, gpu.fan_pct = 98, 61, 40
    gpu.play([(0, 171.25)])
