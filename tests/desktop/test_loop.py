"""QtLoop is an asyncio loop like any other: order, timers, rest, fairness.

Every test runs on the loop of this platform and on the one for Windows, which here stands over qasync's unix loop.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import time
import weakref
from contextlib import ExitStack
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QTimer

from app.desktop.loop_turns import TURN_S
from tests.desktop.looping import play, turns_while_idle

# --- order


def test_callbacks_run_in_the_order_they_were_asked_for(loop: Any) -> None:
    seen: list[int] = []
    for number in range(1000):
        loop.call_soon(seen.append, number)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == list(range(1000))


def test_a_callback_asked_for_by_a_callback_runs_after_those_already_waiting(loop: Any) -> None:
    seen: list[str] = []

    def first() -> None:
        seen.append("first")
        loop.call_soon(seen.append, "asked for by first")
        loop.call_soon(loop.stop)

    loop.call_soon(first)
    loop.call_soon(seen.append, "second")
    loop.run_forever()
    assert seen == ["first", "second", "asked for by first"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    delays_ms=st.lists(st.integers(-5, 15), min_size=1, max_size=40), cancelled=st.sets(st.integers(0, 39))
)
def test_timers_run_in_the_order_of_their_times_and_never_early(
    loop: Any, delays_ms: list[int], cancelled: set[int]
) -> None:
    ran: list[tuple[float, float]] = []
    start = loop.time()

    def note(when: float) -> None:
        ran.append((when, loop.time()))

    whens = [start + ms / 1000 for ms in delays_ms]
    timers = [loop.call_at(when, note, when) for when in whens]
    for number in cancelled & set(range(len(timers))):
        timers[number].cancel()
    loop.call_at(start + 0.016, loop.stop)
    loop.run_forever()
    expected = sorted(start + ms / 1000 for number, ms in enumerate(delays_ms) if number not in cancelled)
    assert [when for when, _ in ran] == expected
    assert all(at >= when for when, at in ran)


def test_a_timer_handle_knows_its_time(loop: Any) -> None:
    before = loop.time()
    handle = loop.call_later(5, print)
    assert before + 5 <= handle.when() <= loop.time() + 5
    handle.cancel()
    assert handle.cancelled()


def test_a_timer_may_be_set_for_a_time_beyond_what_qt_can_count(loop: Any) -> None:
    loop.call_later(1e9, print)
    assert turns_while_idle(loop) == 0


def test_callbacks_ready_when_stop_is_called_still_run_and_later_ones_wait_for_the_next_run(
    loop: Any,
) -> None:
    seen: list[str] = []

    def stop_and_ask() -> None:
        loop.stop()
        loop.call_soon(seen.append, "after")

    loop.call_soon(stop_and_ask)
    for _ in range(100):
        loop.call_soon(seen.append, "before")
    loop.run_forever()
    assert seen == ["before"] * 100
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == ["before"] * 100 + ["after"]


def test_a_loop_stopped_before_it_runs_runs_what_is_ready_once(loop: Any) -> None:
    seen: list[str] = []
    loop.call_soon(seen.append, "ready")
    loop.stop()
    loop.run_forever()
    assert seen == ["ready"]


# --- rest


def test_an_idle_loop_is_given_no_turns(loop: Any) -> None:
    assert turns_while_idle(loop, 1000) == 0


def test_a_timer_that_has_run_wakes_nobody_again(loop: Any) -> None:
    ran: list[str] = []
    loop.call_later(0.04, ran.append, "once")
    assert turns_while_idle(loop) == 0  # looked at from 0.1 s on
    assert ran == ["once"]


def test_ten_thousand_cancelled_timers_leave_nothing_behind(loop: Any) -> None:
    class Something:
        pass

    kept = Something()
    gone = weakref.ref(kept)

    async def story(kept: Something) -> None:
        timers = [loop.call_later(0.2 + n / 1e5, id, kept) for n in range(10_000)]
        await asyncio.sleep(0)
        for timer in timers:
            timer.cancel()

    loop.run_until_complete(story(kept))
    del kept
    assert turns_while_idle(loop) == 0  # 0.1 to 0.35 s from now: the timers would have expired in that time
    gc.collect()
    assert gone() is None
    assert loop._scheduled == []


def test_a_timer_cancelled_by_a_qt_slot_wakes_nobody_later(loop: Any) -> None:
    timer = loop.call_later(0.2, print)
    QTimer.singleShot(20, timer.cancel)
    assert turns_while_idle(loop) == 0


def test_cancelled_timers_never_outnumber_the_live_ones_however_few_there_are(loop: Any) -> None:
    async def story() -> None:
        for n in range(5):
            loop.call_later(100 + n, print)
        live = len(loop._scheduled)  # with the one that limits this story
        for _ in range(1000):
            loop.call_later(1000, print).cancel()
            await asyncio.sleep(0)
            assert len(loop._scheduled) <= 2 * live + 1

    play(loop, story)


# --- fairness


def test_qt_has_its_turns_while_asyncio_is_never_out_of_work(loop: Any) -> None:
    ticks: list[float] = []
    ticker = QTimer()
    ticker.timeout.connect(lambda: ticks.append(time.monotonic()))
    ticker.start(5)
    over_at = time.monotonic() + 0.5

    async def story() -> None:
        while time.monotonic() < over_at:
            await asyncio.sleep(0)

    play(loop, story)
    ticker.stop()
    assert len(ticks) > 20  # about 90 on a quiet machine


def test_one_batch_of_slow_callbacks_does_not_keep_qt_waiting_to_its_end(loop: Any) -> None:
    ticks: list[int] = []
    ran: list[int] = []
    ticker = QTimer()
    ticker.timeout.connect(lambda: ticks.append(len(ran)))
    ticker.start(1)
    for number in range(200):
        loop.call_soon(lambda number=number: (time.sleep(TURN_S / 8), ran.append(number)))
    loop.call_soon(loop.stop)
    loop.run_forever()
    ticker.stop()
    assert ran == list(range(200))
    assert any(0 < count < 200 for count in ticks)


def test_asyncio_has_its_turns_while_qt_is_never_out_of_work(loop: Any) -> None:
    busy = QTimer()
    busy.timeout.connect(lambda: time.sleep(0.001))
    busy.start(0)

    async def story() -> None:
        for _ in range(20):
            await asyncio.sleep(0.001)

    play(loop, story)
    busy.stop()


def test_files_and_timers_have_their_turns_though_callbacks_never_run_out(loop: Any) -> None:
    async def busy() -> None:
        while True:
            time.sleep(2 * TURN_S)
            await asyncio.sleep(0)

    async def story() -> None:
        tasks = [asyncio.create_task(busy()) for _ in range(2)]
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            reading = asyncio.create_task(loop.sock_recv(ours, 10))
            await asyncio.sleep(0.001)
            theirs.send(b"x")
            assert await reading == b"x"
        for task in tasks:
            task.cancel()

    play(loop, story)


def test_a_file_is_not_read_twice_because_a_turn_was_cut_short(loop: Any) -> None:
    reads: list[bytes] = []
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(64)]
        for ours, theirs in pairs:
            stack.callback(ours.close)
            stack.callback(theirs.close)
            ours.setblocking(False)

            def slow_read(ours: socket.socket = ours) -> None:
                time.sleep(TURN_S / 16)
                reads.append(ours.recv(10))  # raises BlockingIOError where there is nothing
                if len(reads) == len(pairs):
                    loop.stop()

            loop.add_reader(ours, slow_read)
            theirs.send(b"once")
        failures: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: failures.append(context))
        loop.run_forever()
        for ours, _ in pairs:
            loop.remove_reader(ours)
    assert reads == [b"once"] * 64
    assert failures == []
