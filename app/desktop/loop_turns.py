"""Turns: what lets an asyncio loop live inside Qt's, whatever the platform polls its sockets with.

Rule 1: whenever Qt has control, either the kick timer runs, or nothing is ready and one timer is set for the
head of the heap. So no wake-up is lost, and an idle loop does not wake at all. Rule 2: a turn may be interrupted
by another turn at any callback, because a callback may open a menu or a dialog that spins a Qt loop of its own.
So what was true before a callback is looked at again after it.

`asyncio.BaseEventLoop` keeps the ready deque and the heap; its `run_forever` calls `_run_once` between its set-up
and its clean-up, and here «once» is one `QCoreApplication.exec()`. The private names are those of 3.11 to 3.13.
"""

import asyncio
import contextlib
import heapq
import logging
import math
from asyncio.tasks import _enter_task, _leave_task
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextvars import Context
from time import monotonic
from typing import Any, TypeVarTuple

from PySide6.QtCore import QCoreApplication, Qt, QThread, QTimer

from app.desktop.loop_threads import DaemonExecutor

log = logging.getLogger(__name__)

Ts = TypeVarTuple("Ts")

TURN_S = 0.004  # a repaint waits this long at most, and one look at Qt (about 10 µs) costs next to nothing
STRIDE = 16  # callbacks between two looks at the clock
FARTHEST_S = 86_400.0  # QTimer counts milliseconds in 31 bits; a farther head is looked at again after a day


class QtTurns(asyncio.BaseEventLoop):
    """Mixin that stands to the left of a loop class: runs its callbacks and timers in turns given by Qt."""

    # Slots, because CPython reads an instance's attributes the slow way once it has more than 30 in its dict;
    # asyncio's loop has 24, and with ours beside them all of asyncio's own work took 2.5 % longer.
    __slots__ = (
        "_app", "_depth", "_fatal", "_head_at", "_head_timer", "_kick_timer", "_kicked", "_left", "turns",
    )  # fmt: skip

    # Any: handles, whose private fields the type stubs do not show.
    _ready: deque[Any]
    _scheduled: list[Any]
    _timer_cancelled_count: int
    _stopping: bool
    _closed: bool
    _debug: bool
    _default_executor: Executor | None
    _executor_shutdown_called: bool
    _clock_resolution: float

    def __init__(self, app: QCoreApplication, *args: Any) -> None:
        self._app = app
        self.turns = 0  # given by Qt so far: an idle loop is one where this stands still
        self._depth = 0  # turns on the stack: more than one when a callback has opened a nested Qt loop
        self._left = (
            0  # callbacks of the present batch, at the left of the ready deque; nested turns share it
        )
        self._kicked = False  # the kick timer runs
        self._head_at: float | None = None  # loop time the head timer is set for
        self._fatal: BaseException | None = None
        self._kick_timer = _one_shot(self._on_kick)
        self._head_timer = _one_shot(self._on_head)
        super().__init__(*args)

    # What a platform adds.

    def _poll(self) -> None:
        """Move the callbacks of ready files to the ready deque, without waiting."""

    def _watch(self, on: bool) -> None:
        """Have Qt give a turn when a file is ready, or no longer."""

    # asyncio's side: what is to run, and when.

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As BaseEventLoop's, in one function instead of two: every step of every task comes through here."""
        if self._debug or self._closed:
            handle = asyncio.BaseEventLoop.call_soon(
                self, callback, *args, context=context
            )  # with its checks
        else:
            handle = asyncio.Handle(callback, args, self, context)
            self._ready.append(handle)
        if not self._kicked:
            self._kick()
        return handle

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As BaseEventLoop's. A timer that a Qt slot puts at the head asks for a turn, which sets Qt's timer."""
        if self._debug or self._closed:
            timer = asyncio.BaseEventLoop.call_at(
                self, when, callback, *args, context=context
            )  # with its checks
        else:
            timer = asyncio.TimerHandle(when, callback, args, self, context)
            timer._scheduled = True  # type: ignore[attr-defined]
            heapq.heappush(self._scheduled, timer)
        if not self._kicked and self._scheduled[0] is timer:
            self._kick()
        return timer

    def _timer_handle_cancelled(self, handle: Any) -> None:
        if handle._scheduled:
            self._timer_cancelled_count += 1
            if not self._kicked:
                self._kick()  # cancelled by a Qt slot: the turn sweeps it away, and it wakes nobody later

    def stop(self) -> None:
        """Finish the callbacks that are ready, then have `run_forever` return; nested Qt loops end as well."""
        self._stopping = True
        if not self._kicked:
            self._kick()

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """As BaseEventLoop's, with daemon threads for a default: a hung call cannot hold up the exit."""
        if executor is None and self._default_executor is None and not self._executor_shutdown_called:
            self._default_executor = DaemonExecutor()
        return asyncio.BaseEventLoop.run_in_executor(self, executor, func, *args)

    async def shutdown_default_executor(self, timeout: float | None = 2.0) -> None:
        """Let blocking calls end for `timeout` seconds (None: without limit), then leave them behind."""
        self._executor_shutdown_called = True
        executor = self._default_executor
        if executor is None:
            return
        executor.shutdown(wait=False)
        if isinstance(executor, DaemonExecutor):
            await asyncio.wait([asyncio.wrap_future(executor.finished)], timeout=timeout)
            if executor.unfinished:
                log.warning(
                    "%d blocking calls did not end in time and were left behind.", executor.unfinished
                )

    # asyncio's side: running.

    def _run_once(self) -> None:
        """Run Qt until `stop()`, until Qt quits of itself, or until a callback raises SystemExit or its like."""
        if QThread.currentThread().loopLevel():
            raise RuntimeError(
                "Qt's event loop runs in this thread already: start QtLoop in place of app.exec()."
            )
        self._watch(True)
        self._kick()
        try:
            self._app.exec()
        finally:
            self._watch(False)
            self._kick_timer.stop()
            self._head_timer.stop()
            self._kicked, self._head_at = False, None
        fatal, self._fatal = self._fatal, None
        if fatal is not None:
            raise fatal
        self._stopping = True  # where Qt quit of itself run_forever has to return too

    # Qt's side: a turn is given.

    def _kick(self) -> None:
        """Ask Qt for a turn as soon as it can. For the loop's own thread only."""
        if self.is_running():
            self._kicked = True
            self._kick_timer.start(0)

    def _on_kick(self) -> None:
        self._kicked = False
        self._turn()

    def _on_head(self) -> None:
        self._head_at = None
        self._turn()

    def _turn(self) -> None:
        """Poll and run callbacks, round after round, until nothing is ready or the turn's time is over."""
        if not self.is_running():
            return
        self.turns += 1
        self._depth += 1
        if not self._kicked:
            self._kick()  # any callback may give control to Qt, which then has to give a turn inside it
        try:
            if self._depth == 1:
                self._rounds()
            else:
                with self._task_set_aside():
                    self._rounds()
        except BaseException as exc:  # noqa: BLE001 - SystemExit and its like: run_forever raises it, not Qt's slot
            self._fatal = exc
            self._app.exit()
        finally:
            self._depth -= 1
            self._settle()

    def _rounds(self) -> None:
        ready, nested = self._ready, self._depth > 1
        over_at = monotonic() + TURN_S
        while True:
            # Files are asked once a batch, neither more often, or one whose callback still waits would be reported
            # again, nor less, or callbacks that always ask for another would keep them out.
            if not self._left:
                self._poll()
                self._take_due()
                self._left = len(ready)
                if not self._left and not self._stopping:
                    return
            for _ in range(STRIDE):
                if not self._left:
                    break
                self._left -= 1
                handle = ready.popleft()
                if handle._cancelled:
                    continue
                if nested and in_use(handle._context):
                    handle._context = handle._context.copy()
                if self._debug:
                    self._run_watched(handle)
                else:
                    handle._run()
            if self._stopping and not self._left:
                self._app.exit()
                return
            if monotonic() >= over_at:
                return

    def _take_due(self) -> None:
        """Move due timers to the ready deque; forget cancelled ones at the head, or all once they are the most."""
        heap = self._scheduled
        if self._timer_cancelled_count * 2 > len(heap):
            for timer in heap:
                timer._scheduled = not timer._cancelled
            heap[:] = [timer for timer in heap if timer._scheduled]
            heapq.heapify(heap)
            self._timer_cancelled_count = 0
        due_at = self.time() + self._clock_resolution
        while heap and (heap[0]._cancelled or heap[0]._when < due_at):
            timer = heapq.heappop(heap)
            timer._scheduled = False
            if timer._cancelled:
                self._timer_cancelled_count -= 1
            else:
                self._ready.append(timer)

    def _run_watched(self, handle: asyncio.Handle) -> None:
        started = self.time()
        handle._run()
        took_s = self.time() - started
        if took_s >= self.slow_callback_duration:
            log.warning("Executing %r took %.3f seconds", handle, took_s)

    def _settle(self) -> None:
        """Make rule 1 true again before Qt has control."""
        if self._ready:
            if not self._kicked:
                self._kick()
            return
        if self._kicked:
            self._kicked = False
            self._kick_timer.stop()
        when = self._scheduled[0].when() if self._scheduled else None
        if when == self._head_at:
            return
        self._head_at = when
        if when is None:
            self._head_timer.stop()
        else:
            delay_s = min(max(0.0, when - self.time()), FARTHEST_S)
            self._head_timer.start(math.ceil(delay_s * 1000))

    @contextlib.contextmanager
    def _task_set_aside(self) -> Iterator[None]:
        """asyncio steps no task while another is in a step; the one that waits for a dialog is not in our way."""
        task = asyncio.current_task(self)
        if task is None:
            yield
            return
        _leave_task(self, task)
        try:
            yield
        finally:
            _enter_task(self, task)


def in_use(context: Context) -> bool:
    """Whether a callback up the stack runs in this very context, which cannot be entered twice."""
    try:
        context.run(_nothing)
    except RuntimeError:
        return True
    return False


def _nothing() -> None:
    pass


def _one_shot(slot: Callable[[], None]) -> QTimer:
    # One shot, and started anew for each turn: Qt does not deliver a timer that runs inside that timer's own slot,
    # where a nested loop would wait for it in vain.
    timer = QTimer()
    timer.setSingleShot(True)
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(slot)
    return timer
