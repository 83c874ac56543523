"""NVML through NVIDIA's real binding: only the C library below it is played by a small fake.

`pynvml` finds the library's functions by name in `nvmlLib`; here that is a Python object whose methods fill the
binding's own ctypes structures, as the driver would.
"""

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pynvml
import pytest

from app.power.curves import PowerSpan
from app.power.sensors import SensorError, probe_sensors
from app.power.sensors.nvml import SLOW_US, NvmlSensor, find_nvml

UINT, ULONGLONG, DOUBLE, USHORT = (
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT,
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG,
    pynvml.NVML_VALUE_TYPE_DOUBLE,
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT,
)
UNION = {UINT: "uiVal", ULONGLONG: "ullVal", DOUBLE: "dVal", USHORT: "usVal"}
OK, NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND = 0, 3, 4, 13

Answer = tuple[int, int, float]
"""A field's return code, value type and value."""


def target(argument: Any) -> Any:
    """What a `byref` or a buffer points to."""
    return getattr(argument, "_obj", argument)


class Driver:
    """One RTX 3090 as its driver shows it; every answer can be changed."""

    def __init__(self) -> None:
        self.users = 0
        self.calls: list[str] = []
        self.codes: dict[str, int] = {}
        """Return codes of whole functions."""
        self.gpus = 1
        self.fields: dict[int, Answer] = {
            83: (OK, ULONGLONG, 123_456_789),
            186: (OK, UINT, 171_250),
            185: (OK, UINT, 150_000),
        }
        self.usage_mw = 160_000
        self.arch = pynvml.NVML_DEVICE_ARCH_AMPERE

    def __getattr__(self, name: str) -> Callable[..., int]:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        function = getattr(Driver, "_" + name, None)
        if function is None:
            raise AttributeError(name)

        def call(*arguments: Any) -> int:
            self.calls.append(name)
            code = self.codes.get(name, OK)
            if code == OK and name != "nvmlInitWithFlags" and not self.users:
                return int(pynvml.NVML_ERROR_UNINITIALIZED)
            return code or int(function(self, *[target(argument) for argument in arguments]) or OK)

        return call

    def _nvmlInitWithFlags(self, flags: Any) -> None:
        self.users += 1

    def _nvmlShutdown(self) -> None:
        self.users -= 1

    def _nvmlErrorString(self, code: Any) -> None:
        raise AssertionError("the binding knows these codes itself")

    def _nvmlDeviceGetCount_v2(self, count: Any) -> None:
        count.value = self.gpus

    def _nvmlDeviceGetHandleByIndex_v2(self, index: Any, device: Any) -> None:
        pass

    def _nvmlDeviceGetHandleByUUID(self, uuid: Any, device: Any) -> int:
        return OK if uuid.value == b"GPU-3090" else int(pynvml.NVML_ERROR_NOT_FOUND)

    def _nvmlDeviceGetUUID(self, device: Any, buffer: Any, size: Any) -> None:
        buffer.value = b"GPU-3090"

    def _nvmlDeviceGetName(self, device: Any, buffer: Any, size: Any) -> None:
        buffer.value = b"NVIDIA GeForce RTX 3090"

    def _nvmlDeviceGetEnforcedPowerLimit(self, device: Any, limit: Any) -> None:
        limit.value = 350_000

    def _nvmlDeviceGetMemoryInfo(self, device: Any, memory: Any) -> None:
        memory.total, memory.used, memory.free = 24 * 1024**3, 8 * 1024**3, 16 * 1024**3

    def _nvmlDeviceGetPciInfo_v3(self, device: Any, pci: Any) -> None:
        pci.busId = b"00000000:0A:00.0"

    def _nvmlDeviceGetArchitecture(self, device: Any, arch: Any) -> None:
        arch.value = self.arch

    def _nvmlDeviceGetUtilizationRates(self, device: Any, rates: Any) -> None:
        rates.gpu, rates.memory = 98, 40

    def _nvmlDeviceGetTemperature(self, device: Any, sensor: Any, degrees: Any) -> None:
        degrees.value = 61

    def _nvmlDeviceGetPowerUsage(self, device: Any, power: Any) -> None:
        power.value = self.usage_mw

    def _nvmlDeviceGetFieldValues(self, device: Any, count: Any, values: Any) -> None:
        assert isinstance(values, ctypes.Array)
        assert count.value == len(values)
        for field in values:
            code, kind, value = self.fields[field.fieldId]
            field.timestamp = 1_760_000_000_000_000
            field.latencyUsec = 20
            field.nvmlReturn = code
            if code == OK:
                field.valueType = kind
                setattr(field.value, UNION[kind], value)
            else:
                # The driver leaves the rest as it was: not to be read.
                field.valueType = ULONGLONG
                field.value.ullVal = 0xDEAD_BEEF


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    fake = Driver()
    monkeypatch.setattr(pynvml, "nvmlLib", fake)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    yield fake
    assert fake.users == 0, "NVML was left initialised"


class Clock:
    def __init__(self) -> None:
        self.now = 50_000_000

    def __call__(self) -> int:
        self.now += 10
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def only(clock: Clock, pci_devices: Path = Path("/nowhere")) -> NvmlSensor:
    (sensor,) = find_nvml(clock=clock, pci_devices=pci_devices)
    return sensor


def test_a_gpu_is_found_described_and_left_alone(driver: Driver, clock: Clock) -> None:
    info = only(clock).info
    assert (info.id, info.name, info.vendor, info.source) == (
        "GPU-3090",
        "NVIDIA GeForce RTX 3090",
        "NVIDIA",
        "nvml",
    )
    assert (info.limit_w, info.memory_total_b) == (350.0, 24 * 1024**3)
    assert driver.users == 0


def test_one_call_gives_instant_power_and_energy(driver: Driver, clock: Clock) -> None:
    sensor = only(clock)
    driver.calls.clear()
    reading = sensor.read()
    sensor.close()
    assert reading.power_w == 171.25
    assert reading.energy_uj == 123_456_789_000
    assert (reading.utilisation_pct, reading.temperature_c) == (98.0, 61.0)
    assert (reading.memory_used_b, reading.memory_total_b) == (8 * 1024**3, 24 * 1024**3)
    assert driver.calls.count("nvmlDeviceGetFieldValues") == 1
    assert "nvmlDeviceGetPowerUsage" not in driver.calls


def test_the_instant_power_says_that_it_speaks_of_the_time_since_the_last_renewal(
    driver: Driver, clock: Clock
) -> None:
    sensor = only(clock)
    before = clock.now
    reading = sensor.read()
    sensor.close()
    assert before <= reading.at_us <= clock.now
    assert reading.power_span is PowerSpan.UPDATE


@pytest.mark.parametrize(("kind", "value"), [(UINT, 99_500), (ULONGLONG, 99_500), (DOUBLE, 99_500.0)])
def test_a_value_is_read_by_its_type(driver: Driver, clock: Clock, kind: int, value: float) -> None:
    driver.fields[186] = (OK, kind, value)
    sensor = only(clock)
    assert sensor.read().power_w == 99.5
    sensor.close()


def test_a_value_of_a_type_nobody_knows_is_none(
    driver: Driver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.fields[83] = (OK, USHORT, 7)
    monkeypatch.setitem(UNION, 77, "usVal")
    driver.fields[186] = (OK, 77, 7)
    driver.codes["nvmlDeviceGetPowerUsage"] = NOT_SUPPORTED
    sensor = only(clock)
    reading = sensor.read()
    sensor.close()
    assert reading.energy_uj == 7_000
    assert reading.power_w == 150.0


def test_a_field_that_is_not_supported_is_none_and_costs_no_other(driver: Driver, clock: Clock) -> None:
    driver.fields[83] = (NOT_SUPPORTED, ULONGLONG, 0)
    driver.fields[185] = (NO_PERMISSION, UINT, 0)
    sensor = only(clock)
    reading = sensor.read()
    sensor.close()
    assert (reading.energy_uj, reading.power_w) == (None, 171.25)


@pytest.mark.parametrize(
    ("arch", "span"),
    [
        (pynvml.NVML_DEVICE_ARCH_TURING, PowerSpan.UPDATE),
        (pynvml.NVML_DEVICE_ARCH_AMPERE, PowerSpan.SECOND),
        (pynvml.NVML_DEVICE_ARCH_HOPPER, PowerSpan.SECOND),
        (pynvml.NVML_DEVICE_ARCH_UNKNOWN, PowerSpan.UPDATE),
    ],
)
def test_without_the_instant_field_the_old_call_speaks_of_its_own_time(
    driver: Driver, clock: Clock, arch: int, span: PowerSpan
) -> None:
    driver.arch = arch
    driver.fields[186] = (NOT_SUPPORTED, UINT, 0)
    sensor = only(clock)
    reading = sensor.read()
    sensor.close()
    assert reading.power_w == 160.0
    assert reading.power_span is span


def test_the_average_field_is_the_last_resort(driver: Driver, clock: Clock) -> None:
    driver.fields[186] = (NOT_SUPPORTED, UINT, 0)
    driver.codes["nvmlDeviceGetPowerUsage"] = NOT_SUPPORTED
    sensor = only(clock)
    reading = sensor.read()
    assert (reading.power_w, reading.power_span) == (150.0, PowerSpan.SECOND)
    driver.fields[185] = (NOT_SUPPORTED, UINT, 0)
    assert sensor.read().power_w is None
    sensor.close()


@pytest.mark.parametrize("code", [NOT_SUPPORTED, FUNCTION_NOT_FOUND])
def test_a_driver_without_fields_is_asked_the_old_way_ever_after(
    driver: Driver, clock: Clock, code: int
) -> None:
    driver.codes["nvmlDeviceGetFieldValues"] = code
    sensor = only(clock)
    first, second = sensor.read(), sensor.read()
    sensor.close()
    assert first.power_w == second.power_w == 160.0
    assert first.energy_uj is None
    assert driver.calls.count("nvmlDeviceGetFieldValues") == 1


def test_an_instant_power_that_fails_once_is_not_replaced_by_an_average(driver: Driver, clock: Clock) -> None:
    sensor = only(clock)
    first = sensor.read()
    driver.fields[186] = (pynvml.NVML_ERROR_UNKNOWN, UINT, 0)
    second = sensor.read()
    sensor.close()
    assert second.power_w is None
    assert second.at_us > first.at_us


@pytest.mark.parametrize(
    ("code", "said"), [(15, "fallen off the bus"), (16, "needs a reset"), (9, "no driver"), (18, "updated")]
)
def test_a_lost_gpu_is_said_in_a_sentence_with_the_way_out(
    driver: Driver, clock: Clock, code: int, said: str
) -> None:
    sensor = only(clock)
    sensor.read()
    driver.codes["nvmlDeviceGetFieldValues"] = code
    with pytest.raises(SensorError, match=said) as caught:
        sensor.read()
    assert caught.value.lost
    assert caught.value.sentence.startswith("NVIDIA GeForce RTX 3090 ")
    assert f"(NVML {code})." in caught.value.sentence
    sensor.close()


@pytest.mark.parametrize("code", [15, 16])
def test_a_field_that_says_the_gpu_is_lost_is_believed(driver: Driver, clock: Clock, code: int) -> None:
    driver.fields[83] = (code, ULONGLONG, 0)
    sensor = only(clock)
    with pytest.raises(SensorError) as caught:
        sensor.read()
    assert caught.value.lost
    sensor.close()


def test_another_failure_is_worth_another_try(driver: Driver, clock: Clock) -> None:
    driver.codes["nvmlDeviceGetFieldValues"] = pynvml.NVML_ERROR_TIMEOUT
    sensor = only(clock)
    with pytest.raises(SensorError, match="asked again") as caught:
        sensor.read()
    assert not caught.value.lost
    driver.codes.clear()
    assert sensor.read().power_w == 171.25
    sensor.close()


def test_what_bills_nobody_is_asked_for_twice_a_second(driver: Driver, clock: Clock) -> None:
    sensor = only(clock)
    driver.calls.clear()
    for _ in range(5):
        sensor.read()
    assert driver.calls.count("nvmlDeviceGetUtilizationRates") == 1
    clock.now += SLOW_US
    sensor.read()
    assert driver.calls.count("nvmlDeviceGetUtilizationRates") == 2
    sensor.close()


def test_figures_that_a_gpu_does_not_have_are_none(driver: Driver, clock: Clock) -> None:
    for name in (
        "UtilizationRates",
        "MemoryInfo",
        "Temperature",
        "EnforcedPowerLimit",
        "PciInfo_v3",
        "Architecture",
    ):
        driver.codes[f"nvmlDeviceGet{name}"] = NOT_SUPPORTED
    sensor = only(clock)
    reading = sensor.read()
    sensor.close()
    assert (reading.utilisation_pct, reading.memory_used_b, reading.temperature_c) == (None, None, None)
    assert (sensor.info.limit_w, sensor.info.memory_total_b) == (None, None)
    assert reading.power_w == 171.25
    assert not sensor.asleep()


def test_nothing_is_held_between_close_and_the_next_read(driver: Driver, clock: Clock) -> None:
    sensor = only(clock)
    for _ in range(3):
        sensor.read()
        sensor.read()
        assert driver.users == 1
        sensor.close()
        sensor.close()
        assert driver.users == 0


def test_a_gpu_that_is_gone_when_it_is_opened_again_leaves_nothing_open(driver: Driver, clock: Clock) -> None:
    sensor = only(clock)
    driver.codes["nvmlDeviceGetHandleByUUID"] = pynvml.NVML_ERROR_GPU_IS_LOST
    with pytest.raises(SensorError):
        sensor.read()
    assert driver.users == 0


def test_a_parked_gpu_is_seen_without_waking_it(driver: Driver, clock: Clock, tmp_path: Path) -> None:
    status = tmp_path / "0000:0a:00.0" / "power" / "runtime_status"
    status.parent.mkdir(parents=True)
    status.write_text("suspended\n")
    sensor = only(clock, tmp_path)
    driver.calls.clear()
    assert sensor.asleep()
    status.write_text("active\n")
    assert not sensor.asleep()
    assert driver.calls == []


def test_a_gpu_that_cannot_be_described_does_not_hide_the_others(driver: Driver, clock: Clock) -> None:
    driver.gpus = 2
    seen: list[int] = []

    def by_index(self: Driver, index: Any, device: Any) -> int:
        seen.append(index.value)
        return NO_PERMISSION if index.value == 0 else OK

    original = Driver._nvmlDeviceGetHandleByIndex_v2
    Driver._nvmlDeviceGetHandleByIndex_v2 = by_index  # type: ignore[assignment]
    try:
        assert len(find_nvml(clock=clock)) == 1
    finally:
        Driver._nvmlDeviceGetHandleByIndex_v2 = original  # type: ignore[method-assign]
    assert seen == [0, 1]


@pytest.mark.parametrize("code", [9, 12, 4, 18])
def test_a_machine_without_nvidia_has_no_sensor_and_no_error(
    driver: Driver, clock: Clock, code: int, tmp_path: Path
) -> None:
    driver.codes["nvmlInitWithFlags"] = code
    assert find_nvml(clock=clock) == []
    assert probe_sensors(clock=clock, drm=tmp_path) == []


def test_a_driver_that_breaks_in_its_own_way_costs_only_its_own_sensors(
    driver: Driver, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError("libnvidia-ml.so.1: invalid ELF header")

    monkeypatch.setattr(pynvml, "nvmlInitWithFlags", broken)
    assert probe_sensors(clock=clock, drm=tmp_path) == []


def test_the_probe_finds_what_there_is(driver: Driver, clock: Clock, tmp_path: Path) -> None:
    (sensor,) = probe_sensors(clock=clock, drm=tmp_path)
    assert sensor.info.source == "nvml"
