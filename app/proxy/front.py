"""What happens to every request before its path is looked up, and to every answer before it leaves.

Rule 1: a request by an own address is a request with a key in its headers before anybody sees it, and no secret is
left in its path; whoever comes by an address is identified first, whatever stands behind it. Rule 2: what a page made
a browser on this machine send under a name of its own is refused here, whatever it asks for. Rule 3: no page of another
origin reads an answer, unless its origin is named in the settings; then it reads all of it, refusals too.

Sources: Fetch (CORS), WHATWG; Private Network Access, W3C; Referrer Policy, W3C.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy
from yarl import URL

from app.access.credentials import by_address
from app.access.hosts import is_own_name
from app.access.identify import Access
from app.access.own_address import stripped, with_secret
from app.access.refusals import unknown_host
from app.access.web_pages import from_named_page
from app.basics.addresses import is_loopback
from app.proxy.manners import target_of
from app.settings.parameters import Settings

PREFLIGHT_S = 600
"""So long a browser need not ask again."""
_NAMES = re.compile(r"[A-Za-z0-9_-]{1,64}(?:\s*,\s*[A-Za-z0-9_-]{1,64}){0,63}", re.ASCII)


class Front:
    """The gateway's side of the door."""

    def __init__(self, access: Access, settings: Callable[[], Settings]) -> None:
        self._access = access
        self._settings = settings

    def is_proxy(self, peer: str) -> bool:
        """Whether a connection from `peer` brings the requests of many."""
        return self._access.is_proxy(peer)

    def received(self, message: RawRequestMessage) -> RawRequestMessage:
        """The request as everybody behind sees it."""
        found = stripped(target_of(message))
        if found is None:
            return message
        secret, target = found
        headers = CIMultiDictProxy(with_secret(message.headers, secret))
        # The raw lines would still say what else was sent as a key.
        return message._replace(path=target, url=URL(target, encoded=True), headers=headers, raw_headers=())

    def let_in(self, request: web.BaseRequest) -> None:
        """Refusal where the request may not even be looked up."""
        headers, peer = request.headers, request.remote
        # An address with a port is what nearly everybody asks for, and needs no look.
        if not headers.get("Host", "").startswith("127.0.0.1:"):
            self._require_own_name(request)
        if by_address(headers):
            self._access.identify(headers, peer)

    def _require_own_name(self, request: web.BaseRequest) -> None:
        headers, peer = request.headers, request.remote
        if not is_loopback(self._access.origin(headers, peer)):
            return
        settings = self._settings()
        named = (*settings.allowed_hosts, urlsplit(settings.public_hostname).hostname or "", settings.host)
        if not is_own_name(headers.get("Host", ""), named):
            raise unknown_host()

    def dress(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Put what the door has to say into an answer's headers."""
        headers = response.headers
        if by_address(request.headers):
            headers["Referrer-Policy"] = "no-referrer"
        pages = self._settings().cors_origins
        if not pages:
            return
        headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        if origin is None or not from_named_page(origin, pages):
            return
        headers["Access-Control-Allow-Origin"] = origin.strip()
        headers["Access-Control-Allow-Credentials"] = "true"
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            _grant(request, response)
        else:
            headers["Access-Control-Expose-Headers"] = ", ".join(
                name
                for name in dict.fromkeys(headers)
                if name.lower().startswith(("x-", "retry-", "anthropic-"))
            )


def _grant(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """The answer to a browser that asks first; where there is no such endpoint, its status says no."""
    headers = response.headers
    headers["Access-Control-Allow-Methods"] = headers.get("Allow", "")
    wanted = request.headers.get("Access-Control-Request-Headers", "").strip()
    if _NAMES.fullmatch(wanted):
        headers["Access-Control-Allow-Headers"] = wanted
    headers["Access-Control-Max-Age"] = str(PREFLIGHT_S)
    if request.headers.get("Access-Control-Request-Private-Network") == "true":
        headers["Access-Control-Allow-Private-Network"] = "true"
