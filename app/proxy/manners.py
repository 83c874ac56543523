"""What is true of every request and every answer, whatever stands in front of us: proxies, tunnels, old libraries.

`tests/gateway/test_manners.py` has the table of what they do, and what we do about it. In short: a request target in
absolute form names the same endpoint; what a proxy must not keep, change or hold back says so; the answer says the
product's name and no version; a client that has not sent all of its body and is refused hears that the connection ends.

Sources: RFC 9110 and 9112; nginx's proxy module (X-Accel-Buffering); RFC 9111 (no-store, no-transform).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http import RawRequestMessage

from app.basics.clock import wall_us
from app.ledger.ids import new_id

PRODUCT = "Mortdecai-Gateway"
PRIVATE = "no-store"
STREAM = "no-cache, no-store, no-transform"
"""`no-transform` keeps proxies from compressing a stream, for which they would have to hold it back."""
_STREAMS = ("text/event-stream", "application/x-ndjson")


def target_of(message: RawRequestMessage) -> str:
    """The path and the query, as they came; of `GET http://host/path`, which proxies are sent, the same part."""
    target: str = message.path
    if target.startswith("/") or target == "*" or message.method == "CONNECT":
        return target
    return message.url.raw_path_qs


class Request(web.BaseRequest):
    """A request whose target has one form, and whose answer has manners."""

    def __init__(
        self,
        message: RawRequestMessage,
        *args: Any,
        dress: Callable[[web.BaseRequest, web.StreamResponse], None] | None = None,
        **more: Any,
    ) -> None:
        """`dress` is told each answer before its headers leave."""
        super().__init__(message, *args, **more)
        self._dress = dress
        self.told = ""
        """What its handler wants noted of it; see `witness`."""

    @property
    def raw_path(self) -> str:
        """The path and the query; see `target_of`."""
        return target_of(self._message)

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        headers = response.headers
        headers["Server"] = PRODUCT
        if "X-Request-Id" not in headers:  # an inference's is its record's
            headers["X-Request-Id"] = new_id(wall_us())
        if headers.get("Content-Type") in _STREAMS:
            headers["Cache-Control"] = STREAM
            headers["X-Accel-Buffering"] = "no"
        elif "Cache-Control" not in headers:
            headers["Cache-Control"] = PRIVATE
        if self._dress is not None:
            self._dress(self, response)
        if response.status == 204:
            headers.popall("Content-Type", None)


def allow(methods: list[str]) -> str:
    """What `Allow` says of an endpoint."""
    more = ["HEAD"] if "GET" in methods else []
    return ", ".join([*methods, *more, "OPTIONS"])
