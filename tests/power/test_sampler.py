"""The sampler reads while somebody needs it, and at rest it does nothing at all.

Time is a fake clock that only the sampler's own waiting moves; threads are real, and tests wait for events with a
deadline, never for time.
"""

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from app.power.sampler import RETRY_LOST_US, RETRY_US, Outcome, Sampler
from app.power.sensors import NullSensor, Reading, SensorError, SensorInfo

DEADLINE_S = 20.0


class Time:
    """A clock, and a way to wait on it: a timed wait passes at once, an untimed one is a real one."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.resting = threading.Event()
        self.waits: list[float] = []

    def clock(self) -> int:
        return self.now

    def pause(self, condition: threading.Condition, seconds: float | None) -> None:
        if seconds is None:
            self.resting.set()
            condition.wait()
            self.resting.clear()
            return
        self.waits.append(seconds)
        self.now += round(seconds * 1e6)
        # The other threads may have something to say to a sampler that waits.
        condition.wait(0)


class Sensor:
    """A sensor that can fail, hang and sleep."""

    def __init__(self, time: Time) -> None:
        self.time = time
        self.reads = 0
        self.closed = threading.Event()
        self.parked = False
        self.fail: Exception | None = None
        self.hang: threading.Event | None = None
        self.hanging = threading.Event()
        self.threads: set[str] = set()
        self.info = SensorInfo("fake", "Fake GPU", "Nobody", "simulated", None, None)

    def read(self) -> Reading:
        self.threads.add(threading.current_thread().name)
        self.closed.clear()
        self.reads += 1
        if self.hang is not None:
            self.hanging.set()
            assert self.hang.wait(DEADLINE_S)
        if self.fail is not None:
            raise self.fail
        return Reading(self.time.now, 100.0, None, None, None, None, None)

    def close(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.closed.set()

    def asleep(self) -> bool:
        return self.parked


class Rig:
    """A sampler, what it delivered, and a leash: after so many outcomes it is sent to rest."""

    def __init__(self, **options: float) -> None:
        self.time = Time()
        self.sensor = Sensor(self.time)
        self.outcomes: list[tuple[int, Outcome]] = []
        self.arrived: SimpleQueue[Outcome] = SimpleQueue()
        self.at: dict[int, Callable[[], object]] = {}
        self.rests = 0
        self.sampler = Sampler(
            self.sensor,
            self.deliver,
            self.time.clock,
            on_rest=self.rested,
            pause=self.time.pause,
            **options,  # type: ignore[arg-type]
        )

    def deliver(self, outcome: Outcome) -> None:
        self.outcomes.append((self.time.now, outcome))
        self.at.pop(len(self.outcomes), lambda: None)()
        self.arrived.put(outcome)

    def rested(self) -> None:
        self.rests += 1

    def until_rest(self) -> None:
        assert self.time.resting.wait(DEADLINE_S)

    @property
    def times(self) -> list[int]:
        return [at for at, _ in self.outcomes]


@pytest.fixture
def rigs() -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(**options: float) -> Rig:
        made.append(Rig(**options))
        return made[-1]

    yield make
    for rig in made:
        if rig.sensor.hang is not None:
            rig.sensor.hang.set()
        rig.sampler.stop()
        for thread in (rig.sampler._keeper, rig.sampler._reader):
            if thread is not None:
                thread.join(DEADLINE_S)
                assert not thread.is_alive()


def test_it_reads_at_once_and_then_ten_times_a_second(rigs: Callable[..., Rig]) -> None:
    rig = rigs(tail_s=0)
    rig.at[11] = rig.sampler.rest
    rig.sampler.wake()
    rig.until_rest()
    assert rig.times == [1_000_000 + 100_000 * tick for tick in range(11)]
    assert all(isinstance(outcome, Reading) for _, outcome in rig.outcomes)


def test_the_rate_is_a_setting(rigs: Callable[..., Rig]) -> None:
    rig = rigs(tail_s=0, rate_hz=2)
    rig.at[3] = rig.sampler.rest
    rig.sampler.wake()
    rig.until_rest()
    assert rig.times == [1_000_000, 1_500_000, 2_000_000]
    with pytest.raises(ValueError, match="rate above 0"):
        rig.sampler.configure(rate_hz=0, tail_s=1)


def test_after_rest_it_reads_for_the_tail_and_then_touches_nothing(rigs: Callable[..., Rig]) -> None:
    rig = rigs(tail_s=1)
    rig.at[5] = rig.sampler.rest
    rig.sampler.wake()
    rig.until_rest()
    # In an untimed wait the keeper can do nothing until somebody wakes it.
    assert rig.times[-1] - rig.times[4] == 900_000
    assert rig.sensor.reads == len(rig.outcomes) == 14
    assert rig.sensor.closed.wait(DEADLINE_S)
    assert rig.rests == 1


def test_at_rest_no_wait_is_timed(rigs: Callable[..., Rig]) -> None:
    rig = rigs(tail_s=0)
    rig.at[1] = rig.sampler.rest
    rig.sampler.wake()
    rig.until_rest()
    waits = len(rig.time.waits)
    with rig.sampler._cond:
        rig.sampler._cond.notify_all()
    rig.until_rest()
    assert len(rig.time.waits) == waits
    assert rig.sensor.reads == 1
    assert rig.rests == 1


def test_it_wakes_again_and_goes_on(rigs: Callable[..., Rig]) -> None:
    rig = rigs(tail_s=0)
    for count in (2, 4):
        rig.at[count] = rig.sampler.rest
        rig.sampler.wake()
        rig.until_rest()
        assert len(rig.outcomes) == count
        rig.time.now += 3_600_000_000
        rig.time.resting.clear()
    assert rig.rests == 2
    assert rig.sensor.threads == {"power sensor"}


def test_waking_in_the_tail_reads_on_without_a_rest(rigs: Callable[..., Rig]) -> None:
    rig = rigs(tail_s=1)
    rig.at[3] = rig.sampler.rest
    rig.at[6] = rig.sampler.wake
    rig.at[30] = rig.sampler.rest
    rig.sampler.wake()
    rig.until_rest()
    assert len(rig.outcomes) == 39
    assert rig.rests == 1


def test_waking_and_resting_again_and_again_changes_nothing(rigs: Callable[..., Rig]) -> None:
    rig = rigs(tail_s=0)
    rig.sampler.rest()
    rig.at[2] = lambda: (rig.sampler.wake(), rig.sampler.wake())
    rig.at[3] = lambda: (rig.sampler.rest(), rig.sampler.rest())
    rig.sampler.wake()
    rig.until_rest()
    assert rig.times == [1_000_000, 1_100_000, 1_200_000]


def test_a_parked_gpu_is_not_read_and_not_reported(rigs: Callable[..., Rig]) -> None:
    rig = rigs(tail_s=0)
    rig.sensor.parked = True
    parked = threading.Event()

    def pause(condition: threading.Condition, seconds: float | None) -> None:
        if len(rig.time.waits) == 20:
            parked.set()
            rig.sensor.parked = False
        rig.time.pause(condition, seconds)

    rig.sampler._pause = pause
    rig.at[1] = rig.sampler.rest
    rig.sampler.wake()
    assert parked.wait(DEADLINE_S)
    rig.until_rest()
    assert rig.sensor.reads == 1
    assert rig.times[0] > 1_000_000 + 20 * 100_000 - 1


@pytest.mark.parametrize(("lost", "after_us"), [(False, RETRY_US), (True, RETRY_LOST_US)])
def test_a_failure_is_told_and_the_sensor_let_go_and_left_alone_for_a_while(
    rigs: Callable[..., Rig], lost: bool, after_us: int
) -> None:
    rig = rigs(tail_s=0)
    error = SensorError("The GPU is gone. Find it.", lost=lost)

    def fail() -> None:
        rig.sensor.fail = error

    def heal() -> None:
        assert rig.sensor.closed.is_set()
        rig.sensor.fail = None

    rig.at[1], rig.at[2], rig.at[3] = fail, heal, rig.sampler.rest
    rig.sampler.wake()
    rig.until_rest()
    assert [outcome is error for _, outcome in rig.outcomes] == [False, True, False]
    assert rig.times[2] - rig.times[1] == after_us


def test_a_failure_that_no_sensor_should_have_is_an_error_like_any_other(
    rigs: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    rig = rigs(tail_s=0)
    rig.sensor.fail = ZeroDivisionError("a driver's own")
    rig.at[1] = rig.sampler.rest
    rig.sampler.wake()
    rig.until_rest()
    outcome = rig.outcomes[0][1]
    assert isinstance(outcome, SensorError)
    assert outcome.sentence == "Fake GPU could not be read (a driver's own). It will be asked again."
    assert not outcome.lost
    assert "ZeroDivisionError" in caplog.text


def test_a_read_that_hangs_is_told_once_and_does_not_hang_stop(rigs: Callable[..., Rig]) -> None:
    rig = rigs(timeout_s=0.05)
    rig.sensor.hang = threading.Event()
    rig.sampler.wake()
    outcome = rig.arrived.get(timeout=DEADLINE_S)
    assert isinstance(outcome, SensorError)
    assert outcome.lost
    assert outcome.sentence.startswith("Fake GPU has not answered for 0.05 seconds.")
    assert rig.sampler.stop() is False
    assert not rig.sampler._keeper.is_alive()  # type: ignore[union-attr]
    assert rig.sensor.reads == 1
    assert len(rig.outcomes) == 1
    rig.sensor.hang.set()
    assert rig.sensor.closed.wait(DEADLINE_S), (
        "the reader lets go of the sensor when its driver returns at last"
    )


def test_stop_in_the_middle_of_a_slow_read_does_not_wait_for_its_timeout(rigs: Callable[..., Rig]) -> None:
    rig = rigs(timeout_s=DEADLINE_S)
    rig.sensor.hang = threading.Event()
    rig.sampler.wake()
    assert rig.sensor.hanging.wait(DEADLINE_S)
    assert rig.sampler.stop() is False
    assert not rig.sampler._keeper.is_alive()  # type: ignore[union-attr]
    assert rig.outcomes == []


def test_a_sensor_that_answers_after_all_is_read_again(rigs: Callable[..., Rig]) -> None:
    rig = rigs(timeout_s=0.5, tail_s=0)
    hang = rig.sensor.hang = threading.Event()
    rig.at[1] = hang.set
    rig.at[2] = rig.sampler.rest
    rig.sampler.wake()
    first = rig.arrived.get(timeout=DEADLINE_S)
    second = rig.arrived.get(timeout=DEADLINE_S)
    assert isinstance(first, SensorError)
    assert isinstance(second, Reading), "the stale answer of the hung read is not delivered late"
    assert second.at_us >= 1_000_000 + RETRY_LOST_US
    rig.until_rest()


def test_stop_lets_go_of_the_sensor_and_ends_both_threads(rigs: Callable[..., Rig]) -> None:
    rig = rigs()
    rig.sampler.wake()
    rig.arrived.get(timeout=DEADLINE_S)
    assert rig.sampler.stop() is True
    assert rig.sensor.closed.is_set()
    reads = rig.sensor.reads
    rig.sampler.wake()
    assert rig.sensor.reads == reads
    assert rig.sampler.stop() is True


def test_stop_at_rest_and_before_the_first_wake_is_just_as_good(rigs: Callable[..., Rig]) -> None:
    rig = rigs(tail_s=0)
    assert rig.sampler.stop() is True
    assert rig.sensor.reads == 0
    rig = rigs(tail_s=0)
    rig.at[1] = rig.sampler.rest
    rig.sampler.wake()
    rig.until_rest()
    assert rig.sampler.stop() is True


def test_when_nobody_listens_any_more_it_ends(rigs: Callable[..., Rig]) -> None:
    rig = rigs()

    def loop_closed() -> None:
        raise RuntimeError("Event loop is closed")

    rig.at[1] = loop_closed
    rig.sampler.wake()
    rig.sampler._keeper.join(DEADLINE_S)  # type: ignore[union-attr]
    assert not rig.sampler._keeper.is_alive()  # type: ignore[union-attr]
    assert rig.sampler.stop() is True


def test_a_machine_that_slept_catches_up_with_one_read_and_not_with_a_burst(rigs: Callable[..., Rig]) -> None:
    rig = rigs(tail_s=0)

    def sleep() -> None:
        rig.time.now += 60_000_000

    rig.at[2] = sleep
    rig.at[4] = rig.sampler.rest
    rig.sampler.wake()
    rig.until_rest()
    gaps = [after - before for before, after in zip(rig.times, rig.times[1:], strict=False)]
    assert gaps == [100_000, 60_000_000, 100_000]


def test_no_sensor_at_all_is_never_read(rigs: Callable[..., Rig]) -> None:
    sensor = NullSensor()
    assert sensor.asleep()
    assert sensor.info.source == "model"
    assert sensor.read().power_w is None
    sensor.close()
