"""What happens to every request before its path is looked up, and to every answer before it leaves.

Rule 1: a request by an own address is a request with a key in its headers before anybody sees it, and no secret is
left in its path; whoever comes by an address is identified first, whatever stands behind it. Rule 2: what leaves by
such an address tells no other site where it was (Referrer-Policy).
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy
from yarl import URL

from app.access.credentials import by_address
from app.access.identify import Access
from app.access.own_address import stripped, with_secret
from app.proxy.manners import target_of


class Front:
    """The gateway's side of the door."""

    def __init__(self, access: Access) -> None:
        self._access = access

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
        if by_address(request.headers):
            self._access.identify(request.headers, request.remote)

    def dress(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Put what the door has to say into an answer's headers."""
        if by_address(request.headers):
            response.headers["Referrer-Policy"] = "no-referrer"
