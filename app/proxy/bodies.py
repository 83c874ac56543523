"""Reading a request's body: within bounds, in time, and within what all bodies under way may hold together.

Rule 1: the key and the headers have been accepted before a byte of a body is asked for; a client that waits for
«100 Continue» hears it then, or the refusal. Rule 2: a body counts from its first byte until its request has been
answered, for it is parsed, rewritten and waiting for the engine meanwhile. Rule 3: one key gets at most as much as it
leaves to others, so that even many large bodies leave room for small ones (the dynamic threshold by which switches
share their buffers; Choudhury and Hahne, 1998).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

from aiohttp import web
from aiohttp.http import HttpVersion11

from app.access.credentials import presented_key
from app.access.refusals import Refusal

BODY_TIMEOUT_S = 60.0
BODIES_AT_ONCE = 4
"""Of the largest size, held together; and at least LEAST_B."""
LEAST_B = 64 << 20
UNCOUNTED_B = 64 << 10
"""What has come whole with its headers, and is no larger, is not worth counting."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Bodies:
    """The bytes of all bodies under way, by whose they are."""

    def __init__(self, largest_b: Callable[[], int], timeout_s: float = BODY_TIMEOUT_S) -> None:
        """`timeout_s`: so long one may take to come."""
        self.timeout_s = timeout_s
        self._largest_b = largest_b
        self._requests: dict[Hashable, tuple[bytes, int]] = {}
        self._holders: dict[bytes, int] = {}
        self.held_b = 0

    @property
    def most_b(self) -> int:
        """All of them together."""
        return max(LEAST_B, BODIES_AT_ONCE * self._largest_b())

    def take(self, request: Hashable, holder: bytes, more_b: int) -> None:
        """`more_b` bytes more of one request's body; Refusal 429 or 503, with nothing taken, where they do not fit."""
        mine = self._holders.get(holder, 0)
        if mine + more_b > self.most_b - self.held_b - more_b:
            if mine:
                raise Refusal(
                    429,
                    "bodies_full",
                    "This key's requests under way are too large together: wait until one has been answered.",
                    retry_after_s=5,
                )
            raise Refusal(
                503,
                "bodies_full",
                "The requests under way are too large together: try again when some have been answered.",
                retry_after_s=5,
            )
        self._requests[request] = (holder, self._requests.get(request, (holder, 0))[1] + more_b)
        self._holders[holder] = mine + more_b
        self.held_b += more_b

    def end(self, request: Hashable) -> None:
        """The request has been answered. Again is harmless."""
        if self._requests:
            holder, bytes_b = self._requests.pop(request, (b"", 0))
            if bytes_b:
                self.held_b -= bytes_b
                left = self._holders[holder] - bytes_b
                if left:
                    self._holders[holder] = left
                else:
                    del self._holders[holder]


async def read_body(request: web.BaseRequest, most_b: int) -> bytes:
    """All of the body, at most `most_b` bytes.

    Refusal 413 above that, 415 with a Content-Encoding, 417 with an expectation nobody knows, 400 where its chunks are
    wrong, 408 where it does not arrive, 429 and 503 where there is no room for it.
    """
    encoding = request.headers.get("Content-Encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        raise Refusal(415, "content_encoding", "Send the body without Content-Encoding.")
    length = request.content_length
    if length is not None and length > most_b:
        raise too_large(most_b)
    # It is all here already, as it is for nearly every request.
    if request.content.is_eof() and not _ended_early(request):
        body = request.content.read_nowait()
        if len(body) > most_b:
            raise too_large(most_b)
        if len(body) > UNCOUNTED_B:
            _take(request, len(body))
        return body
    _answer_expectation(request)
    parts: list[bytes] = []
    whole_b = 0
    bodies = _bodies(request)
    timeout_s = BODY_TIMEOUT_S if bodies is None else bodies.timeout_s
    try:
        async with asyncio.timeout(timeout_s):
            while part := await request.content.readany():
                whole_b += len(part)
                if whole_b > most_b:
                    raise too_large(most_b)
                _take(request, len(part))
                parts.append(part)
    except TimeoutError:
        raise Refusal(408, "body_timeout", f"The body did not arrive within {timeout_s:g} s.") from None
    if _ended_early(request):
        raise Refusal(
            400, "malformed_body", "The body's chunks are not well-formed, or it ended before it was whole."
        )
    return b"".join(parts)


def _ended_early(request: web.BaseRequest) -> bool:
    return getattr(request.protocol, "broken", None) is request.content


def _bodies(request: web.BaseRequest) -> Bodies | None:
    found: Bodies | None = getattr(request.protocol, "bodies", None)
    return found


def _take(request: web.BaseRequest, more_b: int) -> None:
    bodies = _bodies(request)
    if bodies is not None:
        bodies.take(request.protocol, presented_key(request.headers), more_b)


def _answer_expectation(request: web.BaseRequest) -> None:
    expected = request.headers.get("Expect")
    if expected is None or request.version < HttpVersion11:
        return
    if expected.strip().lower() != "100-continue":
        raise Refusal(417, "expectation_failed", "Of expectations, 100-continue alone is known here.")
    if request.transport is not None:
        request.transport.write(_CONTINUE)


def too_large(most_b: int) -> Refusal:
    """413 with the bound in words."""
    bound = f"{most_b >> 20} MB" if most_b >= 1 << 20 else f"{most_b >> 10} KB"
    return Refusal(413, "body_too_large", f"The body may have at most {bound}.")
