"""Which programs use an NVIDIA GPU, and for how much of its time.

Rule 1: a program is named once, as one that computes where it does both. Rule 2: its share of the GPU's time is the
newest sample that the driver took of it. The driver samples only what is busy and about once a second, so a share holds
for SHARE_US and is 0 after that; where the driver takes no samples at all (WSL, MIG) it is None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.power.sensors.base import Clock, GpuProcess

NOT_FOUND = 6
"""NVML_ERROR_NOT_FOUND: no sample since the time that was asked for."""

SHARE_US = 2_000_000

Ask = Callable[..., Any]
"""`ask(function, *arguments)`: the answer, or None where this GPU has none; raises what means that it is lost."""


class Processes:
    """The programs of one GPU, look by look."""

    def __init__(self, nvml: Any, ask: Ask, clock: Clock) -> None:
        self._nvml = nvml
        self._ask = ask
        self._clock = clock
        self._seen: dict[int, tuple[float, int]] = {}
        """Process number → its share and when that was seen."""
        self._sampled_us = 0
        """The driver's own time of the newest sample that was seen; its ring holds some seconds."""

    def look(self, handle: Any) -> tuple[GpuProcess, ...] | None:
        """Everybody who holds the GPU now, by process number; None where the driver does not list them."""
        drawing = self._listed("nvmlDeviceGetGraphicsRunningProcesses", handle)
        computing = self._listed("nvmlDeviceGetComputeRunningProcesses", handle)
        if drawing is None and computing is None:
            return None
        listed = {**(drawing or {}), **(computing or {})}
        if not listed:
            return ()
        shares = self._shares(handle)
        return tuple(
            GpuProcess(
                pid=pid,
                memory_b=listed[pid],
                busy_pct=None if shares is None else shares.get(pid, 0.0),
                graphics=pid not in (computing or {}),
            )
            for pid in sorted(listed)
        )

    def _listed(self, function: str, handle: Any) -> dict[int, int | None] | None:
        """Process number → bytes of the GPU's memory."""
        found = None
        for version in ("_v3", "_v2"):
            # The binding's unversioned name raises something else than an NVMLError below a driver without v3.
            found = self._ask(getattr(self._nvml, function + version), handle)
            if found is not None:
                break
        if found is None:
            return None
        return {
            int(each.pid): None if each.usedGpuMemory is None else int(each.usedGpuMemory) for each in found
        }

    def _shares(self, handle: Any) -> dict[int, float] | None:
        """Process number → per cent of the GPU's time."""
        samples = self._ask(self._new_samples, handle)
        if samples is None:
            return None
        now_us = self._clock()
        for sample in sorted(samples, key=lambda sample: int(sample.timeStamp)):
            self._seen[int(sample.pid)] = (min(100.0, float(sample.smUtil)), now_us)
            self._sampled_us = int(sample.timeStamp)
        self._seen = {pid: seen for pid, seen in self._seen.items() if now_us - seen[1] < SHARE_US}
        return {pid: share for pid, (share, _) in self._seen.items()}

    def _new_samples(self, handle: Any) -> list[Any]:
        try:
            return list(self._nvml.nvmlDeviceGetProcessUtilization(handle, self._sampled_us))
        except self._nvml.NVMLError as error:
            if error.value == NOT_FOUND:
                return []
            raise
