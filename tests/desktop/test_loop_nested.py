"""A menu or a dialog spins a Qt loop of its own, and asyncio goes on inside it, wherever it was opened.

Opened from a Qt slot, from a callback of the loop, from the step of a running task: in each, readers, timers, callbacks
and the other tasks go on, nothing runs twice, and what was interrupted continues as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QEventLoop, QTimer
from PySide6.QtWidgets import QDialog, QMenu

pytestmark = pytest.mark.qt_log_ignore(
    "This plugin does not support (raise|grabbing the keyboard)"
)  # offscreen

LIMIT_MS = (
    10_000  # a nested loop in which asyncio stands still is ended by Qt after this time, and the test fails
)


class Modal:
    """Something modal: `run()` blocks in a Qt loop of its own until `end()`."""

    def __init__(self, kind: str) -> None:
        self.ended = False
        self.timed_out = False
        if kind == "menu":
            menu = QMenu()
            menu.addAction("an entry")
            self._exec, self._close = menu.exec, menu.close
        elif kind == "dialog":
            dialog = QDialog()
            self._exec, self._close = dialog.exec, dialog.accept
        else:
            nested = QEventLoop()
            self._exec, self._close = nested.exec, nested.quit

    def run(self) -> None:
        guard = QTimer()
        guard.setSingleShot(True)
        guard.timeout.connect(self._time_out)
        guard.start(LIMIT_MS)
        self._exec()
        guard.stop()
        self.ended = True
        assert not self.timed_out, "asyncio stood still in the nested Qt loop"

    def end(self) -> None:
        self._close()

    def _time_out(self) -> None:
        self.timed_out = True
        self._close()


def slot(loop: Any, open_it: Callable[[], None]) -> None:
    QTimer.singleShot(0, open_it)


def callback(loop: Any, open_it: Callable[[], None]) -> None:
    loop.call_soon(open_it)


def timer(loop: Any, open_it: Callable[[], None]) -> None:
    loop.call_later(0.001, open_it)


def from_a_thread(loop: Any, open_it: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(open_it)


def task(loop: Any, open_it: Callable[[], None]) -> None:
    async def step() -> None:
        await asyncio.sleep(0)
        me = asyncio.current_task()
        open_it()
        assert asyncio.current_task() is me

    loop.create_task(step())


OPENERS = [slot, callback, timer, from_a_thread, task]


async def work_of_every_kind(loop: Any) -> None:
    """Ends when a callback, a timer, a reader, a writer, a thread and two tasks have had their turns."""
    soon = asyncio.Event()
    loop.call_soon(soon.set)
    await soon.wait()
    later = asyncio.Event()
    loop.call_later(0.005, later.set)
    await later.wait()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        reading = asyncio.create_task(loop.sock_recv(ours, 1 << 20))
        await asyncio.sleep(0)
        await loop.sock_sendall(theirs, b"x" * 1000)
        assert await reading
    assert await loop.run_in_executor(None, pow, 3, 2) == 9


@pytest.mark.parametrize("kind", ["menu", "dialog", "event loop"])
@pytest.mark.parametrize("opened_from", OPENERS)
def test_everything_goes_on_while_something_modal_is_open(
    loop: Any, opened_from: Callable[[Any, Callable[[], None]], None], kind: str
) -> None:
    modal = Modal(kind)

    async def story() -> None:
        opened = asyncio.Event()

        def open_it() -> None:
            opened.set()
            modal.run()

        opened_from(loop, open_it)
        await opened.wait()
        await work_of_every_kind(loop)
        assert not modal.ended
        modal.end()
        while not modal.ended:
            await asyncio.sleep(0)
        await work_of_every_kind(loop)

    loop.run_until_complete(asyncio.wait_for(story(), 30))
    loop.run_until_complete(loop.shutdown_default_executor())
    assert not modal.timed_out


def test_a_task_that_waits_for_a_dialog_is_set_aside_and_put_back(loop: Any) -> None:
    modal = Modal("event loop")
    current: list[Any] = []
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var")

    async def other() -> None:
        current.append(asyncio.current_task())
        var.set("of the other task")
        await asyncio.sleep(0.001)
        assert var.get() == "of the other task"
        modal.end()

    async def story() -> None:
        var.set("of the story")
        me = asyncio.current_task()
        another = asyncio.create_task(other())
        modal.run()
        assert asyncio.current_task() is me
        assert current == [another]
        assert var.get() == "of the story"
        async with asyncio.timeout(5):  # needs the right current task
            await another

    loop.run_until_complete(story())


def test_callbacks_that_were_ready_when_the_nested_loop_began_run_in_it_once_and_in_order(loop: Any) -> None:
    modal = Modal("event loop")
    seen: list[object] = []

    def open_it() -> None:
        modal.run()
        seen.append("closed")

    loop.call_soon(open_it)
    for number in range(100):
        loop.call_soon(seen.append, number)
    loop.call_soon(modal.end)
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert seen == [*range(100), "closed"]


def test_what_a_qt_slot_asks_for_inside_the_nested_loop_happens_inside_it(loop: Any) -> None:
    modal = Modal("dialog")

    def choose() -> None:  # a button of the dialog, say
        loop.call_later(0.01, lambda: loop.create_task(finish()))

    async def finish() -> None:
        await asyncio.sleep(0.001)
        modal.end()

    def open_it() -> None:
        QTimer.singleShot(20, choose)
        modal.run()
        loop.stop()

    loop.call_soon(open_it)
    loop.run_forever()
    assert modal.ended


def test_stop_inside_a_nested_loop_ends_both(loop: Any) -> None:
    modal = Modal("dialog")
    loop.call_soon(modal.run)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert modal.ended


def test_a_main_coroutine_that_ends_inside_a_nested_loop_ends_both(loop: Any) -> None:
    modal = Modal("menu")

    async def story() -> str:
        loop.call_soon(modal.run)
        await asyncio.sleep(0.01)
        return "done"

    assert loop.run_until_complete(story()) == "done"
    assert modal.ended


def test_system_exit_inside_a_nested_loop_leaves_both(loop: Any) -> None:
    modal = Modal("dialog")

    def leave() -> None:
        raise SystemExit(3)

    loop.call_soon(modal.run)
    loop.call_later(0.01, leave)
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert modal.ended


def test_a_reader_that_opens_a_dialog_is_not_entered_again_and_the_others_go_on(loop: Any) -> None:
    modal = Modal("dialog")
    depth = deepest = turns_inside = 0

    async def story() -> None:
        ours, theirs = socket.socketpair()
        done = asyncio.Event()

        def read() -> None:  # the file stays readable for as long as the dialog is open
            nonlocal depth, deepest, turns_inside
            depth += 1
            deepest = max(deepest, depth)
            before, began = loop.turns, time.monotonic()
            modal.run()
            turns_inside = (loop.turns - before) / (time.monotonic() - began)
            depth -= 1
            ours.recv(10)
            loop.remove_reader(ours)
            done.set()

        with ours, theirs:
            ours.setblocking(False)
            loop.add_reader(ours, read)
            theirs.send(b"x")
            await asyncio.sleep(0.3)
            await work_of_every_kind(loop)
            assert not modal.ended
            modal.end()
            await done.wait()

    loop.run_until_complete(asyncio.wait_for(story(), 20))
    loop.run_until_complete(loop.shutdown_default_executor())
    assert deepest == 1
    assert turns_inside < 1000  # a second: it must not spin


def test_a_task_that_shares_its_context_with_the_one_that_waits_goes_on(loop: Any) -> None:
    modal = Modal("event loop")
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var")
    shared = contextvars.copy_context()
    shared.run(var.set, "shared")

    async def other() -> None:
        await asyncio.sleep(0.001)
        assert var.get() == "shared"
        modal.end()

    async def opener() -> None:
        another = loop.create_task(other(), context=shared)
        modal.run()
        await another

    loop.run_until_complete(loop.create_task(opener(), context=shared))


def test_the_loop_refuses_to_start_inside_a_running_qt_loop(loop: Any) -> None:
    nested = QEventLoop()
    refusals: list[str] = []

    def start() -> None:
        with pytest.raises(RuntimeError) as refusal:
            loop.run_forever()
        refusals.append(str(refusal.value))
        nested.quit()

    QTimer.singleShot(0, start)
    nested.exec()
    assert "app.exec()" in refusals[0]
    assert not loop.is_running()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_every_callback_runs_exactly_once_however_nested_loops_are_opened(loop: Any, seed: int) -> None:
    choice = random.Random(seed)
    asked = 0
    ran: dict[int, int] = {}
    open_now = 0

    def ask() -> None:
        nonlocal asked
        asked += 1
        number = asked
        way = choice.random()
        if way < 0.4:
            loop.call_soon(act, number)
        elif way < 0.6:
            loop.call_later(choice.random() * 0.003, act, number)
        elif way < 0.8:
            loop.create_task(act_in_task(number))
        else:
            loop.call_soon_threadsafe(act, number)

    def act(number: int) -> None:
        nonlocal open_now
        ran[number] = ran.get(number, 0) + 1
        for _ in range(choice.randrange(3)):
            if asked < 150:
                ask()
        if open_now < 4 and choice.random() < 0.2:
            nested = QEventLoop()
            open_now += 1
            QTimer.singleShot(choice.randrange(3), nested.quit)
            nested.exec()
            open_now -= 1

    async def act_in_task(number: int) -> None:
        await asyncio.sleep(0)
        me = asyncio.current_task()
        act(number)
        assert asyncio.current_task() is me

    async def story() -> None:
        while asked < 150:
            ask()
            await asyncio.sleep(0)
        while len(ran) < asked or open_now:
            await asyncio.sleep(0.001)

    failures: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    loop.run_until_complete(asyncio.wait_for(story(), 20))
    assert failures == []
    assert ran == dict.fromkeys(range(1, asked + 1), 1)
