"""Blocking calls of the SDK, away from the loop: each in a daemon thread of its own, with a deadline.

Rule 1: a thread a call: a pull of an hour must not hold up an inspect. Rule 2: whoever stops waiting hangs up: a
deadline that has passed, a cancelled task and a closed stream end the connection, so their threads end as well.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

from app.basics.threads import in_thread, launch
from app.containers.base import ContainerError, DaemonUnreachable
from app.containers.candidates import DaemonPlace
from app.containers.errors import DockerCall, translate
from app.containers.transport import DockerClient

DEADLINE_S = 30.0
CONNECT_S = 10.0
_STREAM_ROOM = 1000

T = TypeVar("T")


class Calls:
    """Calls to the daemon at `place`, in `version` of its API."""

    def __init__(self, place: DaemonPlace, version: str, deadline_s: float = DEADLINE_S) -> None:
        self._place = place
        self._version = version
        self._deadline_s = deadline_s
        self._open: set[DockerClient] = set()
        self._closed = False

    async def do(
        self,
        call: DockerCall,
        work: Callable[[DockerClient], T],
        *,
        deadline_s: float | None = None,
        silent_s: float | None = None,
    ) -> T:
        """The result of `work(client)`, run in a thread; raises ContainerError. `deadline_s` is for all of it;
        `silent_s`, where it is given instead, for each time that the daemon says nothing."""
        limit = deadline_s or self._deadline_s
        holder = _Holder(self, silent_s or limit)

        def run() -> T:
            with holder as client:
                return work(client)

        try:
            return await in_thread(run, None if silent_s else limit + 1.0, name="docker")
        except Exception as error:
            raise translate(error, call) from error
        finally:
            holder.hang_up()

    async def stream(
        self, call: DockerCall, begin: Callable[[DockerClient], Iterator[T]]
    ) -> AsyncGenerator[T, None]:
        """What `begin(client)` yields, until it ends; raises ContainerError. Closing it, or cancelling whoever waits
        for it, hangs up. The daemon is not read from while more than a thousand items wait here."""
        loop = asyncio.get_running_loop()
        feed: _Feed[T] = _Feed(loop)
        holder = _Holder(self, CONNECT_S)

        def run() -> None:
            failure: BaseException | None = None
            try:
                with holder as client:
                    for item in begin(client):
                        if not feed.put(item):
                            break
            except BaseException as error:  # noqa: BLE001  the consumer gets it, whatever it is
                failure = error
            feed.end(failure)

        launch(run, "docker-stream", feed.end)
        try:
            while True:
                items, ended = await feed.take()
                for item in items:
                    yield item
                if ended:
                    break
            if feed.failure is not None:
                raise translate(feed.failure, call) from feed.failure
        finally:
            feed.close()
            holder.hang_up()

    def close(self) -> None:
        """Hang up whatever is going on, and allow nothing more."""
        self._closed = True
        for client in list(self._open):
            client.hang_up()

    def begin(self, timeout_s: float) -> DockerClient:
        """A client for one call."""
        if self._closed:
            raise DaemonUnreachable("The connection to Docker has been closed. Open it again.")
        client = DockerClient(self._place, self._version, timeout_s)
        self._open.add(client)
        return client

    def end(self, client: DockerClient) -> None:
        """Done with it."""
        self._open.discard(client)
        client.close()


class _Holder:
    """A client that is made and used in the thread, and may be hung up from the loop before it exists."""

    def __init__(self, calls: Calls, timeout_s: float) -> None:
        self._calls = calls
        self._timeout_s = timeout_s
        self._client: DockerClient | None = None
        self._lock = threading.Lock()
        self._given_up = False

    def __enter__(self) -> DockerClient:
        # Not under the lock: making a client reads files, and `hang_up` is called in the loop.
        client = self._calls.begin(self._timeout_s)
        with self._lock:
            if not self._given_up:
                self._client = client
                return client
        self._calls.end(client)
        raise ContainerError("This was given up before it began.")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            self._calls.end(client)

    def hang_up(self) -> None:
        with self._lock:
            self._given_up = True
            if self._client is not None:
                self._client.hang_up()


class _Feed(Generic[T]):
    """From one thread to the loop, in batches, with room for a thousand items."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._there = asyncio.Event()
        self._items: list[T] = []
        self._state = threading.Condition()
        self._closed = False
        self._ended = False
        self.failure: BaseException | None = None

    def put(self, item: T) -> bool:
        """Called in the thread; waits for room. False: nobody wants any more."""
        with self._state:
            self._state.wait_for(lambda: self._closed or len(self._items) < _STREAM_ROOM)
            if self._closed:
                return False
            self._items.append(item)
            first = len(self._items) == 1
        if first:
            self._wake()
        return True

    def end(self, failure: BaseException | None) -> None:
        """Called in the thread."""
        with self._state:
            self._ended, self.failure = True, failure
        self._wake()

    async def take(self) -> tuple[list[T], bool]:
        """All that waits, and whether that was the end."""
        await self._there.wait()
        self._there.clear()
        with self._state:
            items, self._items = self._items, []
            self._state.notify()
            return items, self._ended

    def close(self) -> None:
        """Called in the loop: nobody wants any more."""
        with self._state:
            self._closed = True
            self._state.notify()

    def _wake(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._there.set)
