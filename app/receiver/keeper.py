"""The store as the rest of the room sees it: an object on the event loop over one writing and one reading thread.

Rule 1: while one commit is on its way to the disk, what comes waits together for the next: the busier, the larger the
commits. Rule 2: what waits is bounded; beyond, whoever sends hears that it should come again.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from app.basics.threads import Aside
from app.ledger.cosignature import Cosigner
from app.receiver.commits import Outcome, Work, commit
from app.receiver.counts import Counts
from app.receiver.errors import ReceiverError, StoreAway, StoreFault
from app.receiver.store import CopyStore

log = logging.getLogger(__name__)

TOGETHER = 256
TOGETHER_B = 8 << 20
WAITING_B = 128 << 20
WAITING = 8192
READ_S = 30.0
CLOSE_S = 10.0

T = TypeVar("T")


class Keeper:
    """Open it with `await Keeper.open(…)`, end it with `await keeper.close()`."""

    def __init__(
        self,
        open_store: Callable[[], CopyStore],
        cosigner: Cosigner,
        now_s: Callable[[], int],
        counts: Counts,
    ) -> None:
        """Use `open`."""
        self.cosigner = cosigner
        self.fault: str | None = None
        """Why nothing can be kept now, in a sentence."""
        self._open_store = open_store
        self._now_s = now_s
        self._counts = counts
        self._writing = Aside("receiver-writer")
        self._reading = Aside("receiver-reader")
        self._writer: CopyStore | None = None
        self._reader: CopyStore | None = None
        self._waiting: deque[tuple[Work, Future[Outcome]]] = deque()
        self._waiting_b = 0
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    @classmethod
    async def open(
        cls,
        open_store: Callable[[], CopyStore],
        cosigner: Cosigner,
        now_s: Callable[[], int],
        counts: Counts | None = None,
    ) -> Keeper:
        """`open_store` is called once in each thread, and what it raises is raised; `now_s` is wall time in seconds."""
        keeper = cls(open_store, cosigner, now_s, counts or Counts())
        try:
            keeper._writer = await keeper._writing.run(open_store)
            keeper._reader = await keeper._reading.run(open_store)
        except BaseException:
            await keeper.close()
            raise
        return keeper

    @property
    def kind(self) -> str:
        """What keeps the copy: SQLite or PostgreSQL."""
        assert self._writer is not None
        return self._writer.kind

    @property
    def waiting(self) -> int:
        """How many pieces of work wait for a commit."""
        return len(self._waiting)

    async def put(self, work: Work) -> Outcome:
        """What came of `work`, once it is durable. Raises StoreAway where too much waits already.

        Cancelling whoever awaits it never takes it back.
        """
        if self._closing:
            raise StoreAway("The receiver is stopping.")
        if self._waiting_b + len(work.body) > WAITING_B or len(self._waiting) >= WAITING:
            raise StoreAway("More is waiting to be kept than the receiver has room for: send it again later.")
        future: Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        self._waiting_b += len(work.body)
        if self._task is None:
            self._task = asyncio.create_task(self._work_off())
        return await asyncio.shield(future)

    async def read(self, work: Callable[[CopyStore], T]) -> T:
        """What `work` finds, run on the reader's thread. Raises StoreFault, and StoreAway where it takes too long."""
        reader = self._reader
        if reader is None:
            raise StoreAway("The receiver is stopping.")
        try:
            return await self._reading.run(lambda: work(reader), timeout_s=READ_S)
        except TimeoutError:
            raise StoreAway("The store did not answer in time: try again later.") from None

    async def write(self, work: Callable[[CopyStore], T]) -> T:
        """The same on the writer's thread, between two commits."""
        writer = self._writer
        if writer is None:
            raise StoreAway("The receiver is stopping.")
        return await self._writing.run(lambda: work(writer))

    async def close(self) -> None:
        """Keep what waits, and let go of the store. Again is harmless."""
        self._closing = True
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSE_S)
        writer, self._writer = self._writer, None
        reader, self._reader = self._reader, None
        for aside, store in ((self._writing, writer), (self._reading, reader)):
            if store is not None:
                try:
                    await aside.run(store.close, timeout_s=CLOSE_S)
                except TimeoutError:
                    log.error("The store does not answer; its thread is left behind.")
            aside.close()

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                batch = self._next()
                works = [work for work, _ in batch]
                outcomes = await self._commit(works)
                for (_, future), outcome in zip(batch, outcomes, strict=True):
                    if not future.done():
                        future.set_result(outcome)
        finally:
            self._task = None
            while self._waiting:
                self._waiting.popleft()[1].cancel()

    def _next(self) -> list[tuple[Work, Future[Outcome]]]:
        batch: list[tuple[Work, Future[Outcome]]] = []
        size_b = 0
        while self._waiting and len(batch) < TOGETHER:
            more_b = len(self._waiting[0][0].body)
            if batch and size_b + more_b > TOGETHER_B:
                break
            size_b += more_b
            batch.append(self._waiting.popleft())
        self._waiting_b -= size_b
        return batch

    async def _commit(self, works: list[Work]) -> list[Outcome]:
        writer = self._writer
        if writer is None:
            return [StoreAway("The receiver is stopping.")] * len(works)
        began = asyncio.get_running_loop().time()
        cosigner, now_s = self.cosigner, self._now_s()
        try:
            outcomes = await self._writing.run(lambda: commit(writer, cosigner, works, now_s))
        except RuntimeError as error:  # the system gives out no more threads
            outcomes = [ReceiverError(f"Nothing can be kept now: {error}.")] * len(works)
        self._counts.committed(outcomes, asyncio.get_running_loop().time() - began)
        self._tell(next((str(outcome) for outcome in outcomes if isinstance(outcome, StoreFault)), None))
        return outcomes

    def _tell(self, fault: str | None) -> None:
        if fault == self.fault:
            return
        self.fault = fault
        if fault is None:
            log.warning("The store takes submissions again.")
        else:
            log.error("%s", fault)
