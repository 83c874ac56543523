"""Work aside: in its order, off the loop, and never in the way of an end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.models.aside import Aside

HANGING = """
import asyncio, sys, time
sys.path.insert(0, {root!r})
from app.models.aside import Aside

async def main():
    try:
        await Aside("hangs").run(lambda: time.sleep(3600), timeout_s=0.1)
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


def test_a_call_that_hangs_keeps_neither_the_loop_nor_the_end_waiting() -> None:
    script = HANGING.format(root=str(Path(__file__).parents[2]))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=20
    )
    assert (done.stdout, done.stderr, done.returncode) == ("went on\n", "", 0)
