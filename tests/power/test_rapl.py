"""The processor's energy, on a powercap tree of a desktop's shape."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.power.sensors import SensorError
from app.power.sensors.rapl import GAP_US, RaplSensor, find_rapl
from tests.power.test_intel import Clock

RANGE_UJ = 262_143_328_850


def zone(root: Path, name: str, label: str, counted: int = 0) -> Path:
    """One zone as the kernel shows it."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "energy_uj").write_text(f"{counted}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    return folder


def count(folder: Path, counted: int) -> None:
    """Let its counter say so many microjoules."""
    (folder / "energy_uj").write_text(f"{counted}\n")


def package(root: Path, clock: Clock) -> RaplSensor:
    return find_rapl(root, clock=clock)[0]


def test_packages_add_up_and_parts_of_them_are_not_added(tmp_path: Path) -> None:
    clock = Clock()
    first = zone(tmp_path, "intel-rapl:0", "package-0")
    second = zone(tmp_path, "intel-rapl:1", "package-1")
    zone(tmp_path, "intel-rapl:0:0", "core")
    zone(tmp_path, "intel-rapl-mmio:0", "package-0")
    (tmp_path / "intel-rapl").mkdir()
    (sensor,) = find_rapl(tmp_path, clock=clock)
    assert sensor.read().power_w is None
    clock.now += 100_000
    count(first, 4_000_000)
    count(second, 2_500_000)
    reading = sensor.read()
    assert (reading.power_w, reading.energy_uj, reading.origin) == (65.0, 6_500_000, "package")
    assert (sensor.info.source, sensor.info.name) == ("rapl", "Processor")


def test_the_platform_is_another_sensor(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0")
    zone(tmp_path, "intel-rapl:1", "psys")
    assert [sensor.info.id for sensor in find_rapl(tmp_path)] == ["rapl-package", "rapl-psys"]


def test_a_counter_that_wraps_goes_on_at_its_own_range(tmp_path: Path) -> None:
    clock = Clock()
    folder = zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 1_000_000)
    sensor = package(tmp_path, clock)
    sensor.read()
    clock.now += 100_000
    count(folder, 3_000_000)
    reading = sensor.read()
    assert (reading.power_w, reading.energy_uj) == (40.0, 4_000_000)


def test_across_a_stretch_in_which_it_may_have_wrapped_nothing_is_counted(tmp_path: Path) -> None:
    clock = Clock()
    folder = zone(tmp_path, "intel-rapl:0", "package-0")
    sensor = package(tmp_path, clock)
    sensor.read()
    clock.now += GAP_US + 1
    count(folder, 900_000_000)
    reading = sensor.read()
    assert (reading.power_w, reading.energy_uj) == (None, 0)
    sensor.close()
    clock.now += 100_000
    count(folder, 990_000_000)
    assert sensor.read().energy_uj == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="platform: only root can become somebody else")
def test_for_whoever_is_not_root_the_fix_is_said(tmp_path: Path) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0")
    (folder / "energy_uj").chmod(0o400)
    sensor = package(tmp_path, Clock())
    os.seteuid(65534)
    try:
        with pytest.raises(SensorError) as caught:
            sensor.read()
    finally:
        os.seteuid(0)
    assert caught.value.sentence == (
        "Processor: its energy may be read by root only. Let everybody read it until the next start of the machine: "
        f"sudo chmod a+r {folder}/energy_uj"
    )


def test_a_zone_that_is_gone_is_said(tmp_path: Path) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0")
    sensor = package(tmp_path, Clock())
    (folder / "energy_uj").unlink()
    with pytest.raises(SensorError, match="cannot be read"):
        sensor.read()


def test_a_machine_without_powercap_has_no_such_sensor(tmp_path: Path) -> None:
    assert find_rapl(tmp_path / "nowhere") == []
