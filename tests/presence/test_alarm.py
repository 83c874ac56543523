"""An alarm on the wall clock, with both clocks in the test's hands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from app.presence.alarm import LOOK_S, Alarm

SECOND_US = 1_000_000
HOUR_S = 3600.0


class Clocks:
    """A wall clock, and a loop's timers that stand still while the machine sleeps."""

    def __init__(self) -> None:
        self.wall_us = 10**15
        self.loop_s = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.longest_s = 0.0
        self.rung = 0
        self.set_back = 0
        self.alarm = Alarm(now_us=lambda: self.wall_us, call_later=cast(Any, self.call_later))
        self.alarm.rang.connect(self.ring)
        self.alarm.set_back.connect(self.go_back)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Any:
        timer = (self.loop_s + delay_s, callback)
        self.longest_s = max(self.longest_s, delay_s)
        self.timers.append(timer)
        clocks = self

        class Handle:
            def cancel(self) -> None:
                clocks.timers.remove(timer)

        return Handle()

    def ring(self) -> None:
        self.rung += 1

    def go_back(self) -> None:
        self.set_back += 1

    def pass_s(self, seconds: float) -> None:
        """Both clocks go on, and timers that fall due are called at their time."""
        until = self.loop_s + seconds
        while due := [timer for timer in self.timers if timer[0] <= until]:
            timer = min(due, key=lambda one: one[0])
            self.timers.remove(timer)
            self.wall_us += round((timer[0] - self.loop_s) * SECOND_US)
            self.loop_s = timer[0]
            timer[1]()
        self.wall_us += round((until - self.loop_s) * SECOND_US)
        self.loop_s = until

    def sleep_s(self, seconds: float) -> None:
        """The machine sleeps: only the wall clock goes on."""
        self.wall_us += round(seconds * SECOND_US)


def test_it_rings_once_at_its_time() -> None:
    clocks = Clocks()
    clocks.alarm.set(clocks.wall_us + 3600 * SECOND_US)
    clocks.pass_s(HOUR_S - 0.001)
    assert clocks.rung == 0
    clocks.pass_s(0.002)
    assert clocks.rung == 1
    clocks.pass_s(HOUR_S)
    assert clocks.rung == 1
    assert not clocks.timers


def test_a_machine_that_slept_through_it_hears_it_soon_after_waking() -> None:
    clocks = Clocks()
    clocks.alarm.set(clocks.wall_us + 3600 * SECOND_US)
    clocks.pass_s(60)
    clocks.sleep_s(8 * HOUR_S)
    assert clocks.rung == 0
    clocks.pass_s(LOOK_S)
    assert clocks.rung == 1
    assert clocks.longest_s <= 30


def test_a_clock_that_is_set_back_puts_it_off() -> None:
    clocks = Clocks()
    clocks.alarm.set(clocks.wall_us + 60 * SECOND_US)
    clocks.pass_s(59)
    clocks.wall_us -= 3600 * SECOND_US
    clocks.pass_s(HOUR_S - 60)
    assert (clocks.rung, clocks.set_back) == (0, 1)
    clocks.pass_s(61)
    assert clocks.rung == 1


def test_a_later_word_takes_the_place_of_the_earlier_one() -> None:
    clocks = Clocks()
    clocks.alarm.set(clocks.wall_us + 60 * SECOND_US)
    clocks.alarm.set(clocks.wall_us + 120 * SECOND_US)
    clocks.pass_s(61)
    assert clocks.rung == 0
    clocks.alarm.set(None)
    clocks.pass_s(HOUR_S)
    assert clocks.rung == 0
    assert not clocks.timers


def test_the_same_word_again_makes_no_second_timer() -> None:
    clocks = Clocks()
    at_us = clocks.wall_us + 60 * SECOND_US
    clocks.alarm.set(at_us)
    clocks.alarm.set(at_us)
    assert len(clocks.timers) == 1
    clocks.pass_s(61)
    assert clocks.rung == 1


def test_one_that_is_set_while_it_rings_rings_again() -> None:
    clocks = Clocks()
    again_us = clocks.wall_us + 90 * SECOND_US

    def set_again() -> None:
        if clocks.rung == 1:
            clocks.alarm.set(again_us)

    clocks.alarm.rang.connect(set_again)
    clocks.alarm.set(clocks.wall_us + 60 * SECOND_US)
    clocks.pass_s(61)
    assert clocks.rung == 1
    clocks.pass_s(30)
    assert clocks.rung == 2


def test_a_time_that_has_passed_rings_at_once() -> None:
    clocks = Clocks()
    clocks.alarm.set(clocks.wall_us - 1)
    assert clocks.rung == 0
    clocks.pass_s(0)
    assert clocks.rung == 1


def test_it_waits_exactly_as_long_as_is_left_and_looks_again_after_twenty_seconds_at_the_latest() -> None:
    clocks = Clocks()
    clocks.alarm.set(clocks.wall_us + 10 * SECOND_US)
    assert [due_s for due_s, _ in clocks.timers] == [10.0]
    clocks.alarm.set(clocks.wall_us + 100 * SECOND_US)
    assert [due_s for due_s, _ in clocks.timers] == [20.0]
    clocks.alarm.set(clocks.wall_us - 5 * SECOND_US)
    assert [due_s for due_s, _ in clocks.timers] == [0.0]


def test_one_that_was_stopped_leaves_no_timer_and_can_be_set_and_stopped_again() -> None:
    clocks = Clocks()
    at_us = clocks.wall_us + 60 * SECOND_US
    clocks.alarm.set(at_us)
    clocks.alarm.stop()
    assert not clocks.timers
    clocks.alarm.stop()
    clocks.alarm.set(at_us)
    assert len(clocks.timers) == 1
    clocks.pass_s(61)
    assert clocks.rung == 1


def test_the_same_time_can_be_set_again_after_it_rang() -> None:
    clocks = Clocks()
    at_us = clocks.wall_us + 60 * SECOND_US
    clocks.alarm.set(at_us)
    clocks.pass_s(61)
    clocks.alarm.set(at_us)
    clocks.pass_s(0)
    assert clocks.rung == 2
