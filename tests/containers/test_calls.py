"""The loop goes on while threads for Docker's calls are begun, and says so where there can be none."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from app.containers.base import DaemonFailed
from app.containers.calls import Calls, in_thread
from app.containers.candidates import DaemonPlace
from app.containers.errors import DockerCall

NOWHERE = Calls(DaemonPlace("unix:///no/such.sock", "a test"), "1.41")


def starting(monkeypatch: pytest.MonkeyPatch, first: Callable[[], None]) -> None:
    """Have `first` happen before each thread of a call begins."""
    start = threading.Thread.start

    def started(thread: threading.Thread) -> None:
        if thread.name in ("docker", "docker-stream"):
            first()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)


async def test_the_loop_does_not_wait_until_the_system_lets_a_new_thread_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await in_thread(lambda: None, 5.0)
    starting(monkeypatch, lambda: time.sleep(0.3))
    call = asyncio.ensure_future(in_thread(lambda: "done", 5.0))
    began = time.monotonic()
    await asyncio.sleep(0)
    assert time.monotonic() - began < 0.25
    assert await call == "done"
    assert time.monotonic() - began > 0.25


async def test_where_the_system_gives_out_no_more_threads_a_call_and_a_stream_end_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left() -> None:
        raise RuntimeError("can't start new thread")

    starting(monkeypatch, none_left)
    with pytest.raises(DaemonFailed, match=r"^Docker could not look around\.$"):
        await NOWHERE.do(DockerCall("look around"), lambda client: None)
    with pytest.raises(DaemonFailed, match=r"^Docker could not look around\.$"):
        async for _ in NOWHERE.stream(DockerCall("look around"), lambda client: iter(())):
            pass
