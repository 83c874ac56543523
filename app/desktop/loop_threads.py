"""The loop's default executor: blocking calls in threads that never hold up the end of the program.

One rule: nobody joins these threads without a limit. Those of `concurrent.futures.ThreadPoolExecutor` are joined
when the interpreter ends, so one hung DNS or Docker call would keep a closed program alive; these are daemons.
"""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Job = tuple[Future[Any], Callable[[], Any]]


class DaemonExecutor(Executor):
    """Runs calls in at most `max_workers` daemon threads, started when needed and kept until `shutdown`."""

    def __init__(self, max_workers: int = 16, name: str = "blocking") -> None:
        self.finished: Future[None] = Future()  # done when shut down and the last thread has left
        self._max_workers = max_workers
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._unfinished = (
            0  # jobs queued or running: a thread more is started while there are more than threads
        )
        self._closed = False

    @property
    def unfinished(self) -> int:
        """How many calls are queued or still running."""
        return self._unfinished

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue one call. Raises RuntimeError after `shutdown`."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError(
                    "The executor of this loop is shut down: start blocking calls before closing."
                )
            self._jobs.put((future, lambda: fn(*args, **kwargs)))
            self._unfinished += 1
            if self._unfinished > self._threads < self._max_workers:
                self._threads += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; threads leave when the queue is empty. `wait` has no limit: look at `finished`."""
        with self._lock:
            if not self._closed:
                self._closed = True
                if cancel_futures:
                    self._drop_queued()
                for _ in range(self._threads):
                    self._jobs.put(None)
                if not self._threads:
                    self.finished.set_result(None)
        if wait:
            self.finished.result()

    def _drop_queued(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    job[0].cancel()
                    self._unfinished -= 1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            _run(*job)
            del job  # or an idle thread would keep the last result alive
            with self._lock:
                self._unfinished -= 1
        with self._lock:
            self._threads -= 1
            last = not self._threads
        if last:
            self.finished.set_result(None)


def _run(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as exc:  # noqa: BLE001 - it belongs to whoever waits for the future
        future.set_exception(exc)
    else:
        future.set_result(result)
