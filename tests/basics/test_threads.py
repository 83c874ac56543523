"""What blocks goes on off the loop, in its order where that is promised, and never in the way of an end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.basics.threads import Aside, in_thread

HANGING = """
import asyncio, sys, time
sys.path.insert(0, {root!r})
from app.basics.threads import Aside, in_thread

async def main():
    try:
        await {call}
    except TimeoutError:
        print("went on")

asyncio.run(main())
"""


async def test_calls_come_one_after_the_other_whether_anybody_waits_or_not() -> None:
    aside, seen = Aside("test"), []
    gate = threading.Event()
    first = asyncio.create_task(aside.run(lambda: gate.wait(10) and seen.append(1)))
    await asyncio.sleep(0)
    second = asyncio.create_task(aside.run(lambda: seen.append(2)))
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    await second
    aside.close()
    assert seen == [1, 2]


async def test_what_a_call_raises_is_raised_to_whoever_waits() -> None:
    aside = Aside("test")
    with pytest.raises(ZeroDivisionError):
        await aside.run(lambda: 1 // 0)
    assert await aside.run(threading.current_thread) is not threading.main_thread()
    aside.close()


@pytest.mark.parametrize(
    "call",
    [
        'Aside("hangs").run(lambda: time.sleep(3600), timeout_s=0.1)',
        "in_thread(lambda: time.sleep(3600), 0.1)",
    ],
)
def test_a_call_that_hangs_keeps_neither_the_loop_nor_the_end_waiting(call: str) -> None:
    script = HANGING.format(root=str(Path(__file__).parents[2]), call=call)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=20
    )
    assert (done.stdout, done.stderr, done.returncode) == ("went on\n", "", 0)


def starting(monkeypatch: pytest.MonkeyPatch, first: Callable[[], None]) -> None:
    """Have `first` happen before each thread of a call begins."""
    start = threading.Thread.start

    def started(thread: threading.Thread) -> None:
        if thread.name == "tried":
            first()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)


def none_left() -> None:
    raise RuntimeError("can't start new thread")


async def test_the_loop_does_not_wait_until_the_system_lets_a_new_thread_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await in_thread(lambda: None, 5.0, name="tried")
    starting(monkeypatch, lambda: time.sleep(0.3))
    call = asyncio.ensure_future(in_thread(lambda: "done", 5.0, name="tried"))
    began = time.monotonic()
    await asyncio.sleep(0)
    assert time.monotonic() - began < 0.25
    assert await call == "done"
    assert time.monotonic() - began > 0.25


async def test_where_the_system_gives_out_no_more_threads_every_caller_hears_it_and_the_next_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        starting(patch, none_left)
        with pytest.raises(RuntimeError, match="new thread"):
            await in_thread(lambda: None, 5.0, name="tried")
        aside = Aside("tried")
        said = await asyncio.gather(*(aside.run(lambda: 1) for _ in range(2)), return_exceptions=True)
        assert [type(one) for one in said] == [RuntimeError, RuntimeError]
    assert await aside.run(lambda: 1) == 1
    aside.close()


async def test_a_result_that_nobody_waits_for_any_more_is_dropped() -> None:
    go_on = threading.Event()
    with pytest.raises(TimeoutError):
        await in_thread(lambda: go_on.wait(5), 0.01)
    go_on.set()
    assert await in_thread(lambda: "the next", 5.0) == "the next"
