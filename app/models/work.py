"""Pieces of work on models: what runs, what has ended lately, and how to stop one.

Rule 1: a piece of work is a task; whoever looks sees its latest state, and nobody who goes away ends it. Rule 2: what
ended stays listed until twenty others have ended. Rule 3: every way out of a task is an outcome and a sentence.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

from app.basics.traces import where
from app.engine.host import Progress
from app.models.base import Doing, ModelError, Operation, Outcome
from app.models.pace import Pace

log = logging.getLogger(__name__)

_REMEMBERED = 20
_CLOSE_S = 20.0

Tell = Callable[[str, int, int], None]


class Work:
    """One piece. `url`: where an update comes from; `sha256`: what the file there must have, or empty."""

    def __init__(
        self, doing: Doing, model: str, what: str, url: str, sha256: str, changed: Callable[[], None]
    ) -> None:
        self.url = url
        self.expected_b = 0
        """What it will bring to the disk, as far as that is known."""
        self.state = Operation(
            secrets.token_hex(6),
            doing,
            model,
            Outcome.RUNNING,
            Progress(what, 0, 0),
            f"{what}.",
            source=url,
            sha256=sha256,
        )
        self.task: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        self._pace = Pace()
        self._changed = changed

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.state.outcome is Outcome.RUNNING

    def tell(self, what: str, done_b: int, total_b: int) -> None:
        """How far it is."""
        if not self.running:
            return
        before = self.state.progress
        progress = self._pace.tell(asyncio.get_running_loop().time(), what, done_b, total_b)
        self.state = replace(self.state, progress=progress, sentence=f"{what}.")
        if before.what != what:
            self._changed()

    def cancel(self) -> None:
        """Stop it, once: what it puts back then is not to be stopped by somebody's impatience."""

        def cancel() -> None:
            if self.running and self.task is not None and not self.task.cancelling():
                self.task.cancel()

        # One that has not begun yet would never run, and so never end: it begins first.
        asyncio.get_running_loop().call_soon(cancel)

    def end(self, outcome: Outcome, sentence: str) -> None:
        """It is over."""
        self.state = replace(
            self.state,
            outcome=outcome,
            sentence=sentence,
            progress=replace(self.state.progress, rate_b_per_s=0.0, seconds_left=None),
        )
        self.ended.set()
        self._changed()


class Workshop:
    """Everything that runs, and the last that ended."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._all: deque[Work] = deque()
        self._closing = False

    def operations(self) -> tuple[Operation, ...]:
        """The newest first."""
        return tuple(work.state for work in self._all)

    def running(self, doing: Doing | None = None) -> list[Work]:
        """What runs, of one kind or of all."""
        return [work for work in self._all if work.running and doing in (None, work.state.doing)]

    def find(self, operation: str) -> Work | None:
        """By its id."""
        return next((work for work in self._all if work.state.id == operation), None)

    def begin(
        self,
        doing: Doing,
        model: str,
        what: str,
        do: Callable[[Work], Awaitable[str]],
        *,
        url: str = "",
        sha256: str = "",
    ) -> Work:
        """Start it; what `do` returns is its last sentence, a ModelError its failure."""
        if self._closing:
            raise ModelError("The gateway is ending: start it again first.")
        work = Work(doing, model, what, url, sha256, self._changed)
        self._all.appendleft(work)
        self._forget()
        work.task = asyncio.create_task(self._do(work, do), name=f"{doing.value} {model}")
        self._changed()
        return work

    async def _do(self, work: Work, do: Callable[[Work], Awaitable[str]]) -> None:
        try:
            sentence = await do(work)
        except ModelError as error:
            work.end(Outcome.FAILED, str(error))
        except asyncio.CancelledError:
            work.end(Outcome.CANCELLED, f"{_CANCELLED[work.state.doing]}.")
            # Only `cancel` and `close` cancel, and both have what they wanted.
        except Exception as error:  # noqa: BLE001 (its text may be a client's)
            log.error("Work on a model failed in a way nobody had thought of: %s.", where(error))
            work.end(Outcome.FAILED, "It failed for a reason that nobody had thought of: the log has more.")
        else:
            work.end(Outcome.DONE, sentence)

    async def close(self) -> None:
        """Stop everything, and wait a while for what has to be put back."""
        self._closing = True
        running = self.running()
        for work in running:
            work.cancel()
        tasks = [work.task for work in running if work.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_S)

    def _forget(self) -> None:
        ended = [work for work in self._all if not work.running]
        for work in ended[_REMEMBERED:]:
            self._all.remove(work)


_CANCELLED = {
    Doing.PULL: "Cancelled; what has come is kept",
    Doing.UPDATE: "Cancelled; what has come is kept, and the model is what it was",
    Doing.LOAD: "Cancelled",
}
