"""Calls of Docker say so where there can be no thread for them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from app.containers.base import DaemonFailed
from app.containers.calls import Calls
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
