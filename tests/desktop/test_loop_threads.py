"""The loop's default executor: like any other, but its threads never keep the program from ending."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from typing import Any

import pytest

from app.desktop.loop_threads import DaemonExecutor


def test_results_and_exceptions_reach_whoever_waits() -> None:
    executor = DaemonExecutor()
    assert executor.submit(pow, 2, 10).result(5) == 1024
    assert executor.submit(int, "ff", base=16).result(5) == 255
    with pytest.raises(ZeroDivisionError):
        executor.submit(lambda: 1 / 0).result(5)
    executor.shutdown()


def test_no_more_threads_are_started_than_needed_or_allowed() -> None:
    executor = DaemonExecutor(max_workers=3)
    names = {executor.submit(lambda: threading.current_thread().name).result(5)}
    gate = threading.Event()
    waiting = [executor.submit(gate.wait, 5) for _ in range(10)]
    names |= {thread.name for thread in threading.enumerate() if thread.name.startswith("blocking-")}
    assert 1 <= len(names) <= 3
    gate.set()
    assert all(future.result(5) for future in waiting)
    executor.shutdown()
    assert executor.unfinished == 0


def test_threads_are_daemons_because_the_interpreter_joins_all_others() -> None:
    executor = DaemonExecutor()
    assert executor.submit(lambda: threading.current_thread().daemon).result(5) is True
    executor.shutdown()


def test_queued_calls_run_before_an_orderly_shutdown_and_not_after_a_cancelling_one() -> None:
    for cancelling in (False, True):
        gate = threading.Event()
        executor = DaemonExecutor(max_workers=1)
        running = executor.submit(gate.wait, 5)
        while not running.running():
            time.sleep(0.001)
        queued = executor.submit(pow, 2, 2)
        executor.shutdown(wait=False, cancel_futures=cancelling)
        gate.set()
        executor.finished.result(5)
        assert running.result(5) is True
        assert queued.cancelled() is cancelling
        assert executor.unfinished == 0


def test_a_future_cancelled_in_the_queue_is_not_run() -> None:
    executor = DaemonExecutor(max_workers=1)
    gate = threading.Event()
    running = executor.submit(gate.wait, 5)
    ran: list[int] = []
    queued = executor.submit(ran.append, 1)
    assert queued.cancel()
    gate.set()
    executor.shutdown()
    assert running.result(5) is True
    assert ran == []


def test_a_shut_down_executor_takes_no_calls_and_may_be_shut_down_again() -> None:
    executor = DaemonExecutor()
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(print)


def test_an_idle_thread_keeps_no_result_alive() -> None:
    class Something:
        pass

    executor = DaemonExecutor()
    future = executor.submit(Something)
    gone = weakref.ref(future.result(5))
    del future
    executor.submit(int).result(5)
    gc.collect()
    assert gone() is None
    executor.shutdown()


def test_the_loop_waits_for_blocking_calls_a_limited_time(
    loop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()

    async def story() -> float:
        assert await loop.run_in_executor(None, pow, 2, 3) == 8
        hung = loop.run_in_executor(None, gate.wait, 60)
        start = time.monotonic()
        await loop.shutdown_default_executor(0.1)
        took_s = time.monotonic() - start
        with pytest.raises(RuntimeError):
            loop.run_in_executor(None, pow, 2, 3)
        gate.set()
        await hung
        return took_s

    assert 0.1 <= loop.run_until_complete(asyncio.wait_for(story(), 20)) < 5
    assert "left behind" in caplog.text
