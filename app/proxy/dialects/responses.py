"""OpenAI's second dialect, `/v1/responses`: an answer is a list of items, streamed as numbered events.

Source: OpenAI's Responses reference with its streaming events, and Ollama's `openai/responses.go`. The last event is
one of `response.completed`, `response.incomplete` (it ran into a limit) and `response.failed`; each holds the whole
response, so what we end ourselves says again all that has passed. A stream that ends without any of them has failed.

Rule: no answer is kept, neither here nor at the engine. What refers to an earlier one is refused, for it might be
somebody else's; what would run on after its request has ended could not be metered.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from app.access.refusals import Refusal
from app.proxy.dialects.base import Dialect, Tokens, boolean, clamp_tokens
from app.proxy.dialects.openai import OPENAI
from app.proxy.dialects.pictures import refuse_addresses
from app.proxy.dialects.sse import STREAM_TYPE, NamedEventFrames, inner, named, with_gateway
from app.proxy.dialects.tools import keep_the_clients_own
from app.proxy.strict_json import refuse_case_variants

_PASSED = frozenset(
    "model input instructions max_output_tokens stream temperature top_p top_logprobs seed tools tool_choice "
    "parallel_tool_calls max_tool_calls reasoning text truncation include store metadata user service_tier "
    "safety_identifier prompt_cache_key".split()
)
_FIELDS = _PASSED | frozenset("previous_response_id conversation background".split())
_OWN_TOOLS = ("function", "custom", "namespace", "local_shell", "apply_patch")
"""Types of tools that the client runs itself."""
_SEQUENCE = re.compile(rb'"sequence_number"\s*:\s*(\d+)')


@dataclass(frozen=True, slots=True)
class ResponsesEndpoint:
    """`/v1/responses`; streams only when asked."""

    path: str = "/v1/responses"
    dialect: Dialect = OPENAI
    stream_type: str = STREAM_TYPE
    fields: frozenset[str] = _PASSED

    def own_answer(self, call: dict[str, Any]) -> bytes | None:
        """Nothing is answered here without the engine."""
        return None

    def prepare(self, call: dict[str, Any], max_output_tokens: int) -> ResponseFrames | None:
        """Clamp the answer's length, keep nothing, and leave out what the engine would run itself."""
        refuse_case_variants(call, _FIELDS)
        for name in ("previous_response_id", "conversation"):
            if call.pop(name, None) is not None:
                raise Refusal(
                    400,
                    "invalid_value",
                    f"{name}: no answer is kept here. Send the conversation so far as input.",
                )
        if boolean(call, "background", False):
            raise Refusal(400, "invalid_value", "background: an answer is given here or not at all.")
        call.pop("background", None)
        call["store"] = False
        refuse_addresses(call.get("input"))
        keep_the_clients_own(call, _OWN_TOOLS)
        call["max_output_tokens"] = clamp_tokens(
            call.get("max_output_tokens"), "max_output_tokens", max_output_tokens
        )
        return ResponseFrames(str(call["model"])) if boolean(call, "stream", False) else None

    def whole_tokens(self, answer: dict[str, Any]) -> Tokens:
        """`usage.input_tokens` and `usage.output_tokens`."""
        return _tokens(answer)

    def whole_ended(self, answer: dict[str, Any]) -> bool:
        """`incomplete` is how one ends at its limit; the others that are not `completed` did not end."""
        return answer.get("status") in ("completed", "incomplete")


def _tokens(response: dict[str, Any]) -> Tokens:
    tokens, usage = Tokens(), response.get("usage")
    if isinstance(usage, dict):
        tokens.said(usage.get("input_tokens"), usage.get("output_tokens"))
    return tokens


class ResponseFrames(NamedEventFrames):
    """Events in, events out; the one that holds the whole response waits for `finish`.

    For an end of our own it keeps the items that are done, and of the open one the text, still escaped as it came.
    """

    SPECIAL = re.compile(
        rb'"type"\s*:\s*"(?:error"|response\.(?:created|in_progress|completed|incomplete|failed|'
        rb'output_item\.(?:added|done)|content_part\.(?:added|done))")'
    )
    DELTA = re.compile(rb'"delta"\s*:\s*"(?!")([^"\\]*(?:\\.[^"\\]*)*)"')

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._response: dict[str, Any] = {}
        self._done: list[dict[str, Any]] = []
        self._open: dict[str, Any] | None = None
        """The `response.output_item.added` of the item that is not done yet."""
        self._part: dict[str, Any] | None = None
        """Its `response.content_part.added`, as long as that is open."""
        self._parts: list[dict[str, Any]] = []
        self._text: list[bytes] = []
        self._last_seen = b""

    def _content(self, data: bytes) -> None:
        pieces = self.DELTA.findall(data)
        self.deltas += len(pieces)
        self._text += pieces
        self._last_seen = data

    def _is_last(self, frame: dict[str, Any]) -> bool:
        self._last_seen = b'"sequence_number":%d' % _whole(frame.get("sequence_number"))
        match frame.get("type"):
            case "response.completed" | "response.incomplete" | "response.failed":
                response = inner(frame, "response")
                self.tokens = _tokens(response)
                if frame["type"] == "response.failed":
                    self.failure = str(inner(response, "error").get("message", "The engine failed."))
                return True
            case "error":
                self.failure = str(frame.get("message") or inner(frame, "error").get("message"))
                return True
            case "response.created" | "response.in_progress":
                self._response = inner(frame, "response")
            case "response.output_item.added":
                self._open, self._part, self._parts, self._text = frame, None, [], []
            case "response.output_item.done":
                self._done.append(inner(frame, "item"))
                self._open, self._part = None, None
            case "response.content_part.added":
                self._part, self._text = frame, []
            case "response.content_part.done":
                self._parts.append(inner(frame, "part"))
                self._part, self._text = None, []
        return False

    def cut(self, gateway: bytes) -> bytes:
        """The answer ended early, as it does at a token limit: what is open is closed first, and said as far as it
        came."""
        return self._end("incomplete", gateway, incomplete_details={"reason": "max_output_tokens"})

    def broken(self, sentence: str, code: str, gateway: bytes) -> bytes:
        """`response.failed`: SDKs have no other end for an answer that broke off."""
        return self._end("failed", gateway, error={"code": "server_error", "message": sentence})

    def _end(self, status: str, gateway: bytes, **why: object) -> bytes:
        self.tokens.counted(self.deltas)
        last = _SEQUENCE.findall(self._last_seen)
        number = int(last[-1]) + 1 if last else 0
        response = self._response or {
            "id": "resp_0",
            "object": "response",
            "created_at": 0,
            "model": self._model,
        }
        unclosed = list(self._closing())
        output = [*self._done, *(event["item"] for event in unclosed if "item" in event)]
        response = {**response, "status": status, "output": output, "usage": None, **why}
        ends: list[dict[str, Any]] = (
            [] if self._response else [{"type": "response.created", "response": response | {"output": []}}]
        )
        ends += [*unclosed, {"type": f"response.{status}", "response": response}]
        said = [
            named(event.pop("type"), {**event, "sequence_number": number + at})
            for at, event in enumerate(ends)
        ]
        said[-1] = with_gateway(said[-1], gateway)
        return b"".join(said)

    def _closing(self) -> list[dict[str, Any]]:
        """The events that close what is open."""
        if self._open is None:
            return []
        text = _unescaped(self._text)
        item = {**inner(self._open, "item"), "status": "incomplete"}
        where = {"item_id": item.get("id", ""), "output_index": self._open.get("output_index", 0)}
        closing: list[dict[str, Any]] = []
        if item.get("type") == "function_call":
            item["arguments"] = text
        elif item.get("type") == "reasoning":
            item["summary"] = [{"type": "summary_text", "text": text}] if text else []
        elif self._part is not None:
            part = {**inner(self._part, "part"), "text": text}
            where["content_index"] = self._part.get("content_index", 0)
            closing.append({"type": "response.output_text.done", **where, "text": text, "logprobs": []})
            closing.append({"type": "response.content_part.done", **where, "part": part})
            item["content"] = [*self._parts, part]
        else:
            item["content"] = self._parts
        at = where["output_index"]
        return [*closing, {"type": "response.output_item.done", "output_index": at, "item": item}]


def _unescaped(pieces: list[bytes]) -> str:
    """The text of JSON strings' insides. A pair of surrogates may come in two pieces, and half of one at the end."""
    text = json.loads(b'"%b"' % b"".join(pieces))
    return str(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


RESPONSES = ResponsesEndpoint()
