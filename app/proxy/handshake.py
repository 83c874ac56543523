"""A connection until it is encrypted, and the encryption under it from then on.

Rule 1: it is counted among the others from its first moment, and has as long for its handshake as any other has for a
request's headers: whoever only connects costs no more than without encryption. Rule 2: each connection is encrypted
with the certificate of the moment in which it came; a new one concerns those that come later. Rule 3: this file alone
reaches into asyncio's encryption; its tests say what of it we count on, on each loop.

`create_server(ssl=…)` would not do: it holds a connection that nobody has heard of until its handshake has ended.
`start_tls` would not either: uvloop reads the client's first words before it can be asked.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import sslproto
from collections.abc import Callable
from typing import cast

from app.basics.addresses import is_loopback, neighbourhood
from app.proxy.connections import Connections
from app.proxy.mishaps import Mishaps

FOREVER = float("inf")
GOODBYE_S = 5.0
"""So long a client has to say goodbye when its connection is closed."""


class Handshake(sslproto.SSLProtocol):
    """Counted like a connection until the protocol above it is, which says so by `passed_on`."""

    def __init__(
        self,
        above: asyncio.Protocol,
        context: ssl.SSLContext,
        house: Connections,
        mishaps: Mishaps,
        is_proxy: Callable[[str], bool],
    ) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            above,
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
        self._passed = False
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
