"""Reads a sensor ten times a second, but only while somebody needs it.

Rule 1: at rest nothing happens: no timer, no read, no open handle, so that an idle gateway uses no CPU and lets
the GPU sleep. Rule 2: only the reader thread ever touches the sensor, because a driver's call may hang for good;
the keeper thread waits for it no longer than `timeout_s`, and neither `stop` nor the process's end waits at all.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import Enum
from queue import Empty, SimpleQueue

from app.power.sensors.base import Clock, Reading, Sensor, SensorError, monotonic_us

RETRY_US = 1_000_000
RETRY_LOST_US = 5_000_000
"""How long to leave a sensor alone that failed, and one that only a person can bring back."""

ABANDON_S = 0.5
"""So long `stop` waits for a thread that is inside somebody else's code."""

log = logging.getLogger(__name__)

Outcome = Reading | SensorError
Pause = Callable[[threading.Condition, float | None], object]
"""Wait on a condition for so many seconds, or until notified (None)."""


class _Job(Enum):
    READ = 1
    LET_GO = 2
    END = 3


class Sampler:
    """`deliver` gets every reading, and an error each time the sensor fails, on the keeper's thread.

    `on_rest` is called there as well when the tail after `rest` has ended. Threads start with the first `wake`.
    """

    def __init__(
        self,
        sensor: Sensor,
        deliver: Callable[[Outcome], None],
        clock: Clock = monotonic_us,
        *,
        rate_hz: float = 10.0,
        tail_s: float = 10.0,
        timeout_s: float = 2.0,
        on_rest: Callable[[], None] | None = None,
        pause: Pause = threading.Condition.wait,
    ) -> None:
        self._sensor = sensor
        self._deliver = deliver
        self._clock = clock
        self._timeout_s = timeout_s
        self._on_rest = on_rest
        self._pause = pause
        self._cond = threading.Condition()
        self._awake = False
        self._stopping = False
        self._tail_until_us = 0
        self._next_us = 0
        self._hung = False
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._answers: SimpleQueue[Outcome | None] = SimpleQueue()
        self._keeper: threading.Thread | None = None
        self._reader: threading.Thread | None = None
        self._period_us, self._tail_us = _timing(rate_hz, tail_s)

    def configure(self, *, rate_hz: float, tail_s: float) -> None:
        """Readings a second while awake, and seconds of readings after `rest`."""
        self._period_us, self._tail_us = _timing(rate_hz, tail_s)

    def wake(self) -> None:
        """Read from now on. Cheap to say again."""
        if self._awake:
            return
        with self._cond:
            if self._stopping or self._awake:
                return
            self._awake = True
            self._next_us = self._clock()
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep, name="power sampler", daemon=True)
                self._reader = threading.Thread(target=self._serve, name="power sensor", daemon=True)
                self._keeper.start()
                self._reader.start()
            self._cond.notify_all()

    def rest(self) -> None:
        """Read for the tail, then let go of the sensor and wait for the next `wake`."""
        with self._cond:
            if self._awake:
                self._awake = False
                self._tail_until_us = self._clock() + self._tail_us
                self._cond.notify_all()

    def stop(self) -> bool:
        """End for good. True where both threads ended; False where one is hung in a driver and was abandoned.

        Takes milliseconds, and at most a second where something hangs: not for the loop's thread.
        """
        with self._cond:
            self._stopping = True
            self._awake = False
            self._cond.notify_all()
        self._jobs.put(_Job.END)
        self._answers.put(None)
        for thread in (self._keeper, self._reader):
            if thread is not None and thread is not threading.current_thread():
                thread.join(ABANDON_S)
        return not any(thread is not None and thread.is_alive() for thread in (self._keeper, self._reader))

    # The keeper: when to read.

    def _keep(self) -> None:
        reading = True
        while True:
            with self._cond:
                if self._stopping:
                    return
                now_us = self._clock()
                due = self._awake or now_us < self._tail_until_us
                if due and now_us < self._next_us:
                    self._pause(self._cond, (self._next_us - now_us) / 1e6)
                    continue
                if not due and not reading:
                    self._pause(self._cond, None)
                    continue
                self._next_us += self._period_us
                if self._next_us <= now_us:
                    # Late by a period or more (a machine that slept): no burst to catch up.
                    self._next_us = now_us + self._period_us
            try:
                if due:
                    self._sample()
                else:
                    self._jobs.put(_Job.LET_GO)
                    if self._on_rest is not None:
                        self._on_rest()
            except RuntimeError as error:
                # What asyncio says of a loop that is closed: nobody listens any more.
                log.info("the sampler ends, nobody takes its readings: %s", error)
                return
            reading = due

    def _sample(self) -> None:
        if self._hung:
            try:
                self._answers.get_nowait()
            except Empty:
                return
            self._hung = False
        self._jobs.put(_Job.READ)
        try:
            outcome = self._answers.get(timeout=self._timeout_s)
        except Empty:
            self._hung = True
            name = self._sensor.info.name
            outcome = SensorError(
                f"{name} has not answered for {self._timeout_s:g} seconds. Restart the machine if it stays so.",
                lost=True,
            )
        if outcome is None or self._stopping:
            return
        if isinstance(outcome, SensorError):
            self._next_us = self._clock() + (RETRY_LOST_US if outcome.lost else RETRY_US)
        self._deliver(outcome)

    # The reader: what touches the sensor.

    def _serve(self) -> None:
        while True:
            job = self._jobs.get()
            if job is _Job.READ:
                self._answers.put(self._read())
                continue
            self._let_go()
            if job is _Job.END:
                return

    def _read(self) -> Outcome | None:
        try:
            return None if self._sensor.asleep() else self._sensor.read()
        except SensorError as error:
            self._let_go()
            return error
        except Exception as error:
            log.exception("the sensor failed in a way of its own")
            self._let_go()
            name = self._sensor.info.name
            return SensorError(f"{name} could not be read ({error}). It will be asked again.", lost=False)

    def _let_go(self) -> None:
        try:
            self._sensor.close()
        except Exception:
            log.exception("the sensor could not be let go")


def _timing(rate_hz: float, tail_s: float) -> tuple[int, int]:
    """Microseconds between two readings, and of the tail."""
    if rate_hz <= 0 or tail_s < 0:
        raise ValueError("A sampler needs a rate above 0 and a tail of at least 0 seconds.")
    return round(1_000_000 / rate_hz), round(tail_s * 1_000_000)
