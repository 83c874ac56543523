"""One connection: aiohttp's own protocol, which knows no bounds, and what it lacks.

Rule 1: this file alone reaches into aiohttp's protocol; the tests of connections say what of it we count on.
Rule 2: nothing that a client sent is logged, whatever it was. Rule 3: a client that has sent its request and closes its
half of the connection gets its answer; one that closes it amid a body hears that the body was not whole.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, cast
from weakref import WeakSet

from aiohttp import ClientConnectionResetError, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.streams import StreamReader

from app.basics.addresses import is_loopback, neighbourhood
from app.basics.traces import where
from app.proxy.bodies import Bodies
from app.proxy.connections import Connections
from app.proxy.dialects.base import JSON
from app.proxy.handshake import Handshake
from app.proxy.mishaps import Mishaps, log

FOREVER = float("inf")
_NO_ROOM = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PROBES_S = (0.0, 0.1, 1.0)
_PROBE_S = 5.0
_MALFORMED = b'{"error":"This is no HTTP request that is understood here."}'

_Handled = tuple[web.StreamResponse, bool]
_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(web.RequestHandler):
    """Counted among the others; closed when it keeps us waiting."""

    __slots__ = (
        "_answered",
        "_ended",
        "_house",
        "_is_proxy",
        "_mishaps",
        "_newest",
        "_probe_handle",
        "_probes",
        "address",
        "asked",
        "below",
        "bodies",
        "broken",
        "local",
        "partial",
        "proxy",
        "since",
        "stuck_since",
    )

    def __init__(
        self,
        manager: web.Server,
        house: Connections,
        mishaps: Mishaps,
        bodies: Bodies,
        is_proxy: Callable[[str], bool],
        **options: Any,
    ) -> None:
        super().__init__(manager, **options)
        self._is_proxy = is_proxy
        self._house = house
        self._mishaps = mishaps
        self.bodies = bodies
        self.below: Handshake | None = None
        """What was counted in its place until it was encrypted."""
        self.broken: StreamReader | None = None
        """The body that cannot be read to its end."""
        self._answered = 0
        self._ended = False
        self._newest: StreamReader | None = None
        """The body of the request that came last; those before it are whole."""
        self._probes = 0
        self._probe_handle: asyncio.TimerHandle | None = None
        self.address = "?"
        self.local = False
        self.proxy = False
        self.asked = False
        self.partial = False
        self.since = FOREVER
        self.stuck_since = FOREVER

    # Coming and going.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it in, or send it away."""
        if self.below is not None:
            self.below.passed_on()
            self.below = None
        peer = transport.get_extra_info("peername")
        host = str(peer[0]) if isinstance(peer, tuple) and peer else "?"
        self.local = is_loopback(host)
        self.proxy = self._is_proxy(host)
        self.address = neighbourhood(host)
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
        """Count it out; what was being answered is cancelled."""
        self._house.gone(self)
        self._probe_no_more()
        super().connection_lost(exc)

    def dismiss(self) -> None:
        """Close it, with a word where it has begun to say something."""
        transport = self.transport
        if transport is None:
            return
        if self.stuck_since != FOREVER:
            transport.abort()
            return
        if self.partial:
            transport.write(_NO_ROOM.replace(b"503 Service Unavailable", b"408 Request Timeout"))
        self.force_close()

    # What comes in.

    def data_received(self, data: bytes) -> None:
        """A part of a request; the first one of a request's headers starts the time in which they must be complete."""
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self.partial = False
            message, self._newest = self._messages[-1]
            if not isinstance(message, RawRequestMessage):
                self._break_off()
        elif data and not self.partial and self.since != FOREVER:
            self.partial = True
            self.since = self._loop.time()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on where reading was paused. aiohttp asks for it whenever a body is taken out of its buffer, and would
        have the parser look for more each time, which takes as long as parsing a request does."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def _break_off(self) -> None:
        """What came is no HTTP. Where it was to be a request's body, that request says so; nobody waits for more."""
        if len(self._messages) > 1:
            payload = self._messages[-2][1]
        elif self._current_request is not None:
            payload = self._current_request.content
        else:
            return
        if not payload.is_eof():
            self._messages.pop()
            self._request_count -= 1
            self._close = True
            self._end_early(payload)

    def _end_early(self, payload: StreamReader) -> None:
        """No more comes of a body that is not whole: its request says so."""
        self._mishaps.note("malformed bodies refused")
        self.broken = payload
        payload.feed_eof()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own says that it may
        """The client will send no more. True where what it has asked is still to be answered."""
        if self.transport is None or self._request_count <= self._answered or self.ssl_context is not None:
            return False
        request = self._current_request
        if self._newest is not None and not self._newest.is_eof():
            self._end_early(self._newest)
        elif request is not None and request.version < HttpVersion11 and request.method == "POST":
            # An old proxy closes both halves when its own client has gone, and cannot be asked whether it is there.
            return False
        self._ended = True
        self._probe()
        return True

    def owes_a_word(self) -> bool:
        """Whether a client that has said goodbye to its encryption amid a body is to hear of it first.

        Whoever has asked a whole request is taken at its word: most say goodbye only when they go, and wait for ours
        with the connection open, so that nothing would tell that nobody listens to an answer that costs money.
        """
        if self.transport is None or self._request_count != self._answered + 1:
            return False
        newest = self._newest
        if newest is None:
            return False
        if not newest.is_eof():
            self._end_early(newest)
            self._ended = True
        return newest is self.broken

    def _probe(self) -> None:
        """Ask whether the client is still there: whoever has closed both halves answers with a reset.

        An interim answer may be sent at any time before the answer, and is skipped by whoever did not ask for it
        (RFC 9110, 15.2); all clients know this one.
        """
        transport, request = self.transport, self._current_request
        if transport is None or self._request_count <= self._answered:
            return
        if request is not None and request.version >= HttpVersion11 and not begun(request.writer):
            transport.write(_CONTINUE)
        self._probes += 1
        wait_s = _PROBES_S[self._probes] if self._probes < len(_PROBES_S) else _PROBE_S
        self._probe_handle = self._loop.call_later(wait_s, self._probe)

    def _probe_no_more(self) -> None:
        if self._probe_handle is not None:
            self._probe_handle.cancel()
            self._probe_handle = None

    # What goes out.

    def pause_writing(self) -> None:
        """The client takes nothing at the moment."""
        self.stuck_since = self._loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self.stuck_since = FOREVER
        super().resume_writing()

    async def _handle_request(
        self, request: web.BaseRequest, start_time: float | None, request_handler: _Handler
    ) -> _Handled:
        self.since = FOREVER
        self.partial = False
        self.asked = True
        try:
            return await super()._handle_request(request, start_time, request_handler)
        finally:
            self._answered += 1
            if not self._messages:
                self._newest = None
            self.bodies.end(self)
            self.since = self._loop.time()
            if self._ended and not self._messages:
                self._probe_no_more()
                self._close = True

    # What went wrong.

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request, and to a fault of our own; neither says what was sent."""
        if isinstance(exc, ClientConnectionResetError):
            raise exc  # nobody is there to hear of it, and it is no fault
        if status == 400:
            self._mishaps.note("malformed requests refused")
        else:
            log.error("A request failed by a fault of our own: %s.", where(exc))
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer has left already")
        response = web.Response(
            body=_MALFORMED
            if status == 400
            else b'{"error":"The gateway made a mistake. Its log says which."}',
            status=status,
            headers={"Content-Type": JSON},
        )
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Of aiohttp's own mistakes, the type and the place."""
        error = kw.get("exc_info")
        log.error("A connection failed: %s.", where(error if isinstance(error, BaseException) else None))

    def log_debug(self, *args: Any, **kw: Any) -> None:
        """Of clients that went away, nothing."""


class Host(web.Server):
    """aiohttp's server, of connections that are counted."""

    def __init__(
        self,
        handler: _Handler,
        house: Connections,
        mishaps: Mishaps,
        bodies: Bodies,
        is_proxy: Callable[[str], bool] = is_loopback,
        tls: Callable[[], ssl.SSLContext] | None = None,
        **options: Any,
    ) -> None:
        """`is_proxy` tells of a connection's address whether it brings the requests of many; `tls`, where there is one,
        what a connection that comes now is encrypted with."""
        super().__init__(handler, **options)
        self._tls = tls
        self._shaking: WeakSet[Handshake] = WeakSet()
        self._is_proxy = is_proxy
        self._bodies = bodies
        self._house = house
        self._mishaps = mishaps

    def __call__(self) -> asyncio.BaseProtocol:  # type: ignore[override]  # asyncio asks for no more
        """The protocol of one more connection."""
        if self._tls is None:
            return self._connection()
        connection = self._connection()
        shaking = connection.below = Handshake(
            connection, self._tls(), self._house, self._mishaps, self._is_proxy
        )
        self._shaking.add(shaking)
        return shaking

    async def shutdown(self, timeout: float | None = None) -> None:
        """Close every connection, also those that are not encrypted yet."""
        for shaking in tuple(self._shaking):
            shaking.dismiss()
        await super().shutdown(timeout)

    def _connection(self) -> Connection:
        return Connection(
            self,
            self._house,
            self._mishaps,
            self._bodies,
            self._is_proxy,
            loop=self._loop,
            **self._kwargs,
        )


def begun(writer: AbstractStreamWriter) -> bool:
    """True once the first byte of an answer has left."""
    return writer.output_size > 0
