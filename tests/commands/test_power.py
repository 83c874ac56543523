"""`power`: the live readings, on sysfs trees of real GPUs written out under a temporary root."""

from __future__ import annotations

import importlib
import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from app.cli import main
from app.commands import power
from app.commands.power_arguments import ACTIONS
from app.power.sensors.probe import probe_machine, probe_sensors
from tests.power.test_amdgpu import plant
from tests.power.test_rapl import zone


@pytest.fixture
def drm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose GPUs are those planted here."""
    root = tmp_path / "drm"
    root.mkdir()
    monkeypatch.setenv("MORTDECAI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(power, "probe_sensors", partial(probe_sensors, drm=root))
    monkeypatch.setattr(power, "probe_machine", partial(probe_machine, powercap=tmp_path / "powercap"))
    return root


def test_power_shows_what_each_gpu_draws_and_who_says_so(
    drm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(drm, "vega56")
    assert main(["power"]) == 0
    said = capsys.readouterr().out
    assert "AMD GPU 1002:687F" in said
    assert "8.0 W" in said
    assert "amdgpu" in said
    assert "260 W" in said


def test_power_as_json_has_null_for_what_is_not_known(drm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(drm, "rx6600xt")
    assert main(["power", "--json"]) == 0
    (sensor,) = json.loads(capsys.readouterr().out)["sensors"]
    assert (sensor["id"], sensor["source"], sensor["power_watts"]) == ("0000:0b:00.0", "amdgpu", 3.0)
    assert sensor["memory_used_b"] is None
    assert sensor["problem"] is None


def test_a_parked_gpu_is_named_and_not_read(drm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(drm, "vega56")
    (drm / "card0/device/power/runtime_status").write_text("suspended\n")
    assert main(["power"]) == 0
    said = capsys.readouterr().out
    assert "is parked" in said
    assert "8.0 W" not in said


def test_a_gpu_without_a_power_figure_leaves_the_settings_watts_in_force(
    drm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hwmon = plant(drm, "vega56")
    (hwmon / "power1_average").write_text("65535000000\n")
    assert main(["power"]) == 0
    assert "does not tell its power; the watts of the settings are used" in capsys.readouterr().out


def test_a_machine_without_sensors_says_by_what_it_bills(
    drm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(drm)
    assert main(["power"]) == 0
    said = capsys.readouterr().out
    assert "No GPU sensor was found" in said
    assert "GPU 15 W at rest and 54 W at work" in said


def test_the_processor_stands_beside_the_gpus_or_says_what_is_amiss(
    drm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = zone(drm.parent / "powercap", "intel-rapl:0", "package-0")
    assert main(["power"]) == 0
    assert "rapl package" in capsys.readouterr().out
    (folder / "energy_uj").unlink()
    assert main(["power"]) == 0
    assert "Processor: its energy cannot be read" in capsys.readouterr().out


def test_a_plug_that_does_not_answer_costs_nothing_else(
    drm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(drm, "vega56")
    words = ["--vault", "file", "--set", "plug=shelly", "--set", "plug_url=http://127.0.0.1:9"]
    assert main(["power", *words]) == 0
    said = capsys.readouterr().out
    assert "8.0 W" in said
    assert "The plug at http://127.0.0.1:9 cannot be asked: nothing answers there." in said


def test_home_assistant_without_an_entity_is_said(drm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--set", "plug=homeassistant"]) == 2
    assert "name the one that tells the power with --set plug_entity=sensor" in capsys.readouterr().err


def test_a_token_for_no_plug_is_not_kept(drm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "plug-token", "--vault", "file"]) == 2
    assert "No plug is set" in capsys.readouterr().err


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_of_power_has_a_function_that_does_it(action: str) -> None:
    module, function, help, _ = ACTIONS[action]
    assert callable(getattr(importlib.import_module(f"app.commands.{module}"), function))
    assert help[0].islower()
    assert not help.endswith(".")
