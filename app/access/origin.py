"""Where a request really comes from, when a tunnel or a proxy on this machine hands it on.

Rule 1: what came through such a program is never local, though its connection is: cloudflared with a public address
connects from 127.0.0.1, and what is open to this machine alone must stay closed to the internet. Rule 2: only a
program on this machine is believed; for a connection from elsewhere its own address counts, whatever its headers say.

Sources: Cloudflare's «HTTP headers» (CF-Connecting-IP, which clients cannot set or remove), RFC 7239, and the
X-Forwarded-For of nginx, Caddy and Tailscale, whose last entry is the one that the nearest proxy added.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.basics.addresses import is_loopback, parsed

UNKNOWN = "forwarded"
"""The origin of a forwarded request that names no usable address: nowhere, and not here."""
_MARKS = ("X-Forwarded-For", "Cf-Ray", "Forwarded", "X-Real-Ip", "X-Forwarded-Host", "Via")


def origin(headers: Mapping[str, str], peer: str | None) -> str | None:
    """The address that a request counts as coming from. `peer` is the connection's; `headers` know no case."""
    if peer is None or not is_loopback(peer):
        return peer
    connecting = headers.get("Cf-Connecting-Ip")
    if connecting is not None:
        return _remote(connecting)
    for mark in _MARKS:
        value = headers.get(mark)
        if value is not None:
            return _remote(_last(headers, mark)) if mark == "X-Forwarded-For" else UNKNOWN
    return peer


def _last(headers: Mapping[str, str], mark: str) -> str:
    """The nearest proxy's entry; some proxies (HAProxy) add a line of their own instead."""
    every = getattr(headers, "getall", None)
    value: str = every(mark)[-1] if every is not None else headers[mark]
    return value.rpartition(",")[2]


def _remote(text: str) -> str:
    """`text` as an address, unless it is none or claims to be this machine."""
    text = text.strip()
    address = parsed(text)
    return UNKNOWN if address is None or is_loopback(text) else str(address)
