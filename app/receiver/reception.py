"""Connections: how many, and how long each may keep us waiting. aiohttp's own server knows no bounds.

Rule: where there is no room, the connection that has kept us waiting for longest goes, and only where all of them are
being answered the newcomer is sent away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web

from app.access.refusals import Refusal

FIRST_S = 15.0
"""For a connection's first request to be there whole, up to its body."""
IDLE_S = 120.0
"""Between two requests, and for the rest of an answer to be taken."""
BODY_S = 60.0
SWEEP_S = 1.0
FOREVER = float("inf")
_NO_ROOM = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Caller(web.RequestHandler):
    """One connection."""

    __slots__ = ("_house", "asked", "since")

    def __init__(self, manager: web.Server, house: Reception, **options: Any) -> None:
        super().__init__(manager, **options)
        self._house = house
        self.asked = False
        self.since = FOREVER
        """When it began to keep us waiting, by the loop's clock; inf while it is being answered."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it in, or send it away."""
        self.since = self._loop.time()
        if self._house.admit(self):
            super().connection_made(transport)
            return
        # aiohttp has not heard of it, and never will.
        self._manager = None
        self._force_close = True
        cast("asyncio.Transport", transport).write(_NO_ROOM)
        transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it out."""
        self._house.gone(self)
        super().connection_lost(exc)

    def dismiss(self) -> None:
        """Close it."""
        if self.transport is not None:
            self.transport.abort() if self.asked else self.transport.close()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Nothing that a client sent is logged; our own mistakes are, where they happen."""

    def log_debug(self, *args: Any, **kw: Any) -> None:
        """Of clients that went away, nothing."""


class Reception(web.Server):
    """aiohttp's server, of connections that are counted."""

    def __init__(self, handler: Handler, most: int) -> None:
        """`most` connections at once."""
        # A packed body is refused, not unpacked.
        super().__init__(self._answer, access_log=None, auto_decompress=False)
        self._handler = handler
        self._most = most
        self._callers: dict[Caller, None] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def __call__(self) -> web.RequestHandler:
        """The protocol of one more connection."""
        return Caller(self, self, loop=self._loop, **self._kwargs)

    def __len__(self) -> int:
        return len(self._callers)

    def admit(self, newcomer: Caller) -> bool:
        """Count it in; False where there is no room for it."""
        if len(self._callers) >= self._most:
            waiting = [each for each in self._callers if each.since != FOREVER]
            if not waiting:
                return False
            last = min(waiting, key=lambda each: (each.asked, each.since))
            self.gone(last)
            last.dismiss()
        self._callers[newcomer] = None
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        return True

    def gone(self, caller: Caller) -> None:
        """Count it out. Again is harmless."""
        self._callers.pop(caller, None)

    async def close(self) -> None:
        """Watch no longer."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        caller = cast("Caller", request.protocol)
        caller.since = FOREVER
        try:
            return await self._handler(request)
        finally:
            caller.asked = True
            caller.since = self._loop.time()

    def _sweep(self) -> None:
        now = self._loop.time()
        for each in tuple(self._callers):
            if now - each.since > (IDLE_S if each.asked else FIRST_S):
                self.gone(each)
                each.dismiss()
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep) if self._callers else None


class Rooms:
    """Bytes of bodies that have come and were not kept yet, over all connections."""

    def __init__(self, most_b: int) -> None:
        self._left_b = most_b

    async def body(self, request: web.BaseRequest, most_b: int) -> bytes:
        """All of the request's body, at most `most_b` bytes.

        Refusal 413 above that, 415 where it is packed, 400 where its chunks are wrong, 408 where it does not come, 503
        where there is no room for it.
        """
        encoding = request.headers.get("Content-Encoding")
        if encoding is not None and encoding.strip().lower() not in ("", "identity"):
            raise Refusal(415, "content_encoding", "Send the body without Content-Encoding.")
        length = request.content_length
        if length is not None and length > most_b:
            raise too_large(most_b)
        parts: list[bytes] = []
        whole_b = 0
        try:
            async with asyncio.timeout(BODY_S):
                while part := await request.content.readany():
                    if whole_b + len(part) > most_b:
                        raise too_large(most_b)
                    if len(part) > self._left_b:
                        raise Refusal(
                            503, "busy", "Too much is coming at once: send it again.", retry_after_s=5
                        )
                    whole_b += len(part)
                    self._left_b -= len(part)
                    parts.append(part)
        except web.RequestPayloadError:
            raise Refusal(400, "malformed_body", "The body's chunks are not well-formed.") from None
        except TimeoutError:
            raise Refusal(408, "body_timeout", "The body did not arrive within a minute.") from None
        finally:
            self._left_b += whole_b
        return b"".join(parts)


def too_large(most_b: int) -> Refusal:
    """413 with the bound in words."""
    bound = f"{most_b >> 20} MB" if most_b >= 1 << 20 else f"{most_b >> 10} KB"
    return Refusal(413, "body_too_large", f"The body may have at most {bound}.")
