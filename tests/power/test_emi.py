"""Windows' energy meters, by the bytes of Microsoft's emi.h."""

from __future__ import annotations

import struct

import pytest

from app.power.sensors import SensorError
from app.power.sensors.emi import (
    GET_MEASUREMENT,
    GET_METADATA,
    GET_METADATA_SIZE,
    GET_VERSION,
    EmiSensor,
    channels,
    emi_devices,
    find_emi,
)
from tests.power.test_intel import Clock


def channel(name: str, unit: int = 0) -> bytes:
    text = f"{name}\0".encode("utf-16-le")
    return struct.pack("<IH", unit, len(text)) + text


class Meter:
    """A meter of version 2 with these channels, or of version 1 with one."""

    def __init__(self, *names: str, version: int = 2) -> None:
        self.picowatt_hours = [0] * len(names)
        head = "Maker".ljust(16, "\0").encode("utf-16-le") + "Model".ljust(16, "\0").encode("utf-16-le")
        if version == 2:
            metadata = head + struct.pack("<HH", 1, len(names)) + b"".join(map(channel, names))
        else:
            text = names[0].encode("utf-16-le")
            metadata = struct.pack("<I", 0) + head + struct.pack("<HH", 1, len(text)) + text
        self.answers = {
            GET_VERSION: struct.pack("<H", version),
            GET_METADATA_SIZE: struct.pack("<I", len(metadata)),
            GET_METADATA: metadata,
        }
        self.open = True

    def ask(self, code: int, size_b: int) -> bytes:
        if not self.open:
            raise OSError("closed")
        if code == GET_MEASUREMENT:
            told = b"".join(struct.pack("<QQ", counted, 0) for counted in self.picowatt_hours)
        else:
            told = self.answers[code]
        assert len(told) <= size_b
        return told

    def close(self) -> None:
        self.open = False


INTEL = ("RAPL_Package0_PKG", "RAPL_Package0_PP0", "RAPL_Package0_PP1", "RAPL_Package0_DRAM")


def test_the_channels_are_read_by_their_lengths() -> None:
    assert channels(Meter(*INTEL)) == list(INTEL)
    assert channels(Meter("CPU_PKG", version=1)) == ["CPU_PKG"]


def test_packages_are_added_up_and_their_parts_are_not() -> None:
    clock = Clock()
    meters = [Meter(*INTEL), Meter("RAPL_Package1_PKG")]
    sensor = EmiSensor(lambda: meters, clock=clock)
    assert sensor.read().power_w is None
    clock.now += 100_000
    meters[0].picowatt_hours = [10**9, 7 * 10**8, 0, 10**8]  # 3.6 J of the package
    meters[1].picowatt_hours = [5 * 10**8]
    reading = sensor.read()
    assert (reading.energy_uj, reading.power_w, reading.origin) == (5_400_000, 54.0, "package")
    sensor.close()
    assert not any(meter.open for meter in meters)


def test_a_meter_without_packages_or_with_another_unit_is_no_sensor() -> None:
    assert find_emi(lambda: [Meter("GPU", "Display")]) == []
    odd = Meter("X")
    odd.answers[GET_METADATA] = odd.answers[GET_METADATA][:68] + channel("RAPL_Package0_PKG", unit=7)
    odd.answers[GET_METADATA_SIZE] = struct.pack("<I", len(odd.answers[GET_METADATA]))
    assert channels(odd) == [None]
    assert find_emi(lambda: [odd]) == []
    assert [sensor.info.source for sensor in find_emi(lambda: [Meter(*INTEL)])] == ["emi"]


@pytest.mark.parametrize("cut", [0, 1, 60, 67, 69, 80])
def test_metadata_that_is_cut_off_is_no_sensor(cut: int) -> None:
    meter = Meter(*INTEL)
    meter.answers[GET_METADATA] = meter.answers[GET_METADATA][:cut]
    assert find_emi(lambda: [meter]) == []


def test_a_meter_that_fails_is_asked_again() -> None:
    meter = Meter(*INTEL)
    sensor = EmiSensor(lambda: [meter], clock=Clock())
    sensor.read()
    meter.open = False
    with pytest.raises(SensorError, match="asked again") as caught:
        sensor.read()
    assert not caught.value.lost
    meter.open = True
    sensor.close()
    meter.open = True
    assert sensor.read().energy_uj == 0


def test_elsewhere_there_are_no_meters() -> None:
    assert emi_devices() == []
    assert find_emi() == []
