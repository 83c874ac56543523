"""The meter: what the sampler reads on its thread comes into the book on the loop, and into the right account of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable

import pytest

from app.power.accounts import StaticWatts
from app.power.meter import Meter
from app.power.sensors.base import GpuProcess, Reading, SensorError, SensorInfo
from app.power.sensors.base import monotonic_us as now_us

WATTS = StaticWatts(gpu_idle_w=15, gpu_load_w=54, system_idle_w=0, system_load_w=0)


class Gauge:
    """A sensor at the edge: it says what the test has set."""

    info = SensorInfo(
        id="gauge", name="Gauge", vendor="test", source="nvml", limit_w=300.0, memory_total_b=None
    )

    def __init__(self) -> None:
        self.power_w = 15.0
        self.failure: SensorError | None = None
        self.processes: tuple[GpuProcess, ...] | None = None
        self.reads = 0

    def read(self) -> Reading:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return Reading(now_us(), self.power_w, None, None, None, None, None, processes=self.processes)

    def close(self) -> None:
        pass

    def asleep(self) -> bool:
        return False


async def until(met: Callable[[], object]) -> None:
    """Wait until it is so; ten seconds at most."""
    async with asyncio.timeout(10):
        while not met():
            await asyncio.sleep(0.005)


@pytest.fixture
def gauge() -> Gauge:
    return Gauge()


@pytest.fixture
async def meter(gauge: Gauge) -> AsyncIterator[Meter]:
    made = Meter(
        gauge,
        WATTS,
        dedicated=False,
        rate_hz=100.0,
        tail_s=0.0,
        cost_per_hour=lambda watts: round(watts),
        loop=asyncio.get_running_loop(),
    )
    yield made
    made.stop()


def parts(meter: Meter) -> int:
    totals = meter.totals()
    return (
        totals.requests_uj
        + totals.idle_uj
        + totals.resident_uj
        + totals.loading_uj
        + totals.foreign_uj
        + totals.unattributed_uj
    )


async def test_a_request_is_billed_by_what_the_sensor_says_while_it_runs(meter: Meter, gauge: Gauge) -> None:
    meter.watching(gauge, active=True)
    await until(lambda: gauge.reads > 3)
    gauge.power_w = 115.0
    meter.open("a", "m")
    await until(lambda: meter.accrued("a") > 50_000_000)
    closed = meter.close("a")
    assert closed.source == "nvml"
    assert closed.energy_uj == pytest.approx(100 * closed.dur_us, rel=0.1)
    assert closed.low_uj < closed.energy_uj < closed.high_uj
    assert parts(meter) == meter.totals().measured_uj


async def test_what_loading_a_model_from_here_draws_is_a_line_of_its_own(meter: Meter, gauge: Gauge) -> None:
    meter.loading(active=True)
    meter.loading(active=True)
    gauge.power_w = 65.0
    await until(lambda: meter.totals().loading_uj > 1_000_000)
    meter.loading(active=False)
    before = meter.totals().loading_uj
    await until(lambda: meter.totals().loading_uj > before)
    meter.loading(active=False)
    reads = gauge.reads
    gauge.power_w = 15.0
    await until(lambda: gauge.reads >= reads + 3)
    done = meter.totals().loading_uj
    assert not meter.watched
    meter.watching(gauge, active=True)
    await until(lambda: gauge.reads >= reads + 9)
    assert meter.totals().loading_uj == pytest.approx(done, abs=65 * 50_000)
    assert meter.totals().requests_uj == 0
    assert parts(meter) == meter.totals().measured_uj


async def test_a_game_that_runs_beside_a_request_is_not_on_its_bill(meter: Meter, gauge: Gauge) -> None:
    game = GpuProcess(pid=os.getpid(), memory_b=None, busy_pct=60.0, graphics=True)
    gauge.power_w, gauge.processes = 115.0, (game,)
    meter.watching(gauge, active=True)
    await until(lambda: meter.totals().foreign_uj > 10_000_000)
    gauge.power_w = 165.0
    meter.open("a")
    await until(lambda: meter.accrued("a") > 10_000_000)
    closed = meter.close("a")
    assert closed.energy_uj == pytest.approx(50 * closed.dur_us, rel=0.2)
    assert parts(meter) == meter.totals().measured_uj


async def test_by_formula_the_settings_bill_and_the_sensor_is_only_looked_at(
    meter: Meter, gauge: Gauge
) -> None:
    gauge.power_w = 115.0
    meter.configure(watts=WATTS, dedicated=False, by_formula=True)
    assert (meter.source, meter.full_w) == ("model", WATTS.marginal_w)
    meter.open("a")
    await until(lambda: gauge.reads > 5 and meter.accrued("a") > 2_000_000)
    closed = meter.close("a")
    assert closed.source == "model"
    assert closed.energy_uj == closed.formula_uj == round(39 * closed.dur_us)
    assert meter.now().gpu_w == 115.0
    meter.configure(watts=WATTS, dedicated=False)
    assert meter.source == "nvml"
    meter.open("b")
    await until(lambda: meter.request_w("b") == 100.0)
    measured = meter.close("b")
    assert measured.source in ("nvml", "mixed")
    assert measured.formula_uj == round(39 * measured.dur_us) < measured.energy_uj


async def test_a_sensor_that_fails_leaves_the_word_to_the_settings_and_takes_it_back(
    meter: Meter, gauge: Gauge
) -> None:
    gauge.power_w = 115.0
    meter.open("a")
    await until(lambda: meter.request_w("a") == 100.0)
    gauge.failure = SensorError("It fell off the bus.", lost=False)
    await until(lambda: meter.request_w("a") == WATTS.marginal_w)
    gauge.failure = None
    await until(lambda: meter.request_w("a") == 100.0)
    assert meter.close("a").source == "mixed"
    assert parts(meter) == meter.totals().measured_uj
