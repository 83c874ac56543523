"""A connection until it is encrypted, and the encryption under it from then on.

Rule 1: it is counted among the others from its first moment, and has as long for its handshake as any other has for a
request's headers: whoever only connects costs no more than without encryption. Rule 2: each connection is encrypted
with the certificate of the moment in which it came; a new one concerns those that come later. Rule 3: this file alone
reaches into asyncio's encryption; its tests say what of it we count on, on each loop. Rule 4: what comes unencrypted is
looked at no further than to see that it is HTTP: it is told so, and is neither redirected nor served, for its key has
been read by whoever listens on the way.

`create_server(ssl=…)` would not do: it holds a connection that nobody has heard of until its handshake has ended.
`start_tls` would not either: uvloop reads the client's first words before it can be asked.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import sslproto
from collections.abc import Callable
from typing import Any, Protocol, cast

from app.basics.addresses import is_loopback, neighbourhood
from app.proxy.connections import Connections, linger_s
from app.proxy.mishaps import Mishaps

FOREVER = float("inf")
GOODBYE_S = 5.0
"""So long a client has to say goodbye when its connection is closed."""
_SPEAKS_HTTPS = b'{"error":"This port speaks HTTPS: use https:// in place of http://."}'
_NOT_ENCRYPTED = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json; charset=utf-8\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(_SPEAKS_HTTPS), _SPEAKS_HTTPS)
)


class Above(Protocol):
    """What is spoken over the encryption, as far as it is asked anything beyond a protocol's usual."""

    def owes_a_word(self) -> bool:
        """Whether a client that has just said goodbye is still to be told something; the connection ends with it."""


class Handshake(sslproto.SSLProtocol):
    """Counted like a connection until the protocol above it is, which says so by `passed_on`."""

    def __init__(
        self,
        above: Above,
        context: ssl.SSLContext,
        house: Connections,
        mishaps: Mishaps,
        is_proxy: Callable[[str], bool],
    ) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            cast("asyncio.Protocol", above),
            context,
            None,  # type: ignore[arg-type]  # nobody waits; asyncio allows for that, its stubs do not
            server_side=True,
            ssl_handshake_timeout=house.bounds.head_s,  # type: ignore[arg-type]  # a float is a number, too
            ssl_shutdown_timeout=GOODBYE_S,
        )
        self._house = house
        self._mishaps = mishaps
        self._is_proxy = is_proxy
        self._raw: asyncio.Transport | None = None
        self._above = above
        self._passed = False
        self._begun = False
        """Something has come."""
        self._unencrypted = False
        self._last_word = False
        """The client has said goodbye, and the protocol above is to answer yet."""
        self.address = "?"
        self.local = False
        self.proxy = False
        self.asked = False
        self.partial = False
        self.since = FOREVER
        self.stuck_since = FOREVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it in, or close it without a word: none would be understood."""
        raw = self._raw = cast("asyncio.Transport", transport)
        peer = raw.get_extra_info("peername")
        host = str(peer[0]) if isinstance(peer, tuple) and peer else "?"
        self.local = is_loopback(host)
        self.proxy = self._is_proxy(host)
        self.address = neighbourhood(host)
        self.since = asyncio.get_running_loop().time()
        if not self._house.admit(self):
            self._passed = True
            raw.abort()
        super().connection_made(raw)

    def passed_on(self) -> None:
        """It is encrypted, and the protocol above it counts itself in."""
        self._passed = True
        self._house.gone(self)

    def buffer_updated(self, nbytes: int) -> None:
        """Some bytes have come. No record of TLS begins with a capital letter, and every method of HTTP does."""
        if not self._begun:
            self._begun = True
            self._unencrypted = _is_capital(self._ssl_buffer_view[0])  # type: ignore[attr-defined]
            if self._unencrypted:
                self._refuse()
        if not self._unencrypted:
            super().buffer_updated(nbytes)

    def _refuse(self) -> None:
        """Say in plain HTTP that none is spoken here. What still comes is thrown away for a while, for who hears a
        reset in place of the end never reads the answer."""
        raw = self._raw
        assert raw is not None
        self._passed = True
        self._mishaps.note("unencrypted requests refused, as this port speaks HTTPS")
        raw.write(_NOT_ENCRYPTED)
        raw.write_eof()
        asyncio.get_running_loop().call_later(linger_s(self._house.bounds), self.dismiss)

    def eof_received(self) -> bool | None:  # type: ignore[override]  # asyncio's own says that it may
        """The client closes its half, which ends the connection: encrypted ones have no halves."""
        return None if self._unencrypted else super().eof_received()

    def _call_eof_received(self, *args: Any) -> None:
        """The client has said goodbye. asyncio says it, too, and at once: the connection's end would overtake the
        answer to a body that is not whole."""
        self._last_word = (
            self._state is sslproto.SSLProtocolState.WRAPPED  # type: ignore[attr-defined]
            and self._above.owes_a_word()
        )
        if not self._last_word:
            super()._call_eof_received(*args)  # type: ignore[misc]

    def _start_shutdown(self, *args: Any) -> None:
        """Say goodbye, unless it is the client's that is answered here, and a word goes before it."""
        if self._last_word:
            self._last_word = False
        else:
            super()._start_shutdown(*args)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it out."""
        self._house.gone(self)
        if not self._passed:
            self._mishaps.note("connections closed that were not encrypted properly, or not in time")
        super().connection_lost(exc)

    def dismiss(self) -> None:
        """Close it."""
        if self._raw is not None:
            self._raw.abort()


def _is_capital(byte: int) -> bool:
    return 0x41 <= byte <= 0x5A
