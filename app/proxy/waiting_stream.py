"""A stream that tells its client how long the queue is: comment lines, which every reader of server-sent events skips.

A client asks for it with `X-Queue-Updates: 1`. Its answer then begins before its turn, with status 200, so that
whatever goes wrong afterwards can only be said in the dialect's own words for a stream that broke off. That is why it
must be asked for. Ollama's own streams have no comments; the header does nothing for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.access.refusals import Refusal
from app.proxy.admission import Call
from app.proxy.dialects.base import Frames, dump, json_object
from app.proxy.dialects.sse import STREAM_TYPE

ASKS = "X-Queue-Updates"
_YES = ("1", "true", "yes", "on")


def asks_to_be_told(headers: Mapping[str, str], call: Call) -> bool:
    """Whether the client wants to hear of its place, and its dialect has a way to say it."""
    if call.frames is None or call.endpoint.stream_type != STREAM_TYPE:
        return False
    return headers.get(ASKS, "").strip().lower() in _YES


class WaitingStream:
    """One answer that has begun before its request's turn. `response` is None until something was told."""

    def __init__(
        self, request: web.BaseRequest, call: Call, frames: Frames, id: str, headers: Mapping[str, str]
    ) -> None:
        """`id`: the request's; `headers`: what the answer says besides, of rates."""
        self.response: web.StreamResponse | None = None
        self._request = request
        self._call = call
        self._frames = frames
        self._id = id
        self._headers = headers

    async def tell(self, position: int, seconds: int) -> None:
        """The place in the queue, and the seconds that its turn is expected to take from now."""
        if self.response is None:
            headers = {
                "Content-Type": self._call.endpoint.stream_type,
                "X-Request-Id": self._id,
                "X-Queue-Position": str(position),
                "X-Queue-Wait": str(seconds),
                **self._headers,
            }
            if self._call.ignored:
                headers["X-Ignored-Fields"] = self._call.ignored
            response = web.StreamResponse(headers=headers)
            await response.prepare(self._request)
            self.response = response
        await self.response.write(b": queue position=%d wait=%d\n\n" % (position, seconds))

    async def goes_on(self, answer: web.StreamResponse) -> web.StreamResponse:
        """What the request came to: the stream itself, or an answer of another kind, which it has no room for."""
        if self.response is None or answer is self.response:
            return answer
        body = answer.body if isinstance(answer, web.Response) else b""
        said = json_object(body) if isinstance(body, bytes) else None
        return await self._break_off(_sentence(said), "engine_refused", (said or {}).get("_gateway"))

    async def ends(self, refusal: Refusal) -> web.StreamResponse:
        """The request was refused when its turn came, or while it waited."""
        figures: dict[str, Any] = {"status": refusal.status, "code": refusal.code}
        if refusal.retry_after_s is not None:
            figures["retry_after_seconds"] = refusal.retry_after_s
        return await self._break_off(refusal.sentence, refusal.code, figures)

    async def _break_off(self, sentence: str, code: str, figures: object) -> web.StreamResponse:
        assert self.response is not None
        await self.response.write_eof(self._frames.broken(sentence, code, dump(figures or {})))
        return self.response


def _sentence(said: dict[str, Any] | None) -> str:
    """What an engine's answer in one piece says is wrong."""
    error = (said or {}).get("error")
    if isinstance(error, dict):
        error = error.get("message")
    return error if isinstance(error, str) and error else "The engine did not stream its answer."
