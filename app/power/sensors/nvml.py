"""NVIDIA GPUs through NVML (NVIDIA's own binding, nvidia-ml-py).

Rule 1: power and energy come from one call, each field with its own return code; a field that is not supported
is None. Rule 2: the instant power is preferred, and a reading says what its power speaks of: the time since the card
last renewed it, or a whole second (SC'24, arXiv 2312.02741). Rule 3: NVML is initialised only between a first `read`
and `close`.
"""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any, NamedTuple

from app.power.curves import PowerSpan
from app.power.sensors import sysfs
from app.power.sensors.base import Clock, GpuProcess, Reading, SensorError, SensorInfo, monotonic_us
from app.power.sensors.nvml_processes import Processes

FIELD_ENERGY_MJ = 83
"""NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION: mJ since the driver was loaded, Volta and newer."""
FIELD_POWER_AVERAGE_MW = 185
FIELD_POWER_INSTANT_MW = 186
FIELDS = [FIELD_ENERGY_MJ, FIELD_POWER_INSTANT_MW, FIELD_POWER_AVERAGE_MW]

NOT_SUPPORTED = 3
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16

ARCH_AMPERE = 7
"""From this architecture on, `nvmlDeviceGetPowerUsage` is the mean of a second."""
ARCH_UNKNOWN = 0xFFFF_FFFF

SLOW_US = 500_000
"""All but power and energy is asked for this often."""

PCI_DEVICES = Path("/sys/bus/pci/devices")

_UNION_FIELD = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Where `c_nvmlFieldValue_t.value` keeps a value of each `valueType`."""

_LOST = {
    9: "has no driver loaded. Install or start NVIDIA's driver",
    GPU_IS_LOST: "has fallen off the bus. Restart the machine; if it happens again, check power and seating",
    RESET_REQUIRED: "needs a reset. Restart the machine",
    18: "has a driver that was updated while it ran. Restart the machine",
    28: "is no longer there. Restart the machine",
}

log = logging.getLogger(__name__)


def find_nvml(
    nvml: Any = None, *, clock: Clock = monotonic_us, pci_devices: Path = PCI_DEVICES
) -> list[NvmlSensor]:
    """A sensor for every NVIDIA GPU; none where there is no NVML. `nvml` is the module `pynvml` or its like."""
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return []
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        log.info("no NVIDIA GPU: %s", error)
        return []
    found: list[NvmlSensor] = []
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                found.append(NvmlSensor(nvml, handle, clock=clock, pci_devices=pci_devices))
            except nvml.NVMLError as error:
                log.warning("NVIDIA GPU %d cannot be read: %s", index, error)
    except nvml.NVMLError as error:
        log.warning("NVIDIA GPUs cannot be counted: %s", error)
    finally:
        _shutdown(nvml)
    return found


class _Slow(NamedTuple):
    """What is asked for less often."""

    utilisation_pct: float | None = None
    memory_used_b: int | None = None
    temperature_c: float | None = None
    limit_w: float | None = None
    fan_pct: float | None = None
    processes: tuple[GpuProcess, ...] | None = None


class NvmlSensor:
    """One GPU. Made while NVML is initialised, with a handle that is only used to describe the GPU."""

    def __init__(self, nvml: Any, handle: Any, *, clock: Clock, pci_devices: Path = PCI_DEVICES) -> None:
        self._nvml = nvml
        self._clock = clock
        self._handle: Any = None
        self._field_values = True
        self._instant_seen = False
        self._slow_at_us: int | None = None
        self._slow = _Slow()
        self._processes = Processes(nvml, self._ask, clock)
        uuid = _string(nvml.nvmlDeviceGetUUID(handle))
        limit_mw = self._ask(nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        pci = self._ask(nvml.nvmlDeviceGetPciInfo, handle)
        arch = self._ask(nvml.nvmlDeviceGetArchitecture, handle)
        averaged = arch is not None and ARCH_AMPERE <= arch < ARCH_UNKNOWN
        self._usage_span = PowerSpan.SECOND if averaged else PowerSpan.UPDATE
        self.address = None if pci is None else _sysfs_address(pci)
        """On the PCI bus, as sysfs spells it."""
        self._device = None if self.address is None else pci_devices / self.address
        self._info = SensorInfo(
            id=uuid,
            name=_string(nvml.nvmlDeviceGetName(handle)),
            vendor="NVIDIA",
            source="nvml",
            limit_w=None if limit_mw is None else limit_mw / 1000,
            memory_total_b=None if memory is None else int(memory.total),
        )

    @property
    def info(self) -> SensorInfo:
        """What it measures."""
        return self._info

    def read(self) -> Reading:
        """One sample. Raises SensorError, `lost` where only a person can bring the GPU back."""
        before_us = self._clock()
        try:
            handle = self._open()
            energy_uj, power_w, span, origin = self._power(handle)
            after_us = self._clock()
            if self._slow_at_us is None or after_us - self._slow_at_us >= SLOW_US:
                self._slow, self._slow_at_us = self._look(handle), after_us
        except self._nvml.NVMLError as error:
            raise self._translated(error) from error
        slow = self._slow
        return Reading(
            at_us=(before_us + after_us) // 2,
            power_w=power_w,
            energy_uj=energy_uj,
            utilisation_pct=slow.utilisation_pct,
            memory_used_b=slow.memory_used_b,
            memory_total_b=self._info.memory_total_b,
            temperature_c=slow.temperature_c,
            power_span=span,
            origin=origin,
            limit_w=slow.limit_w,
            fan_pct=slow.fan_pct,
            processes=slow.processes,
        )

    def close(self) -> None:
        """Shut NVML down, so that the GPU may sleep."""
        if self._handle is not None:
            self._handle = None
            self._slow_at_us = None
            _shutdown(self._nvml)

    def asleep(self) -> bool:
        """True while the kernel has parked the GPU; NVML would wake it."""
        return self._device is not None and sysfs.parked(self._device)

    def _open(self) -> Any:
        if self._handle is None:
            self._nvml.nvmlInit()
            try:
                self._handle = self._nvml.nvmlDeviceGetHandleByUUID(self._info.id)
            finally:
                if self._handle is None:
                    _shutdown(self._nvml)
        return self._handle

    def _power(self, handle: Any) -> tuple[int | None, float | None, PowerSpan, str]:
        """(energy_uj, power_w, what the power speaks of, which of NVML's figures it is)."""
        energy_mj = instant_mw = average_mw = None
        if self._field_values:
            try:
                energy_mj, instant_mw, average_mw = map(
                    self._field, self._nvml.nvmlDeviceGetFieldValues(handle, FIELDS)
                )
            except self._nvml.NVMLError as error:
                if error.value not in (NOT_SUPPORTED, FUNCTION_NOT_FOUND):
                    raise
                self._field_values = False
        energy_uj = None if energy_mj is None else int(energy_mj * 1000)
        if instant_mw is not None:
            self._instant_seen = True
            return energy_uj, instant_mw / 1000, PowerSpan.UPDATE, "instant"
        if self._instant_seen:
            # An average in between would speak of another time than its neighbours.
            return energy_uj, None, PowerSpan.UPDATE, ""
        usage_mw = self._ask(self._nvml.nvmlDeviceGetPowerUsage, handle)
        if usage_mw is not None:
            return energy_uj, usage_mw / 1000, self._usage_span, "usage"
        if average_mw is not None:
            return energy_uj, average_mw / 1000, PowerSpan.SECOND, "average"
        return energy_uj, None, PowerSpan.SECOND, ""

    def _field(self, field: Any) -> float | int | None:
        """One `c_nvmlFieldValue_t`: its value by its type, or None by its own return code."""
        if field.nvmlReturn in _LOST:
            raise self._nvml.NVMLError(field.nvmlReturn)
        if field.nvmlReturn != 0 or not 0 <= field.valueType < len(_UNION_FIELD):
            return None
        value: float | int = getattr(field.value, _UNION_FIELD[field.valueType])
        return value

    def _look(self, handle: Any) -> _Slow:
        nvml = self._nvml
        rates = self._ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        temperature = self._ask(nvml.nvmlDeviceGetTemperature, handle, 0)
        limit_mw = self._ask(nvml.nvmlDeviceGetEnforcedPowerLimit, handle)
        fan = self._ask(nvml.nvmlDeviceGetFanSpeed, handle)
        return _Slow(
            utilisation_pct=None if rates is None else float(rates.gpu),
            memory_used_b=None if memory is None else int(memory.used),
            temperature_c=None if temperature is None else float(temperature),
            limit_w=None if limit_mw is None else limit_mw / 1000,
            fan_pct=None if fan is None else float(fan),
            processes=self._processes.look(handle),
        )

    def _ask(self, function: Any, *arguments: Any) -> Any:
        """The answer, or None where this GPU has none; what means that the GPU is lost is raised."""
        try:
            return function(*arguments)
        except self._nvml.NVMLError as error:
            if error.value in _LOST:
                raise
            return None

    def _translated(self, error: Any) -> SensorError:
        code = int(error.value)
        why = _LOST.get(code)
        if why is not None:
            return SensorError(f"{self._info.name} {why} (NVML {code}).", lost=True)
        return SensorError(
            f"{self._info.name} did not tell its power ({error}, NVML {code}). It will be asked again.",
            lost=False,
        )


def _shutdown(nvml: Any) -> None:
    try:
        nvml.nvmlShutdown()
    except nvml.NVMLError as error:
        log.info("NVML did not shut down: %s", error)


def _string(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _sysfs_address(pci: Any) -> str:
    """«0000:01:00.0» from NVML's «00000000:01:00.0»."""
    domain, _, rest = _string(pci.busId).lower().partition(":")
    return f"{domain[-4:]}:{rest}"
