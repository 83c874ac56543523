"""Apple's energy counters, by what they say; the library itself is on a Mac only."""

from __future__ import annotations

import pytest

from app.power.sensors import SensorError
from app.power.sensors.ioreport import (
    GPU,
    IoChannel,
    IoChannels,
    counted_uj,
    find_ioreport,
    find_ioreport_processor,
    io_channels,
)
from tests.power.test_intel import Clock


class Mac:
    """Counters that a test moves; `users` subscriptions are open."""

    def __init__(self, *channels: IoChannel) -> None:
        self.channels = list(channels)
        self.users = 0
        self.broken = False

    def subscribe(self) -> IoChannels | None:
        self.users += 1
        return self

    def look(self) -> list[IoChannel]:
        if self.broken:
            raise OSError("no sample")
        return self.channels

    def close(self) -> None:
        self.users -= 1


M1 = (IoChannel("ANE", "mJ", 5), IoChannel("CPU Energy", "mJ", 2_000), IoChannel(GPU, "nJ", 9_000_000))


@pytest.mark.parametrize(
    ("unit", "microjoules"),
    [("nJ", 3), ("uJ", 3_500), ("mJ", 3_500_000), ("mJ  ", 3_500_000), ("J", None), ("", None)],
)
def test_a_counter_is_read_in_its_unit(unit: str, microjoules: int | None) -> None:
    assert counted_uj([IoChannel(GPU, unit, 3_500)], GPU) == microjoules


def test_a_counter_that_is_missing_or_negative_is_none() -> None:
    assert counted_uj([], GPU) is None
    assert counted_uj([IoChannel(GPU, "nJ", -1)], GPU) is None


def test_a_mac_tells_the_gpus_and_the_processors_power() -> None:
    mac, clock = Mac(*M1), Clock()
    (gpu,) = find_ioreport(mac.subscribe, clock=clock)
    (processor,) = find_ioreport_processor(mac.subscribe, clock=clock)
    assert mac.users == 0
    assert (gpu.info.id, gpu.info.source) == ("apple-gpu", "ioreport")
    for sensor in (gpu, processor):
        assert sensor.read().power_w is None
    clock.now += 100_000
    mac.channels = [IoChannel("CPU Energy", "mJ", 2_800), IoChannel(GPU, "nJ", 1_509_000_000)]
    assert (gpu.read().power_w, processor.read().power_w) == (15.0, 8.0)
    gpu.close()
    processor.close()
    assert mac.users == 0


def test_a_mac_without_such_a_counter_has_no_such_sensor() -> None:
    mac = Mac(IoChannel("PMGR", "mJ", 5))
    assert find_ioreport(mac.subscribe) == []
    mac.broken = True
    assert find_ioreport(mac.subscribe) == []
    assert mac.users == 0
    assert find_ioreport(lambda: None) == []


def test_a_counter_that_fails_is_asked_again() -> None:
    mac = Mac(*M1)
    (sensor,) = find_ioreport(mac.subscribe, clock=Clock())
    sensor.read()
    mac.broken = True
    with pytest.raises(SensorError, match="asked again"):
        sensor.read()
    mac.broken = False
    assert sensor.read().energy_uj == 9_000
    sensor.close()


def test_elsewhere_there_are_no_such_counters() -> None:
    assert io_channels() is None
    assert find_ioreport() == find_ioreport_processor() == []
