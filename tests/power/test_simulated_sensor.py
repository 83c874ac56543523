"""The simulator's GPU is read through a function and called what it is."""

from dataclasses import dataclass

import pytest

from app.power.sensors import Reading, SensorError, SimulatedSensor


@dataclass(frozen=True)
class State:
    power_w: float = 171.0
    utilisation_pct: float = 98.0
    memory_used_b: int = 8_000
    memory_total_b: int = 24_000
    temperature_c: float = 61.0


def test_a_reading_is_the_state_at_that_moment() -> None:
    sensor = SimulatedSensor(State, clock=lambda: 7, limit_w=350.0, memory_total_b=24_000)
    assert sensor.read() == Reading(7, 171.0, None, 98.0, 8_000, 24_000, 61.0)
    assert (sensor.info.source, sensor.info.vendor, sensor.info.limit_w) == ("simulated", "simulated", 350.0)
    assert not sensor.asleep()
    sensor.close()


def test_a_simulator_that_ended_is_an_error_with_a_way_out() -> None:
    def ended() -> State:
        raise RuntimeError("stopped")

    with pytest.raises(SensorError, match="Restart the simulator") as caught:
        SimulatedSensor(ended).read()
    assert not caught.value.lost
