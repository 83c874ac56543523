"""AMD's sysfs, against the files of real GPUs (data/sysfs_trees.json), written out under a temporary root."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.power.sensors import SensorError
from app.power.sensors.amdgpu import AmdgpuSensor, find_amdgpu

TREES: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "sysfs_trees.json").read_text(encoding="utf-8")
)["trees"]
INTEL = {"a380-xe", "b580"}
GB = 1024**3


def plant(root: Path, gpu: str) -> Path:
    """Write one GPU's tree below `root`; returns its hwmon folder."""
    for name, content in TREES[gpu].items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_bytes(content.encode())
        else:
            path.write_bytes(content["text"].encode().ljust(content["padded_to"], b"\0"))
    return next(root.glob("card*/device/hwmon/hwmon*"))


def only(root: Path) -> AmdgpuSensor:
    (sensor,) = find_amdgpu(root, clock=lambda: 42)
    return sensor


def test_every_tree_that_came_with_the_project_is_looked_at() -> None:
    assert len(TREES) == 10
    assert set(READ) | INTEL == set(TREES)


READ = {
    # gpu: (watts, limit, busy, VRAM used, VRAM, degrees, PCI address, PCI id)
    "phoenix": (3.142, None, 0.0, 1272893440, 4 * GB, 25.0, "0000:64:00.0", "1002:15BF"),
    "rx580": (41.045, 155.0, 11.0, 512 * 1024**2, 4 * GB, 44.0, "0000:09:00.0", "1002:67DF"),
    "rx6600xt": (3.0, 100.0, 0.0, None, None, 35.0, "0000:0b:00.0", "1002:73FF"),
    "rx6900xt": (36.0, 289.0, 3.0, 668274688, 17163091968, 56.0, "0000:0c:00.0", "1002:73BF"),
    "rx7900xtx": (68.0, 290.0, 3.0, None, None, 53.0, "0000:03:00.0", "1002:744C"),
    "rx9070xt": (55.0, 120.0, 3.0, None, None, 42.0, "0000:0f:00.0", "1002:7550"),
    "strixpoint": (9.087, None, 3.0, 514580480, 512 * 1024**2, 38.0, "0000:c1:00.0", "1002:150E"),
    "vega56": (8.0, 260.0, 0.0, 16613376, 8573157376, 38.0, "0000:0b:00.0", "1002:687F"),
}


@pytest.mark.parametrize("gpu", sorted(READ))
def test_a_real_amd_gpu_tells_its_power(tmp_path: Path, gpu: str) -> None:
    plant(tmp_path, gpu)
    sensor = only(tmp_path)
    power_w, limit_w, busy, used_b, total_b, degrees, address, pci_id = READ[gpu]
    reading = sensor.read()
    assert reading.at_us == 42
    assert reading.power_w == pytest.approx(power_w)
    assert reading.energy_uj is None
    assert (reading.utilisation_pct, reading.memory_used_b, reading.memory_total_b) == (busy, used_b, total_b)
    assert reading.temperature_c == degrees
    info = sensor.info
    assert (info.id, info.name, info.vendor, info.source) == (address, f"AMD GPU {pci_id}", "AMD", "amdgpu")
    assert (info.limit_w, info.memory_total_b) == (limit_w, total_b)
    assert not sensor.asleep()
    sensor.close()


@pytest.mark.parametrize("gpu", sorted(INTEL))
def test_a_gpu_of_another_maker_is_not_claimed(tmp_path: Path, gpu: str) -> None:
    plant(tmp_path, gpu)
    assert find_amdgpu(tmp_path) == []


def test_an_rx_580_on_a_new_kernel_has_only_the_instant_power(tmp_path: Path) -> None:
    hwmon = plant(tmp_path, "rx580")
    (hwmon / "power1_average").rename(hwmon / "power1_input")
    assert only(tmp_path).read().power_w == pytest.approx(41.045)


def test_the_instant_power_goes_before_the_average(tmp_path: Path) -> None:
    hwmon = plant(tmp_path, "phoenix")
    (hwmon / "power1_input").write_text("9000000\n")
    (hwmon / "power1_average").write_text("7000000\n")
    assert only(tmp_path).read().power_w == 9.0


def test_a_card_of_another_driver_or_without_power_is_not_claimed(tmp_path: Path) -> None:
    hwmon = plant(tmp_path / "radeon", "vega56")
    uevent = tmp_path / "radeon" / "card0" / "device" / "uevent"
    uevent.write_text(uevent.read_text().replace("DRIVER=amdgpu", "DRIVER=radeon"))
    assert find_amdgpu(tmp_path / "radeon") == []
    hwmon = plant(tmp_path / "mute", "vega56")
    (hwmon / "power1_average").unlink()
    assert find_amdgpu(tmp_path / "mute") == []


def test_connectors_and_render_nodes_are_not_cards(tmp_path: Path) -> None:
    plant(tmp_path, "vega56")
    for name in ("card0-DP-1", "renderD128", "version"):
        shutil.copytree(tmp_path / "card0", tmp_path / name)
    assert len(find_amdgpu(tmp_path)) == 1


def test_cards_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    plant(tmp_path, "vega56")
    for number in (10, 2):
        shutil.copytree(tmp_path / "card0", tmp_path / f"card{number}")
        uevent = tmp_path / f"card{number}" / "device" / "uevent"
        uevent.write_text(uevent.read_text().replace("0000:0b:00.0", f"0000:{number:02d}:00.0"))
    ids = [sensor.info.id for sensor in find_amdgpu(tmp_path)]
    assert ids == ["0000:0b:00.0", "0000:02:00.0", "0000:10:00.0"]


def test_a_machine_without_graphics_has_no_sensor(tmp_path: Path) -> None:
    assert find_amdgpu(tmp_path / "nowhere") == []
    assert find_amdgpu(tmp_path) == []


@pytest.mark.parametrize(
    "garbage",
    ["65535\n", "65535000000\n", "4294967295\n", "", "\n", "-5\n", "n/a\n", "٣٤\n", "9" * 40, "\0\0\0"],
)
def test_what_is_no_number_or_the_firmwares_none_is_no_power(tmp_path: Path, garbage: str) -> None:
    hwmon = plant(tmp_path, "vega56")
    sensor = only(tmp_path)
    (hwmon / "power1_average").write_text(garbage, encoding="utf-8")
    reading = sensor.read()
    assert reading.power_w is None
    assert reading.temperature_c == 38.0
    (hwmon / "power1_average").write_text("25000000\n")
    assert sensor.read().power_w == 25.0


def test_each_broken_file_costs_only_its_own_figure(tmp_path: Path) -> None:
    hwmon = plant(tmp_path, "vega56")
    sensor = only(tmp_path)
    (hwmon / "temp1_input").write_text("65535000\n")
    (tmp_path / "card0/device/gpu_busy_percent").write_text("255\n")
    (tmp_path / "card0/device/mem_info_vram_used").unlink()
    (tmp_path / "card0/device/mem_info_vram_used").mkdir()  # opens, and fails to be read
    reading = sensor.read()
    assert reading.power_w == 8.0
    assert (reading.temperature_c, reading.utilisation_pct, reading.memory_used_b) == (None, None, None)


def test_files_that_vanish_between_two_reads_are_no_error_while_the_card_is_there(tmp_path: Path) -> None:
    hwmon = plant(tmp_path, "rx6900xt")
    sensor = only(tmp_path)
    shutil.rmtree(hwmon)
    reading = sensor.read()
    assert (reading.power_w, reading.temperature_c) == (None, None)
    assert reading.utilisation_pct == 3.0


def test_a_hwmon_that_comes_back_under_another_number_is_found(tmp_path: Path) -> None:
    hwmon = plant(tmp_path, "vega56")
    sensor = only(tmp_path)
    hwmon.rename(hwmon.with_name("hwmon9"))
    assert sensor.read().power_w == 8.0


def test_a_card_that_was_pulled_is_lost_and_said_so(tmp_path: Path) -> None:
    plant(tmp_path, "vega56")
    sensor = only(tmp_path)
    shutil.rmtree(tmp_path / "card0")
    with pytest.raises(SensorError, match="no longer there") as caught:
        sensor.read()
    assert caught.value.lost


@pytest.mark.parametrize(
    ("status", "parked"),
    [
        ("suspended\n", True),
        ("suspending\n", True),
        ("active\n", False),
        ("unsupported\n", False),
        (None, False),
    ],
)
def test_a_suspended_card_is_asleep(tmp_path: Path, status: str | None, parked: bool) -> None:
    plant(tmp_path, "vega56")
    sensor = only(tmp_path)
    file = tmp_path / "card0/device/power/runtime_status"
    if status is None:
        file.unlink()
    else:
        file.write_text(status)
    assert sensor.asleep() is parked


def test_a_marketing_name_is_preferred_where_the_firmware_has_one(tmp_path: Path) -> None:
    plant(tmp_path, "vega56")
    (tmp_path / "card0/device/product_name").write_text("AMD Radeon PRO W7900\n")
    assert only(tmp_path).info.name == "AMD Radeon PRO W7900"
