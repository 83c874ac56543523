"""Names to addresses for aiohttp, each address checked before it is connected to.

Rule 1: the address that was checked is the address that is connected to, so that a name cannot mean another machine a
moment later. Rule 2: one forbidden address among several is enough to refuse: who answers so means no good. Rule 3: an
IP address in a URL never comes by here, for aiohttp takes it as it is: whoever takes a URL checks that one himself.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from aiohttp.abc import AbstractResolver, ResolveResult

from app.basics.threads import Aside

_RESOLVE_S = 20.0

Addresses = Callable[[str, int], list[tuple[int, str]]]
"""Host and port → (address family, IP address) of each; raises OSError."""
Require = Callable[[str, str, int], None]
"""Host, one of its addresses, and the port; raises where that may not be."""


def system_addresses(host: str, port: int) -> list[tuple[int, str]]:
    """What the system's resolver says."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(int(family), str(where[0])) for family, _, _, _, where in found]


class CheckedResolver(AbstractResolver):
    """Gives only addresses that `require` lets pass. Raises what it raises, and OSError."""

    def __init__(self, require: Require, aside: Aside, addresses: Addresses = system_addresses) -> None:
        self._require = require
        self._aside = aside
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Every address of `host`, in the order of the system."""
        found = await self._aside.run(lambda: self._addresses(host, port), timeout_s=_RESOLVE_S)
        results = []
        for kind, address in found:
            self._require(host, address, port)
            if family in (socket.AF_UNSPEC, kind):
                results.append(
                    ResolveResult(
                        hostname=host,
                        host=address,
                        port=port,
                        family=kind,
                        proto=0,
                        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                    )
                )
        if not results:
            raise OSError(f"{host} has no address")
        return results

    async def close(self) -> None:
        """Nothing is held."""
