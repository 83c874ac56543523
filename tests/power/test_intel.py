"""Intel's counters, on the files of real cards (data/sysfs_trees.json), written out under a temporary root."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from app.power.sensors import SensorError
from app.power.sensors.intel import IntelSensor, find_intel
from tests.power.test_amdgpu import INTEL, TREES, plant


class Clock:
    """Microseconds that a test moves."""

    def __init__(self) -> None:
        self.now = 10_000_000

    def __call__(self) -> int:
        return self.now


def count(hwmon: Path, **counted: int) -> None:
    """Let counters say these microjoules."""
    for name, value in counted.items():
        (hwmon / f"{name}_input").write_text(f"{value}\n")


def only(root: Path, clock: Clock) -> IntelSensor:
    (sensor,) = find_intel(root, clock=clock)
    return sensor


@pytest.mark.parametrize("gpu", sorted(set(TREES) - INTEL))
def test_a_gpu_of_another_maker_is_not_claimed(tmp_path: Path, gpu: str) -> None:
    plant(tmp_path, gpu)
    assert find_intel(tmp_path) == []


def test_a_b580_is_described_by_its_files(tmp_path: Path) -> None:
    plant(tmp_path, "b580")
    info = only(tmp_path, Clock()).info
    assert (info.id, info.name, info.vendor, info.source) == (
        "0000:09:00.0",
        "Intel GPU 8086:E20B",
        "Intel",
        "xe",
    )
    assert info.limit_w == 190


def test_a_card_with_one_counter_tells_its_power_from_the_second_reading_on(tmp_path: Path) -> None:
    clock = Clock()
    hwmon = plant(tmp_path, "a380-xe")
    (hwmon / "temp2_label").write_text("pkg\n")
    (hwmon / "temp2_input").write_text("56000\n")
    sensor = only(tmp_path, clock)
    first = sensor.read()
    assert (first.power_w, first.energy_uj, first.limit_w) == (None, 59_540_970_520, 55)
    assert (first.origin, first.temperature_c) == ("energy2_input", 56)
    clock.now += 100_000
    count(hwmon, energy2=59_540_970_520 + 3_100_000)
    second = sensor.read()
    assert (second.power_w, second.energy_uj) == (31.0, 59_544_070_520)


@pytest.mark.parametrize(
    ("moved", "chosen"),
    [((9_000_000, 6_000_000), "energy1"), ((0, 6_000_000), "energy2"), ((5_000_000, 0), "energy1")],
)
def test_of_two_counters_the_one_that_moves_most_is_taken(
    tmp_path: Path, moved: tuple[int, int], chosen: str
) -> None:
    clock = Clock()
    hwmon = plant(tmp_path, "b580")
    sensor = only(tmp_path, clock)
    assert sensor.read().energy_uj is None
    clock.now += 1_000_000
    count(hwmon, energy1=11_031_745_544 + moved[0], energy2=19_014_248_107 + moved[1])
    assert sensor.read().origin == f"{chosen}_input"
    clock.now += 100_000
    base = {"energy1": 11_031_745_544 + moved[0], "energy2": 19_014_248_107 + moved[1]}[chosen]
    count(hwmon, **{chosen: base + 2_000_000})
    assert sensor.read().power_w == 20.0


def test_counters_that_both_rest_say_nothing_yet(tmp_path: Path) -> None:
    clock = Clock()
    plant(tmp_path, "b580")
    sensor = only(tmp_path, clock)
    for _ in range(5):
        reading = sensor.read()
        clock.now += 1_000_000
        assert (reading.power_w, reading.energy_uj, reading.origin) == (None, None, "")


def test_a_counter_that_did_not_move_since_the_last_reading_repeats_its_power_for_a_second(
    tmp_path: Path,
) -> None:
    clock = Clock()
    hwmon = plant(tmp_path, "a380-xe")
    sensor = only(tmp_path, clock)
    count(hwmon, energy2=0)
    sensor.read()
    clock.now += 100_000
    count(hwmon, energy2=5_000_000)
    assert sensor.read().power_w == 50
    clock.now += 100_000
    assert sensor.read().power_w == 50
    clock.now += 900_000
    assert sensor.read().power_w is None


@pytest.mark.parametrize("garbage", ["", "-5\n", "n/a\n", "18446744073709551615\n", "\0\0"])
def test_what_is_no_number_is_no_energy(tmp_path: Path, garbage: str) -> None:
    hwmon = plant(tmp_path, "a380-xe")
    sensor = only(tmp_path, Clock())
    (hwmon / "energy2_input").write_text(garbage)
    assert sensor.read().energy_uj is None


def test_a_counter_that_went_back_makes_no_negative_power(tmp_path: Path) -> None:
    clock = Clock()
    hwmon = plant(tmp_path, "a380-xe")
    sensor = only(tmp_path, clock)
    sensor.read()
    clock.now += 100_000
    count(hwmon, energy2=10)
    reading = sensor.read()
    assert (reading.power_w, reading.energy_uj) == (None, 10)


def test_what_was_drawn_while_nobody_looked_is_nobodys_power(tmp_path: Path) -> None:
    clock = Clock()
    hwmon = plant(tmp_path, "a380-xe")
    sensor = only(tmp_path, clock)
    sensor.read()
    sensor.close()
    clock.now += 100_000
    count(hwmon, energy2=59_540_970_520 + 90_000_000)
    assert sensor.read().power_w is None


def test_a_monitor_that_comes_back_under_another_number_is_found_and_a_pulled_card_is_lost(
    tmp_path: Path,
) -> None:
    hwmon = plant(tmp_path, "a380-xe")
    sensor = only(tmp_path, Clock())
    hwmon.rename(hwmon.with_name("hwmon9"))
    assert sensor.read().energy_uj == 59_540_970_520
    shutil.rmtree(tmp_path / "card0")
    with pytest.raises(SensorError, match="no longer there") as caught:
        sensor.read()
    assert caught.value.lost


def test_an_integrated_gpu_has_no_counter_and_is_not_claimed(tmp_path: Path) -> None:
    hwmon = plant(tmp_path, "a380-xe")
    (hwmon / "energy2_input").unlink()
    assert find_intel(tmp_path) == []


def test_a_suspended_card_is_asleep(tmp_path: Path) -> None:
    plant(tmp_path, "b580")
    sensor = only(tmp_path, Clock())
    assert not sensor.asleep()
    (tmp_path / "card1/device/power/runtime_status").write_text("suspended\n")
    assert sensor.asleep()
