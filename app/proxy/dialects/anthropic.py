"""Anthropic's dialect: server-sent events that are named twice, from `message_start` to `message_stop`.

Source: Anthropic's Messages reference (its «Streaming» and «Errors» pages) and Ollama's `anthropic/anthropic.go`.
Usage comes unasked: `message_start` says what went in (Ollama can only guess at it there), `message_delta` what came
out, and in Ollama's case both. `message_stop` waits for the end, for it carries `_gateway`. A stream that ends without
it has failed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.access.rates import KeyRate
from app.access.refusals import Refusal
from app.proxy.dialects.base import Dialect, Tokens, boolean, clamp_tokens, dump
from app.proxy.dialects.pictures import refuse_addresses
from app.proxy.dialects.sse import STREAM_TYPE, NamedEventFrames, inner, named, with_gateway
from app.proxy.dialects.tools import keep_the_clients_own
from app.proxy.strict_json import refuse_case_variants

_PASSED = frozenset(
    "model messages max_tokens system stream temperature top_p top_k stop_sequences tools tool_choice thinking "
    "metadata output_config service_tier".split()
)
COUNT_TOKENS = "/v1/messages/count_tokens"
_COUNTED = frozenset("model messages system tools tool_choice thinking output_config".split())
_LAST_S = 253_402_300_799
"""The end of the year 9999, in seconds; no date goes beyond it."""
_OWN_TOOLS = ("custom", "bash_", "text_editor_", "computer_", "memory_")
"""Types of tools that the client runs: its own, and those that Anthropic has described for it."""
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class AnthropicDialect:
    """Errors as Anthropic's SDKs parse them."""

    native = False

    def error(self, refusal: Refusal) -> bytes:
        """`{"type":"error","error":{"type","message","code"}}`; `code` is ours, for machines."""
        return dump({"type": "error", "error": _error_object(refusal.sentence, refusal.code, refusal.status)})

    def rate_headers(self, rates: Sequence[KeyRate], now_us: int) -> dict[str, str]:
        """`anthropic-ratelimit-requests-limit`, `-remaining`, `-reset` and `-tokens-…` (its «Rate limits» page); they
        are reset when all of them are there again, in RFC 3339's form."""
        headers = {}
        for rate in rates:
            full_s = min(-(-(now_us + rate.full_in_us) // 1_000_000), _LAST_S)
            name = f"Anthropic-RateLimit-{rate.what.capitalize()}"
            headers[f"{name}-Limit"] = str(rate.most)
            headers[f"{name}-Remaining"] = str(rate.remaining)
            headers[f"{name}-Reset"] = f"{datetime.fromtimestamp(full_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
        return headers


def _error_object(sentence: str, code: str, status: int) -> dict[str, Any]:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": kind, "message": sentence, "code": code}


ANTHROPIC = AnthropicDialect()


@dataclass(frozen=True, slots=True)
class MessagesEndpoint:
    """`/v1/messages`; streams only when asked."""

    path: str = "/v1/messages"
    dialect: Dialect = ANTHROPIC
    stream_type: str = STREAM_TYPE
    fields: frozenset[str] = _PASSED

    def own_answer(self, call: dict[str, Any]) -> bytes | None:
        """Nothing is answered here without the engine."""
        return None

    def prepare(self, call: dict[str, Any], max_output_tokens: int) -> MessageFrames | None:
        """Clamp the answer's length and leave out what the engine would run itself."""
        refuse_case_variants(call, _PASSED)
        refuse_addresses(call.get("messages"))
        keep_the_clients_own(call, _OWN_TOOLS)
        call["max_tokens"] = clamp_tokens(call.get("max_tokens"), "max_tokens", max_output_tokens)
        return MessageFrames(str(call["model"])) if boolean(call, "stream", False) else None

    def whole_tokens(self, answer: dict[str, Any]) -> Tokens:
        """`usage.input_tokens`, with what was read from a cache, and `usage.output_tokens`."""
        tokens, usage = Tokens(), answer.get("usage")
        if isinstance(usage, dict):
            tokens.said(_input_tokens(usage), usage.get("output_tokens"))
        return tokens

    def whole_ended(self, answer: dict[str, Any]) -> bool:
        """A message without a reason for its end did not come to one."""
        return isinstance(answer.get("stop_reason"), str)


def prepare_count(call: dict[str, Any]) -> None:
    """`COUNT_TOKENS`: what is counted, and nothing else. Refusal 400 as for a message."""
    refuse_case_variants(call, _PASSED)
    refuse_addresses(call.get("messages"))
    keep_the_clients_own(call, _OWN_TOOLS)
    for name in call.keys() - _COUNTED:
        del call[name]


def model_card(entry: dict[str, Any]) -> dict[str, Any]:
    """A model as Anthropic's API describes one, from OpenAI's description of it. When it was made may be unknown: then
    the epoch, as in Anthropic's own reference."""
    made = entry.get("created")
    known_s = made if isinstance(made, int) and 0 <= made <= _LAST_S else 0
    return {
        "type": "model",
        "id": entry.get("id"),
        "display_name": entry.get("id"),
        "created_at": datetime.fromtimestamp(known_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
    }


def model_page(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """All models on one page of Anthropic's API, from OpenAI's list of them."""
    cards = [model_card(entry) for entry in entries]
    return {
        "data": cards,
        "has_more": False,
        "first_id": cards[0]["id"] if cards else None,
        "last_id": cards[-1]["id"] if cards else None,
    }


def _input_tokens(usage: dict[str, Any]) -> object:
    """All that went in: what came from a cache and what went into one is counted beside `input_tokens`."""
    plain = usage.get("input_tokens")
    cached = [usage.get(f"cache_{verb}_input_tokens") for verb in ("read", "creation")]
    return sum([plain, *(n for n in cached if isinstance(n, int))]) if isinstance(plain, int) else None


class MessageFrames(NamedEventFrames):
    """Events in, events out; `message_stop` waits for `finish`."""

    SPECIAL = re.compile(rb'"type"\s*:\s*"(?:message_(?:start|delta|stop)|content_block_st(?:art|op)|error)"')
    DELTA = re.compile(rb'"(?:text|thinking|partial_json)"\s*:\s*"(?!")')

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._begun = False
        self._block: object = None
        self._told_why = False
        self._input: object = None

    def _is_last(self, frame: dict[str, Any]) -> bool:
        match frame.get("type"):
            case "message_stop":
                return True
            case "error":
                error = frame.get("error")
                self.failure = str(error.get("message", error) if isinstance(error, dict) else error)
                return True
            case "message_start":
                self._begun = True
                self._input = _input_tokens(inner(inner(frame, "message"), "usage"))
            case "content_block_start":
                self._block = frame.get("index")
            case "content_block_stop":
                self._block = None
            case "message_delta":
                self._told_why = isinstance(inner(frame, "delta").get("stop_reason"), str)
                usage = inner(frame, "usage")
                told = _input_tokens(usage)
                self.tokens.said(self._input if told is None else told, usage.get("output_tokens"))
        return False

    def close(self) -> bytes:
        """A last event without its blank line is an event, where it is whole; a message that has said why it ends is
        whole, though `message_stop` never comes."""
        rest = super().close()
        if self._told_why and not self.ended:
            self._held = named("message_stop", {})
            self.ended = True
        return rest

    def cut(self, gateway: bytes) -> bytes:
        """The answer ended early, as it does at a token limit: what is open is closed first."""
        self.tokens.counted(self.deltas)
        ends = b""
        if not self._begun:
            message: dict[str, Any] = {
                "id": "msg_0",
                "type": "message",
                "role": "assistant",
                "model": self._model,
                "content": [],
            }
            message |= {
                "stop_reason": None,
                "stop_sequence": None,
                "usage": _usage(None) | {"input_tokens": 0},
            }
            ends += named("message_start", {"message": message})
        if self._block is not None:
            ends += named("content_block_stop", {"index": self._block})
        if not self._told_why:
            delta = {"stop_reason": "max_tokens", "stop_sequence": None}
            ends += named("message_delta", {"delta": delta, "usage": _usage(self.tokens.completion)})
        return ends + with_gateway(named("message_stop", {}), gateway)

    def broken(self, sentence: str, code: str, gateway: bytes) -> bytes:
        """An event `error`, which makes the SDKs raise; no `message_stop` follows."""
        self.tokens.counted(self.deltas)
        return with_gateway(named("error", {"error": _error_object(sentence, code, 502)}), gateway)


def _usage(output: int | None) -> dict[str, Any]:
    """SDKs want a number; what is known better stands in `_gateway`."""
    return {"output_tokens": output or 0}


MESSAGES = MessagesEndpoint()
