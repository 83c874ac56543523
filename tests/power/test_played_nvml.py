"""The NVML sensor on NVIDIA's real binding, above a C library that plays a waveform as a card shows it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from app.power.curves import PowerSpan
from app.power.exact import UNITS_PER_UJ
from app.power.sampler import Sampler
from app.power.samples import Samples
from app.power.sensors import Reading, SensorError
from app.power.sensors.base import GpuProcess, monotonic_us
from app.power.sensors.nvml import SLOW_US, NvmlSensor, find_nvml
from app.power.sensors.nvml_processes import SHARE_US
from tests.power.played_nvml import GB, TURING, PlayedNvml

FASTER = 50
LOST, RESET_REQUIRED, NOT_SUPPORTED, NO_PERMISSION, NOT_LOADED = 15, 16, 3, 4, 9


def sensors(nvml: PlayedNvml, pci: Path = Path("/nowhere")) -> list[NvmlSensor]:
    return find_nvml(clock=nvml.clock, pci_devices=pci)


def watts(nvml: PlayedNvml, sensor: NvmlSensor, seconds: float, step_s: float = 0.1) -> list[float | None]:
    """What the sensor says at each step of so many seconds."""
    said = []
    for _ in range(round(seconds / step_s)):
        nvml.move(step_s)
        said.append(sensor.read().power_w)
    sensor.close()
    return said


def test_every_gpu_is_found_with_what_it_is(nvml: PlayedNvml) -> None:
    infos = [sensor.info for sensor in sensors(nvml)]
    assert [info.id for info in infos] == ["GPU-3090-0", "GPU-3090-1"]
    assert {(info.name, info.limit_w, info.memory_total_b) for info in infos} == {
        ("NVIDIA GeForce RTX 3090", 350.0, 24 * GB)
    }


def test_a_reading_has_everything_the_card_tells_and_where_it_came_from(nvml: PlayedNvml) -> None:
    nvml.gpus[0].run((4711, 6 * GB, 90, False), (12, GB, 8, True))
    sensor = sensors(nvml)[0]
    reading = sensor.read()
    sensor.close()
    assert (reading.power_w, reading.origin, reading.power_span) == (171.25, "instant", PowerSpan.UPDATE)
    assert reading.energy_uj == (123_456_789 + 171_250) * 1_000_000 - 123_456_789 * 999_000
    assert (reading.utilisation_pct, reading.temperature_c, reading.fan_pct) == (98, 61, 40)
    assert (reading.memory_used_b, reading.limit_w) == (8 * GB, 350)
    assert reading.processes == (
        GpuProcess(12, GB, 8.0, graphics=True),
        GpuProcess(4711, 6 * GB, 90.0, graphics=False),
    )


def test_one_reading_is_one_call_for_power_and_energy(nvml: PlayedNvml) -> None:
    sensor = sensors(nvml)[0]
    for _ in range(5):
        sensor.read()
    sensor.close()
    assert nvml.gpus[0].calls("fields") == 5
    assert nvml.gpus[0].calls("usage") == 0
    assert nvml.gpus[0].calls("running") <= 2
    assert nvml.gpus[1].calls("fields") == 0


def test_the_instant_power_follows_a_step_at_the_cards_next_update(nvml: PlayedNvml) -> None:
    nvml.gpus[0].play([(0, 20), (1001.05, 300)])
    said = watts(nvml, sensors(nvml)[0], 1.3)
    assert said == [20.0] * 10 + [160.0] + [300.0] * 2


def test_a_card_without_instant_power_says_that_its_figure_is_the_mean_of_a_second(nvml: PlayedNvml) -> None:
    gpu = nvml.gpus[0]
    gpu.play([(0, 20), (1001, 300)])
    gpu.refuse_field("instant", NOT_SUPPORTED)
    sensor = sensors(nvml)[0]
    nvml.move(1.5)
    reading = sensor.read()
    assert (reading.power_w, reading.origin, reading.power_span) == (160, "usage", PowerSpan.SECOND)
    gpu.refuse("usage", NOT_SUPPORTED)
    nvml.move(0.1)
    reading = sensor.read()
    sensor.close()
    assert (reading.power_w, reading.origin, reading.power_span) == (188, "average", PowerSpan.SECOND)


def test_before_ampere_the_old_call_speaks_of_the_last_update(nvml: PlayedNvml) -> None:
    gpu = nvml.gpus[0]
    gpu.architecture = TURING
    gpu.refuse("fields", NOT_SUPPORTED)
    gpu.play([(0, 20), (1001, 300)])
    sensor = sensors(nvml)[0]
    nvml.move(1.5)
    reading = sensor.read()
    sensor.close()
    assert (reading.power_w, reading.origin, reading.power_span) == (300, "usage", PowerSpan.UPDATE)
    assert reading.energy_uj is None


@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION])
@pytest.mark.parametrize("field", ["energy", "average"])
def test_a_field_that_is_not_there_costs_no_other(nvml: PlayedNvml, field: str, code: int) -> None:
    nvml.gpus[0].refuse_field(field, code)
    sensor = sensors(nvml)[0]
    reading = sensor.read()
    sensor.close()
    assert reading.power_w == 171.25
    assert (reading.energy_uj is None) is (field == "energy")


@pytest.mark.parametrize(
    "call", ["utilisation", "memory", "temperature", "fan", "limit", "running", "shares"]
)
def test_a_figure_that_is_not_there_is_none_and_no_other(nvml: PlayedNvml, call: str) -> None:
    gpu = nvml.gpus[0]
    gpu.run((1, GB, 50, False))
    gpu.refuse(call, NOT_SUPPORTED)
    sensor = sensors(nvml)[0]
    reading = sensor.read()
    sensor.close()
    shares = None if reading.processes is None else reading.processes[0].busy_pct
    missing = {
        "utilisation": reading.utilisation_pct,
        "memory": reading.memory_used_b,
        "temperature": reading.temperature_c,
        "fan": reading.fan_pct,
        "limit": reading.limit_w,
        "running": reading.processes,
        "shares": shares,
    }
    none = {name for name, value in missing.items() if value is None}
    assert none == ({"running", "shares"} if call == "running" else {call})
    assert reading.power_w == 171.25


def test_a_gpu_that_nobody_uses_has_no_programs_which_is_not_the_same_as_none_known(nvml: PlayedNvml) -> None:
    sensor = sensors(nvml)[0]
    assert sensor.read().processes == ()
    sensor.close()


def test_a_share_of_the_gpus_time_ends_when_the_driver_samples_it_no_more(nvml: PlayedNvml) -> None:
    gpu = nvml.gpus[0]
    gpu.run((7, GB, 50, False))
    sensor = sensors(nvml)[0]
    assert sensor.read().processes == (GpuProcess(7, GB, 50.0, graphics=False),)
    gpu.refuse("shares", 6)  # NOT_FOUND: nothing new
    nvml.move(SLOW_US / 1e6)
    assert sensor.read().processes == (GpuProcess(7, GB, 50.0, graphics=False),)
    nvml.move(SHARE_US / 1e6)
    assert sensor.read().processes == (GpuProcess(7, GB, 0.0, graphics=False),)
    sensor.close()


def test_a_power_limit_that_its_owner_changes_is_the_new_one(nvml: PlayedNvml) -> None:
    sensor = sensors(nvml)[0]
    assert sensor.read().limit_w == 350
    nvml.gpus[0].limit_mw = 250_000
    nvml.move(SLOW_US / 1e6)
    assert sensor.read().limit_w == 250
    sensor.close()


def test_a_lost_gpu_does_not_hide_the_other_and_comes_back_without_a_restart(nvml: PlayedNvml) -> None:
    first, second = sensors(nvml)
    assert first.read().power_w == 171.25
    for code, said in ((LOST, "fallen off the bus"), (RESET_REQUIRED, "needs a reset")):
        nvml.gpus[0].lost = code
        with pytest.raises(SensorError, match=said) as caught:
            first.read()
        assert caught.value.lost
        first.close()
        assert second.read().power_w == 171.25
        nvml.gpus[0].lost = 0
        assert first.read().power_w == 171.25
    first.close()
    second.close()


def test_the_sampler_reads_on_when_a_driver_was_away(nvml: PlayedNvml) -> None:
    """Its own thread, the real binding, and a driver that is unloaded and loaded again meanwhile."""
    sensor = sensors(nvml)[0]
    outcomes: list[Reading | SensorError] = []
    came = threading.Condition()

    def deliver(outcome: Reading | SensorError) -> None:
        with came:
            outcomes.append(outcome)
            came.notify_all()

    def wait_for(kind: type) -> None:
        with came:
            seen = len(outcomes)
            assert came.wait_for(lambda: any(isinstance(one, kind) for one in outcomes[seen:]), 5)

    def pause(condition: threading.Condition, seconds: float | None) -> None:
        condition.wait(None if seconds is None else seconds / FASTER)

    # The sampler's time runs fast, so that its five seconds of patience are a tenth of one.
    sampler = Sampler(sensor, deliver, lambda: monotonic_us() * FASTER, rate_hz=10, pause=pause)
    sampler.wake()
    wait_for(Reading)
    nvml.gpus[0].lost = LOST
    wait_for(SensorError)
    nvml.refuse(NOT_LOADED)
    wait_for(SensorError)
    nvml.refuse(0)
    nvml.gpus[0].lost = 0
    wait_for(Reading)
    assert sampler.stop()


def test_nothing_is_asked_of_a_parked_gpu(nvml: PlayedNvml, tmp_path: Path) -> None:
    status = tmp_path / "0000:0a:00.0" / "power" / "runtime_status"
    status.parent.mkdir(parents=True)
    status.write_text("active\n")
    sensor = sensors(nvml, tmp_path)[0]
    status.write_text("suspended\n")
    before = nvml.gpus[0].calls()
    delivered: list[object] = []
    clock = iter(range(0, 10**9, 50_000)).__next__
    sampler = Sampler(sensor, delivered.append, clock, rate_hz=10)
    sampler.wake()
    deadline = time.monotonic() + 5
    while clock() < 20_000_000 and time.monotonic() < deadline:
        threading.Event().wait(0.001)
    assert sampler.stop()
    assert nvml.gpus[0].calls() == before
    assert nvml.users == 0
    assert delivered == []


def test_the_command_reads_the_library_that_the_system_loads(nvml_library: Path, tmp_path: Path) -> None:
    """The whole way once: another process, the system's own loader, the binding, the sensor, the command."""
    played = PlayedNvml(tmp_path)
    played.gpus[1].play([(0, 33.5)])
    environment = {**played.environment(nvml_library), "MORTDECAI_HOME": str(tmp_path / "home")}
    said = subprocess.run(
        [sys.executable, "-m", "app", "power", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = json.loads(said.stdout)["sensors"]
    assert [(one["id"], one["power_watts"], one["source"]) for one in told] == [
        ("GPU-3090-0", 171.25, "nvml"),
        ("GPU-3090-1", 33.5, "nvml"),
    ]
    assert played.users == 0


def drive(nvml: PlayedNvml, sensor: NvmlSensor, samples: Samples, seconds: float) -> float:
    """Feed the account's curves at 10 Hz; joules that they say were drawn."""
    joules = 0.0
    for _ in range(round(seconds * 10)):
        nvml.move(0.1)
        said = sensor.read()
        assert said.power_w is not None
        samples.read(said.at_us, round(said.power_w * 1e6), said.power_span, said.energy_uj)
        drawn = samples.drawn()
        joules += 0 if drawn is None or drawn.units is None else drawn.units / UNITS_PER_UJ / 1e6
    return joules


def test_a_counter_that_is_off_by_a_factor_is_demoted_within_half_a_minute_and_stays_so(
    nvml: PlayedNvml,
) -> None:
    gpu = nvml.gpus[0]
    gpu.play([(0, 200)])
    gpu.counter_gain = 1.5
    sensor = sensors(nvml)[0]
    first = sensor.read()
    samples = Samples(1000)
    samples.start(first.at_us, 200_000_000, first.power_span, first.energy_uj)
    assert drive(nvml, sensor, samples, 40) == pytest.approx(40 * 200, rel=0.02)
    assert samples.counter_demoted
    gpu.counter_start_mj, gpu.counter_gain = 0, 1.0  # its driver was reset, and now it is right
    assert drive(nvml, sensor, samples, 40) == pytest.approx(40 * 200, rel=0.02)
    assert samples.counter_demoted
    sensor.close()


def test_a_counter_that_agrees_is_believed_after_half_a_minute(nvml: PlayedNvml) -> None:
    gpu = nvml.gpus[0]
    gpu.play([(0, 200)])
    gpu.gain = 0.95  # the card shows five per cent less than its counter counts
    sensor = sensors(nvml)[0]
    first = sensor.read()
    samples = Samples(1000)
    samples.start(first.at_us, 190_000_000, first.power_span, first.energy_uj)
    assert drive(nvml, sensor, samples, 29) == pytest.approx(29 * 190, rel=0.01)
    drive(nvml, sensor, samples, 3)
    assert drive(nvml, sensor, samples, 20) == pytest.approx(20 * 200, rel=0.01)
    sensor.close()
