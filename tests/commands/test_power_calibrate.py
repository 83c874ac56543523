"""`power calibrate`: a played card, a played plug, and time that a test moves."""

from __future__ import annotations

import pytest

from app.commands.power_calibrate import Watched, factor_of, watch
from app.power.plug import Plug, PlugKind
from app.power.sensors.nvml import NvmlSensor, find_nvml
from app.settings.parameters import Settings
from tests.power.played_nvml import GB, PlayedNvml
from tests.power.played_plug import Device


async def watched(
    nvml: PlayedNvml, device: tuple[Device, str] | None, seconds: float, factor: float = 1.1
) -> Watched:
    """Watch the first card; the plug's socket gives `factor` for each of its watts, and 60 W besides."""
    sensor: NvmlSensor = find_nvml(clock=nvml.clock)[0]
    gpu = nvml.gpus[0]
    plug = None if device is None else Plug(PlugKind.TASMOTA, device[1])

    async def pause(for_s: float) -> None:
        nvml.move(for_s)
        at_s = nvml.clock() / 1e6
        gpu_w = next(watts for since, watts in reversed(PLAYED) if since <= at_s)
        gpu.busy_pct = 0 if gpu_w < 50 else 98
        if device is not None:
            energy = {"Power": gpu_w * factor + 60}
            device[0].answers = {"/cm?cmnd=Status%2010": {"StatusSNS": {"ENERGY": energy}}}

    gpu.play(PLAYED)
    gpu.memory_used_b, gpu.busy_pct = GB, 0
    return await watch(sensor, plug, seconds, clock=lambda: nvml.clock() / 1e6, pause=pause)


PLAYED = [(0.0, 21.0), (1030.0, 221.0)]
"""At rest for half a minute after the clock's beginning at 1000 s, then at work."""
BARE = Settings(system_idle_watts=45, system_inference_watts=45)


async def test_the_watts_at_rest_are_learned_and_those_of_work_are_not(nvml: PlayedNvml) -> None:
    seen = await watched(nvml, None, 60)
    kept = seen.idle.kept(5)
    assert kept is not None
    assert kept.empty is not None
    assert (kept.empty.watts, kept.empty.at_us, kept.resident) == (21.0, 5, None)
    assert len(kept.empty.windows_w) == 8
    assert seen.pairs == []


async def test_a_plug_tells_what_the_socket_gives_for_each_watt(
    nvml: PlayedNvml, device: tuple[Device, str]
) -> None:
    seen = await watched(nvml, device, 60)
    factor, unclear = factor_of(seen, Plug(PlugKind.TASMOTA, device[1]), BARE)
    assert unclear == ""
    assert factor is not None
    assert (round(factor.ratio, 2), factor.source) == (1.1, "tasmota")


async def test_a_card_that_only_rests_tells_no_factor_and_says_so(
    nvml: PlayedNvml, device: tuple[Device, str]
) -> None:
    seen = await watched(nvml, device, 25)
    factor, unclear = factor_of(seen, Plug(PlugKind.TASMOTA, device[1]), BARE)
    assert factor is None
    assert "let it work for a while" in unclear


async def test_a_plug_that_is_at_another_machine_is_not_believed(
    nvml: PlayedNvml, device: tuple[Device, str]
) -> None:
    seen = await watched(nvml, device, 60, factor=0)
    factor, unclear = factor_of(seen, Plug(PlugKind.TASMOTA, device[1]), BARE)
    assert factor is None
    assert "is the machine at this plug" in unclear


@pytest.mark.parametrize("seconds", ["0", "14", "3601", "nan", "-1"])
def test_a_time_that_is_too_short_or_too_long_is_said(
    seconds: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    from app.cli import main

    monkeypatch.setenv("MORTDECAI_HOME", str(tmp_path))
    assert main(["power", "calibrate", f"--seconds={seconds}"]) == 2
    assert "--seconds wants a number from 15 to 3600" in capsys.readouterr().err


def test_without_a_gpu_there_is_nothing_to_calibrate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    from app.cli import main
    from app.commands import parts

    monkeypatch.setenv("MORTDECAI_HOME", str(tmp_path))
    monkeypatch.setattr(parts, "probe_sensors", list)
    assert main(["power", "calibrate"]) == 2
    assert "There is no GPU whose power can be read now" in capsys.readouterr().err
