"""Requests that a browser sends because some web page told it to.

Any page in a browser on this machine can make it ask 127.0.0.1, without a key and without reading the answer, as
often as it likes. Such requests are refused before anything else is looked at, so they cost nobody anything.

Rule 1: `Sec-Fetch-Site` decides where it is sent, since no page can forge it; where it is not (plain HTTP to a name),
the host in `Origin` must be the one that was asked. Rule 2: what is no web page is not meant: programs send neither
header, and extensions and desktop applications name an origin of a scheme of their own (`chrome-extension://`,
`tauri://`), which no page can have. Rule 3: a name that somebody else made point to this machine (DNS rebinding) is
not this machine: what is open here without a key is open under this machine's own names only. Rule 4: pages of origins
that the settings name may ask with a key, and for nothing of the operator's.

Sources: Fetch (the Origin header, `Sec-Fetch-*`), WHATWG and W3C.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_OURS = ("same-origin", "none")
_LOCAL_HOST = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE | re.ASCII)
_WEB = ("http://", "https://")


def from_foreign_page(headers: Mapping[str, str], named: Collection[str] = ()) -> bool:
    """True where a web page that is not this gateway's own, nor of an origin in `named`, had this request sent.
    `headers` know no case."""
    origin = headers.get("Origin")
    site = headers.get("Sec-Fetch-Site")
    if origin is None and site is None:
        return False
    if named and origin is not None and from_named_page(origin, named):
        return False
    page = None if origin is None else origin.strip().lower()
    if page is not None and page != "null" and "://" in page and not page.startswith(_WEB):
        return False
    if site is not None:
        return site.strip().lower() not in _OURS
    assert page is not None
    return page.partition("://")[2] not in _asked(headers)


def from_named_page(origin: str, named: Collection[str]) -> bool:
    """Whether an Origin header is one of the origins that are `named` in a browser's own spelling."""
    return origin.strip().lower() in named


def names_this_machine(headers: Mapping[str, str]) -> bool:
    """True where the Host header is one of this machine's own names for itself."""
    return _LOCAL_HOST.fullmatch(headers.get("Host", "")) is not None


def _asked(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The host that the page's browser asked, as far as is known; a proxy in front of us may have renamed it."""
    # A page cannot set Host, nor X-Forwarded-Host without a preflight, which named pages alone are granted.
    names = (headers.get("Host", ""), headers.get("X-Forwarded-Host", ""))
    return tuple(name.strip().lower() for name in names if name.strip())
