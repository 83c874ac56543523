"""One connection to an engine, and one answer that comes over it.

Rule 1: giving up on an answer closes its connection at once, because that is how an engine learns to stop.
Rule 2: a line knows its owner only by `Owner`: it reports there and decides nothing about other lines.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Callable
from typing import Protocol, cast

from app.engine.base import EngineBroken, EngineError
from app.engine.http1 import BadResponse, ResponseParser

_BUFFER_B = 256 * 1024
"""How much of an answer waits here for a slow reader before the engine is made to wait."""

MOST_WHOLE_B = 32 * 2**20
"""The longest answer that is read in one piece: as much as the largest request."""


class Owner(Protocol):
    """Who keeps the lines."""

    def rested(self, line: Line, *, reusable: bool) -> None:
        """The line's answer has ended well."""

    def lost(self, line: Line) -> None:
        """The line is no more."""

    def broken(self, why: str) -> EngineBroken:
        """The error for an answer that failed because of `why` (the end of a sentence)."""


class Answer:
    """One answer (see `base.Reply`), and the iterator over its own chunks."""

    __slots__ = (
        "buffered_b",
        "content_type",
        "ended",
        "error",
        "line",
        "loop",
        "parts",
        "status",
        "waiter",
        "whole",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.status = 0
        self.content_type = ""
        self.line: Line | None = None
        self.parts: list[bytes] = []
        self.buffered_b = 0
        self.ended = False
        self.error: EngineError | None = None
        self.whole = False
        """Nobody wants to be woken before the end."""
        self.waiter: asyncio.Future[None] | None = None

    async def head(self) -> None:
        """Wait for the status line."""
        while not self.status:
            if self.error is not None:
                raise self.error
            self.waiter = self.loop.create_future()
            try:
                await self.waiter
            except BaseException:
                self.release()
                raise

    async def read(self) -> bytes:
        """All of the answer; EngineBroken where it is longer than `MOST_WHOLE_B`."""
        if not self.ended:
            self.whole = True
            self._take()
            self.waiter = self.loop.create_future()
            try:
                await self.waiter
            except BaseException:
                self.release()
                raise
        if self.error is not None:
            raise self.error
        parts = self.parts
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(self) -> AsyncIterator[bytes]:
        """The answer as it comes."""
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        parts = self.parts
        while not parts:
            if self.ended:
                if self.error is not None:
                    raise self.error
                raise StopAsyncIteration
            self.waiter = self.loop.create_future()
            try:
                await self.waiter
            except BaseException:
                self.release()
                raise
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._take()
        return data

    def release(self) -> None:
        """Close the connection unless the answer has ended."""
        line = self.line
        if line is not None:
            self.line = None
            self.ended = True
            self.error = EngineBroken("The answer was given up before its end.")
            line.drop()

    def arrived(self) -> None:
        """Something came: wake who waits for it."""
        waiter = self.waiter
        if waiter is not None and (self.ended or not self.whole):
            self.waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _take(self) -> None:
        """The reader keeps up: let the engine go on where it was made to wait."""
        self.buffered_b = 0
        line = self.line
        if line is not None and line.paused:
            line.paused = False
            line.transport.resume_reading()


class Line(asyncio.Protocol):
    """One connection; one answer at a time."""

    __slots__ = (
        "_answer",
        "_owner",
        "_parser",
        "_poll",
        "idle_since_s",
        "paused",
        "silent_ticks",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._answer: Answer | None = None
        self._parser = ResponseParser()
        self._poll: Callable[[int], list[tuple[int, int]]] | None = None
        self.paused = False
        """Reading is paused: the engine's silence is our doing."""
        self.silent_ticks = 0
        """How often the owner's clock has ticked since the engine last said something."""
        self.idle_since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A TCP transport, although uvloop's does not say so by inheritance.
        self.transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(select, "poll"):
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLIN)
            self._poll = poll.poll

    def is_fresh(self) -> bool:
        """Whether the engine has neither closed this idle line nor said anything on it.

        The kernel is asked, because the loop may not have come round to reading it.
        """
        return not self.transport.is_closing() and not (self._poll is not None and self._poll(0))

    def ask(self, answer: Answer, request: bytes) -> bool:
        """Send; False, and the line closed, where the kernel took nothing of it."""
        self._parser.reset()
        self.silent_ticks = 0
        self.transport.write(request)
        if self.transport.is_closing():
            # A selector loop writes at once and closes on the error; others find out later, by an early end.
            return False
        self._answer = answer
        answer.line = self
        return True

    def drop(self) -> None:
        """Close at once, telling nobody who waits."""
        self._answer = None
        self.transport.abort()
        self._owner.lost(self)

    def fail(self, error: EngineError) -> None:
        """End the answer, if there is one, with an error, and the line with it."""
        answer = self._answer
        self.drop()
        if answer is not None:
            answer.line = None
            answer.error = error
            answer.ended = True
            answer.arrived()

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            self.drop()
            return
        self.silent_ticks = 0
        parser = self._parser
        try:
            parser.feed(data, answer.parts)
        except BadResponse as error:
            self.fail(self._owner.broken(str(error)))
            return
        if not answer.status:
            if not parser.status:
                return
            answer.status = parser.status
            answer.content_type = parser.content_type
        if parser.ended:
            self._finish(answer)
        else:
            answer.buffered_b += len(data)
            if answer.buffered_b > _BUFFER_B:
                if answer.whole:
                    if answer.buffered_b > MOST_WHOLE_B:
                        why = f"its answer is longer than {MOST_WHOLE_B // 2**20} MB"
                        self.fail(self._owner.broken(why))
                        return
                elif not self.paused:
                    self.paused = True
                    self.transport.pause_reading()
        answer.arrived()

    def connection_lost(self, exc: Exception | None) -> None:
        answer = self._answer
        if answer is not None:
            try:
                self._parser.feed_eof()
                ended = exc is None
            except BadResponse:
                ended = False
            if ended:
                self._finish(answer)
                answer.arrived()
            elif answer.status:
                self.fail(self._owner.broken("the connection ended in the middle of its answer"))
            else:
                self.fail(self._owner.broken("it closed the connection without an answer"))
        self._owner.lost(self)

    def _finish(self, answer: Answer) -> None:
        self._answer = None
        answer.line = None
        answer.ended = True
        if self.paused:
            self.paused = False
            self.transport.resume_reading()
        self._owner.rested(self, reusable=self._parser.keep_alive and not self._parser.excess)
