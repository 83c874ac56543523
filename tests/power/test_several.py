"""Several GPUs metered as one, and which of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.power.sensors import NullSensor, SensorError, probe_sensors
from app.power.sensors.base import GpuProcess
from app.power.sensors.nvml import NvmlSensor, find_nvml
from app.power.sensors.probe import metered, probe_machine
from app.power.sensors.several import SensorGroup
from tests.power.played_nvml import GB, PlayedNvml
from tests.power.test_amdgpu import plant
from tests.power.test_rapl import zone

NOTHING = SimpleNamespace(detect_gpus=lambda: 0)


def group(nvml: PlayedNvml, pci: Path = Path("/nowhere")) -> SensorGroup:
    sensor = metered(find_nvml(clock=nvml.clock, pci_devices=pci))
    assert isinstance(sensor, SensorGroup)
    return sensor


def test_two_gpus_are_one_bill_and_each_is_still_seen(nvml: PlayedNvml) -> None:
    first, second = nvml.gpus
    first.play([(0, 100)])
    second.play([(0, 30)])
    second.temperature_c, second.busy_pct = 70, 5
    first.run((1, GB, 90, False))
    second.run((2, GB, 5, False))
    sensor = group(nvml)
    reading = sensor.read()
    sensor.close()
    assert (reading.power_w, reading.origin) == (130, "instant")
    assert reading.energy_uj == sum(part.energy_uj or 0 for part in reading.parts)
    assert (reading.memory_used_b, reading.memory_total_b, reading.limit_w) == (16 * GB, 48 * GB, 700)
    assert (reading.utilisation_pct, reading.temperature_c) == (98, 70)
    assert reading.processes == (GpuProcess(1, GB, 90, graphics=False), GpuProcess(2, GB, 5, graphics=False))
    assert [(part.device, part.power_w) for part in reading.parts] == [
        ("GPU-3090-0", 100),
        ("GPU-3090-1", 30),
    ]
    assert (sensor.info.name, sensor.info.source) == ("2 × NVIDIA GeForce RTX 3090", "nvml")
    assert (sensor.info.limit_w, sensor.info.memory_total_b) == (700, 48 * GB)


def test_a_part_that_is_not_known_makes_the_sum_unknown_and_never_less(nvml: PlayedNvml) -> None:
    second = nvml.gpus[1]
    for field in ("instant", "average", "energy"):
        second.refuse_field(field, 3)
    second.refuse("usage", 3)
    sensor = group(nvml)
    reading = sensor.read()
    assert (reading.power_w, reading.energy_uj) == (None, None)
    second.lost = 15
    with pytest.raises(SensorError, match="fallen off the bus"):
        sensor.read()
    sensor.close()


def test_a_parked_gpu_is_not_asked_and_its_counter_stands_still(nvml: PlayedNvml, tmp_path: Path) -> None:
    status = tmp_path / "pci" / "0000:0b:00.0" / "power" / "runtime_status"
    status.parent.mkdir(parents=True)
    status.write_text("active\n")
    sensor = group(nvml, tmp_path / "pci")
    both = sensor.read()
    status.write_text("suspended\n")
    before = nvml.gpus[1].calls()
    nvml.move(1)
    one = sensor.read()
    sensor.close()
    assert nvml.gpus[1].calls() == before
    assert (both.power_w, one.power_w) == (342.5, 171.25)
    assert one.energy_uj is not None
    assert both.energy_uj is not None
    assert one.energy_uj - both.energy_uj == 171_250_000
    assert not sensor.asleep()


def test_a_gpu_that_is_not_wanted_is_not_metered(nvml: PlayedNvml, caplog: pytest.LogCaptureFixture) -> None:
    sensor = metered(find_nvml(clock=nvml.clock), ("GPU-3090-1", "GPU-gone"))
    assert isinstance(sensor, NvmlSensor)
    assert sensor.info.id == "GPU-3090-1"
    assert "GPU-gone, which is set to be metered, is not there" in caplog.text
    assert isinstance(metered(find_nvml(clock=nvml.clock), ("GPU-gone",)), NullSensor)


def machine(nvml: PlayedNvml | None, drm: Path, amd: Any = NOTHING) -> Any:
    module = None if nvml is not None else SimpleNamespace(nvmlInit=no_driver, NVMLError=OSError)
    return metered(probe_sensors(drm=drm, amd=amd, nvml=module))


def no_driver() -> None:
    raise OSError("no driver")


def test_of_themselves_all_gpus_of_the_first_maker_are_metered(nvml: PlayedNvml, tmp_path: Path) -> None:
    plant(tmp_path, "phoenix")
    assert machine(nvml, tmp_path).info.name == "2 × NVIDIA GeForce RTX 3090"
    assert machine(None, tmp_path).info.name == "AMD GPU 1002:15BF"


def test_the_processors_own_gpu_is_left_out_where_a_card_is(tmp_path: Path) -> None:
    plant(tmp_path / "apu", "strixpoint")
    plant(tmp_path, "vega56")
    shutil.copytree(next((tmp_path / "apu").iterdir()), tmp_path / "card7")
    assert machine(None, tmp_path).info.name == "AMD GPU 1002:687F"


def test_a_machine_without_gpus_has_the_null_sensor(tmp_path: Path) -> None:
    assert isinstance(machine(None, tmp_path), NullSensor)


class Amd:
    """One GPU as pyamdgpuinfo 2.1.8 shows it."""

    def __init__(self, slot: str | None = "0000:0c:00.0") -> None:
        self.pci_slot, self.name, self.memory_info = slot, "AMD Radeon RX 6900 XT", {"vram_size": 16 * GB}
        self.opened = 0

    def detect_gpus(self) -> int:
        return 1

    def get_gpu(self, index: int) -> Amd:
        self.opened += 1
        return self

    def query_power(self) -> int:
        return 203

    def query_load(self) -> float:
        return 0.97

    def query_vram_usage(self) -> int:
        return 9 * GB

    def query_temperature(self) -> float:
        raise RuntimeError("not available")


def test_the_optional_package_reads_cards_that_sysfs_says_nothing_of(tmp_path: Path) -> None:
    amd = Amd()
    sensor = machine(None, tmp_path, amd)
    reading = sensor.read()
    assert (reading.power_w, reading.utilisation_pct, reading.memory_used_b) == (203, 97, 9 * GB)
    assert (reading.temperature_c, reading.origin, sensor.info.source) == (
        None,
        "query_power",
        "pyamdgpuinfo",
    )
    opened = amd.opened
    sensor.read()
    assert amd.opened == opened
    sensor.close()
    sensor.read()
    assert amd.opened == opened + 1


def test_a_card_that_sysfs_reads_is_not_read_twice(tmp_path: Path) -> None:
    plant(tmp_path, "rx6900xt")
    sensor = machine(None, tmp_path, Amd())
    assert (sensor.info.id, sensor.info.source) == ("0000:0c:00.0", "amdgpu")


def test_the_installed_package_is_no_error_on_a_machine_without_gpus(tmp_path: Path) -> None:
    assert isinstance(machine(None, tmp_path, None), NullSensor)


def test_the_rest_of_the_machine_is_found_beside_the_gpus(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0")
    assert [sensor.info.source for sensor in probe_machine(powercap=tmp_path)] == ["rapl"]
