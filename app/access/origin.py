"""Where a request really comes from, when a tunnel or a proxy hands it on.

Rule 1: what came through such a program is never local, though its connection is: cloudflared with a public address
connects from 127.0.0.1, and what is open to this machine alone must stay closed to the internet. Rule 2: only programs
on this machine and the proxies that the settings name are believed; for a connection from elsewhere its own address
counts, whatever its headers say. Rule 3: of X-Forwarded-For counts the last entry that is no such proxy's: those before
it are what the client has made up, or might have.

Sources: Cloudflare's «HTTP headers» (CF-Connecting-IP; X-Forwarded-For ends with the same address), RFC 7239, and the
X-Forwarded-For of nginx, Caddy and Tailscale, to which each proxy adds whom it was connected to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache

from app.basics.addresses import Address, is_loopback, parsed, unmapped

UNKNOWN = "forwarded"
"""The origin of a forwarded request that names no usable address: nowhere, and not here."""
FORWARDED_FOR = "X-Forwarded-For"
_MARKS = ("Cf-Ray", "Forwarded", "X-Real-Ip", "X-Forwarded-Host", "Via")
_WITH_PORT = re.compile(r"(?:\[([^\]]*)\]|(\d{1,3}(?:\.\d{1,3}){3}))(?::\d{1,5})?", re.ASCII)

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


@lru_cache(maxsize=8)
def networks(texts: tuple[str, ...]) -> Networks:
    """The networks that a setting names."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def is_proxy(peer: str, proxies: Networks) -> bool:
    """Whether what a connection's headers say of others is believed."""
    return is_loopback(peer) or (bool(proxies) and _is_among(parsed(peer), proxies))


def origin(headers: Mapping[str, str], peer: str | None, proxies: Networks = ()) -> str | None:
    """The address that a request counts as coming from. `peer` is the connection's; `headers` know no case."""
    if peer is None or not is_proxy(peer, proxies):
        return peer
    if FORWARDED_FOR in headers:
        return _client(_entries(headers), proxies)
    connecting = headers.get("Cf-Connecting-Ip")
    if connecting is not None and is_loopback(peer):
        return _client([connecting], ())
    if any(mark in headers for mark in _MARKS):
        return UNKNOWN
    return peer


def _entries(headers: Mapping[str, str]) -> list[str]:
    """What stands in X-Forwarded-For; some proxies (HAProxy) add a line of their own instead of an entry."""
    every = getattr(headers, "getall", None)
    lines: list[str] = every(FORWARDED_FOR) if every is not None else [headers[FORWARDED_FOR]]
    return [entry for line in lines for entry in line.split(",")]


def _client(entries: list[str], proxies: Networks) -> str:
    """The last entry that is no proxy of ours; where all are, the first, who then is the client."""
    first = UNKNOWN
    for entry in reversed(entries):
        text = entry.strip()
        port = _WITH_PORT.fullmatch(text)
        address = parsed(text if port is None else port[1] or port[2])
        if address is None:
            return UNKNOWN
        address = unmapped(address)
        if address.is_loopback:  # a proxy before the last one, or somebody who claims to be this machine
            continue
        if not _is_among(address, proxies):
            return str(address)
        first = str(address)
    return first


def _is_among(address: Address | None, proxies: Networks) -> bool:
    if address is None:
        return False
    address = unmapped(address)
    return any(address in network for network in proxies)
