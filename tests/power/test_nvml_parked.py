"""A laptop whose NVIDIA GPU is parked when the gateway starts, on the real binding above a played card."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.power.sensors import Sensor, SensorError, probe_sensors
from app.power.sensors.probe import metered
from tests.power.played_nvml import GB, PlayedNvml

UUID = "GPU-5e2c1d00-aaaa-bbbb-cccc-0123456789ab"


class Laptop:
    """The kernel's and the driver's files of played cards."""

    def __init__(self, folder: Path, nvml: PlayedNvml) -> None:
        self.nvml, self.pci, self.proc = nvml, folder / "pci", folder / "proc"
        for address, kind in (
            ("0000:0a:00.0", "0x030000"),
            ("0000:0b:00.0", "0x030200"),
            ("0000:0a:00.1", "0x040300"),
        ):
            device = self.pci / address
            (device / "power").mkdir(parents=True)
            (device / "vendor").write_text("0x10de\n")
            (device / "class").write_text(f"{kind}\n")
            self.say(address, "suspended")
        (self.pci / "0000:00:02.0").mkdir()
        (self.pci / "0000:00:02.0" / "vendor").write_text("0x8086\n")
        (self.proc / "0000:0a:00.0").mkdir(parents=True)
        (self.proc / "0000:0a:00.0" / "information").write_text(
            f"Model: \t\t NVIDIA GeForce RTX 3090\nIRQ:   \t\t 58\nGPU UUID: \t {UUID}\nBus Location: \t 0000:0a:00.0\n"
        )

    def say(self, address: str, status: str) -> None:
        (self.pci / address / "power" / "runtime_status").write_text(f"{status}\n")

    def sensors(self) -> list[Sensor]:
        return probe_sensors(
            clock=self.nvml.clock, drm=Path("/nowhere"), pci_devices=self.pci, proc_gpus=self.proc
        )


@pytest.fixture
def laptop(nvml: PlayedNvml, tmp_path: Path) -> Laptop:
    return Laptop(tmp_path, nvml)


def test_finding_parked_gpus_calls_nothing_that_would_wake_them(laptop: Laptop) -> None:
    laptop.nvml.refuse(999)  # so that initialising would be seen
    first, second = laptop.sensors()
    assert (first.info.id, first.info.name, first.info.source) == (UUID, "NVIDIA GeForce RTX 3090", "nvml")
    assert (second.info.id, second.info.name) == ("0000:0b:00.0", "NVIDIA GPU 0000:0b:00.0")
    assert first.asleep()
    assert metered([first, second]).asleep()
    assert sum(gpu.calls() for gpu in laptop.nvml.gpus) == 0
    laptop.nvml.refuse(0)


def test_a_gpu_that_somebody_else_woke_is_read_and_described(laptop: Laptop) -> None:
    sensor = laptop.sensors()[0]
    laptop.say("0000:0a:00.0", "active")
    assert not sensor.asleep()
    assert sensor.read().power_w == 171.25
    assert (sensor.info.id, sensor.info.limit_w, sensor.info.memory_total_b) == (UUID, 350, 24 * GB)
    sensor.close()
    assert laptop.nvml.users == 0
    laptop.say("0000:0a:00.0", "suspended")
    assert sensor.asleep()


def test_where_one_is_awake_all_are_asked_for_by_nvml(laptop: Laptop) -> None:
    laptop.say("0000:0b:00.0", "active")
    first, second = laptop.sensors()
    assert (first.info.id, second.info.id) == ("GPU-3090-0", "GPU-3090-1")
    assert first.asleep()
    assert not second.asleep()


def test_an_awake_gpu_whose_driver_is_not_there_says_so_and_is_asked_again(laptop: Laptop) -> None:
    sensor = laptop.sensors()[0]
    laptop.say("0000:0a:00.0", "active")
    laptop.nvml.refuse(9)
    with pytest.raises(SensorError, match="its driver does not know it"):
        sensor.read()
    laptop.nvml.refuse(0)
    assert sensor.read().power_w == 171.25
    sensor.close()
