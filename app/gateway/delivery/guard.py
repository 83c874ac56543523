"""Where a receiver may be: what the gateway connects to because somebody gave it an address.

Rule 1: link-local addresses, metadata services, this gateway's own port and the engine's are nobody's receiver. Rule 2:
an address in this machine or its network is one only where the contributor said so: by typing it into CALLBACK_URL, or
by a setting for what clients enrol. Rule 3: what was checked is what is connected to (see `basics.resolving`).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.basics.addresses import bare, is_here, is_loopback, is_metadata, is_public, parsed
from app.basics.resolving import Addresses, CheckedResolver, system_addresses
from app.basics.threads import Aside

LOOK_UP_S = 20.0
_PORTS = {"http": 80, "https": 443}


class ReceiverRefused(Exception):
    """No receiver may be there; nothing was sent. `str()` is one sentence."""


@dataclass(frozen=True, slots=True)
class ReceiverPlace:
    """The host and the port of a URL."""

    host: str
    port: int


def place_of(url: str) -> ReceiverPlace:
    """Where `url` leads. Raises ReceiverRefused on what is no http address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in _PORTS or not url.isascii() or not url.isprintable() or " " in url:
        raise ReceiverRefused(
            "The receiver's address cannot be read: write it like https://host:8435/transaction."
        )
    if parts.username is not None or parts.password is not None:
        raise ReceiverRefused("The receiver's address holds a user's name or password: leave them out.")
    return ReceiverPlace(host, _PORTS[parts.scheme] if port is None else port)


def own_addresses() -> frozenset[str]:
    """The IP addresses of this machine's network interfaces."""
    import psutil  # most gateways deliver to nobody, and it takes its time to load

    found = (entry.address for entries in psutil.net_if_addrs().values() for entry in entries)
    return frozenset(filter(None, map(bare, found)))


class Guard:
    """Checks receivers' addresses. `private`: this machine and its network are allowed; `never` gives the URLs (the
    gateway's own, the engine's) whose ports are not. `close` it."""

    def __init__(
        self,
        *,
        private: Callable[[], bool],
        never: Callable[[], Sequence[str]],
        addresses: Addresses = system_addresses,
        ours: Callable[[], frozenset[str]] = own_addresses,
    ) -> None:
        self._private = private
        self._never = never
        self._addresses = addresses
        self._ours = ours
        self._aside = Aside("finding a receiver")

    def close(self) -> None:
        """Let the thread end."""
        self._aside.close()

    def resolver(self) -> CheckedResolver:
        """For aiohttp: it gives only addresses that may be, and raises ReceiverRefused."""
        return CheckedResolver(self._require_kind, self._aside, self._look_up)

    async def admit(self, url: str) -> None:
        """Check what needs no name to be looked up; names are checked when they are. Raises ReceiverRefused."""
        place = place_of(url)
        address = parsed(place.host)
        if address is None:
            if place.host.replace(".", "").isdigit():
                raise ReceiverRefused(f"{place.host[:100]} is no address: write all four of its numbers.")
            return
        # Of an address in the URL, aiohttp asks no resolver.
        self._require_kind(place.host, str(address), place.port)
        await self._aside.run(lambda: self._look_up(place.host, place.port), timeout_s=LOOK_UP_S)

    def _require_kind(self, host: str, address: str, port: int) -> None:
        shown = host if host == address else f"{host[:100]} leads to {address}, which"
        if is_metadata(address):
            raise ReceiverRefused(
                f"{shown} is a link-local address or a metadata service: no receiver is there."
            )
        if not is_public(address) and not self._private():
            raise ReceiverRefused(
                f"{shown} is not on the public internet: turn on «Receivers in your network» (private_receivers) if"
                " the client's receiver really is there."
            )

    def _look_up(self, host: str, port: int) -> list[tuple[int, str]]:
        """The addresses of `host`; in a thread, for a name of the engine's may have to be looked up too."""
        literal = parsed(host)
        if literal is None:
            found = self._addresses(host, port)
        else:
            found = [(int(socket.AF_INET if literal.version == 4 else socket.AF_INET6), str(literal))]
        for url in self._never():
            theirs = place_of(url)
            if theirs.port != port:
                continue
            taken = self._taken(theirs)
            for _, address in found:
                if bare(address) in taken or (is_here(theirs.host) and is_loopback(address)):
                    raise ReceiverRefused(
                        f"{host[:100]}, port {port}, is this gateway or its engine: no receiver is there."
                    )
        return found

    def _taken(self, place: ReceiverPlace) -> frozenset[str]:
        """Every address that means `place`."""
        if is_here(place.host):
            return self._ours()
        if literal := bare(place.host):
            return frozenset({literal})
        return frozenset(bare(address) for _, address in self._addresses(place.host, place.port))
