"""OpenAI's dialect: server-sent events, one `data:` line an event, `data: [DONE]` at the end.

Source: OpenAI's references of chat completions and completions, and Ollama's `openai/openai.go`. Usage comes only with
`stream_options.include_usage`; we always ask for it and drop that chunk for a client who did not. The chunk with
`finish_reason` waits for the end, because for such a client it is the one that carries `_gateway`. A stream that
ends without `[DONE]` has failed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.access.rates import KeyRate
from app.access.refusals import Refusal
from app.proxy.dialects.base import (
    Dialect,
    Tokens,
    Unfinished,
    boolean,
    clamp_tokens,
    dump,
    json_object,
    splice,
)
from app.proxy.dialects.pictures import refuse_addresses
from app.proxy.dialects.sse import ENDS, STREAM_TYPE, events, payload
from app.proxy.strict_json import refuse_case_variants

_SPECIAL = re.compile(rb'"finish_reason"\s*:\s*"|"usage"\s*:\s*\{|data:\s*\[DONE\]|data:\s*\{\s*"error"')
_DELTA = re.compile(rb'"(?:content|reasoning|reasoning_content|text)"\s*:\s*"(?!")|"tool_calls"')
_NO_USAGE = re.compile(rb',"usage":\{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0\}')
"""What Ollama puts into every chunk of a completion once usage is asked for."""
DONE = b"data: [DONE]\n\n"
_CHAT, _TEXT = "chat.completion.chunk", "text_completion"

_PASSED = frozenset(
    # What is asked, and how the answer comes.
    "model messages stream stream_options max_tokens stop seed user metadata store service_tier safety_identifier "
    "prompt_cache_key verbosity "
    # Sampling: none of it makes an answer longer than `max_tokens`.
    "temperature top_p top_k min_p typical_p frequency_penalty presence_penalty repetition_penalty repeat_penalty "
    "repeat_last_n logprobs top_logprobs logit_bias "
    # Tools, schemas and thinking, in OpenAI's words, vLLM's and llama-server's.
    "tools tool_choice parallel_tool_calls functions function_call response_format json_schema guided_json "
    "structured_outputs reasoning reasoning_effort reasoning_format thinking think chat_template_kwargs".split()
)
_PASSED_WITH_A_PROMPT = (_PASSED | {"prompt", "suffix", "echo"}) - {"messages", "tools", "tool_choice"}
_FIELDS = _PASSED | frozenset(
    "max_completion_tokens prompt suffix echo n best_of n_predict options keep_alive _debug_render_only".split()
)
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 402: "insufficient_quota"}
_TYPES |= {403: "permission_error", 404: "not_found_error", 413: "invalid_request_error"}
_TYPES |= {415: "invalid_request_error", 429: "rate_limit_error"}


class OpenAIDialect:
    """Errors as OpenAI's SDKs parse them."""

    native = False

    def error(self, refusal: Refusal) -> bytes:
        """`{"error":{"message","type","param","code"}}`"""
        return dump({"error": _error_object(refusal.sentence, refusal.code, refusal.status)})

    def rate_headers(self, rates: Sequence[KeyRate], now_us: int) -> dict[str, str]:
        """Nothing beside the names that every answer has."""
        return {}


def _error_object(sentence: str, code: str, status: int) -> dict[str, Any]:
    return {"message": sentence, "type": _TYPES.get(status, "api_error"), "param": None, "code": code}


OPENAI = OpenAIDialect()


@dataclass(frozen=True, slots=True)
class OpenAIEndpoint:
    """`/v1/chat/completions` and `/v1/completions`; both stream only when asked."""

    path: str
    kind: str
    """The `object` of a chunk."""
    fields: frozenset[str] = _PASSED
    dialect: Dialect = OPENAI
    stream_type: str = STREAM_TYPE

    def own_answer(self, call: dict[str, Any]) -> bytes | None:
        """Nothing is answered here without the engine."""
        return None

    def prepare(self, call: dict[str, Any], max_output_tokens: int) -> SseFrames | None:
        """Clamp the answer's length under either of its names and ask for usage."""
        refuse_case_variants(call, _FIELDS)
        streamed = boolean(call, "stream", False)
        refuse_addresses(call.get("messages"))
        if "prompt" in call:
            call["prompt"] = _one_prompt(call["prompt"])
        for name in ("n", "best_of"):
            # Many frameworks send 1; several answers for the price of one are not on offer.
            if call.pop(name, None) not in (None, 1):
                raise Refusal(400, "invalid_value", f"{name} must be 1: ask again for another answer.")
        for name in ("keep_alive", "options", "_debug_render_only"):
            call.pop(name, None)
        newer = call.pop("max_completion_tokens", None)
        call["max_tokens"] = min(
            clamp_tokens(call.get("max_tokens"), "max_tokens", max_output_tokens),
            clamp_tokens(newer, "max_completion_tokens", max_output_tokens),
        )
        if not streamed:
            call.pop("stream_options", None)
            return None
        options = call.get("stream_options") or {}
        if not isinstance(options, dict):
            raise Refusal(400, "invalid_value", "stream_options must be an object.")
        wants_usage = boolean(options, "include_usage", False)
        call["stream_options"] = {**options, "include_usage": True}
        return SseFrames(str(call["model"]), wants_usage=wants_usage, kind=self.kind)

    def whole_tokens(self, answer: dict[str, Any]) -> Tokens:
        """`usage.prompt_tokens` and `usage.completion_tokens`."""
        return _usage_tokens(answer.get("usage"))

    def whole_ended(self, answer: dict[str, Any]) -> bool:
        """A choice without a reason for its end did not come to one."""
        choices = answer.get("choices")
        if not isinstance(choices, list):
            return True
        return all(not isinstance(one, dict) or one.get("finish_reason", "") is not None for one in choices)


def _one_prompt(prompt: object) -> object:
    """A prompt: a text, or as some engines take them the numbers of its tokens. Refusal 400 for several, for each of
    them would be answered at full length."""
    if not isinstance(prompt, list) or not any(isinstance(part, str | list) for part in prompt):
        return prompt
    if len(prompt) != 1:
        raise Refusal(400, "invalid_value", "prompt must be a single one: ask again for another answer.")
    return prompt[0]


def _usage_tokens(usage: object) -> Tokens:
    tokens = Tokens()
    if isinstance(usage, dict):
        tokens.said(usage.get("prompt_tokens"), usage.get("completion_tokens"))
    return tokens


def _says_why_it_ends(choices: object) -> bool:
    return isinstance(choices, list) and any(
        isinstance(one, dict) and isinstance(one.get("finish_reason"), str) for one in choices
    )


class SseFrames:
    """Events in, events out; the last data event before `[DONE]` waits for `finish`."""

    __slots__ = (
        "_events",
        "_finished",
        "_held",
        "_kind",
        "_last_seen",
        "_model",
        "_wants_usage",
        "deltas",
        "ended",
        "failure",
        "tokens",
    )

    def __init__(self, model: str, *, wants_usage: bool, kind: str = _CHAT) -> None:
        self.tokens = Tokens()
        self.ended = False
        self.failure: str | None = None
        self.deltas = 0
        self._model = model
        self._kind = kind
        self._wants_usage = wants_usage
        self._events = Unfinished(*ENDS)
        self._held = b""
        self._last_seen = b""
        self._finished = False

    def feed(self, data: bytes) -> bytes:
        """Complete events pass at once; an unfinished event waits for its end."""
        if self.ended:
            return b""
        data = self._events.whole(data)
        if not data:
            return b""
        if self._kind == _TEXT and not self._wants_usage:
            data = _NO_USAGE.sub(b"", data)
        if not self._held and not _SPECIAL.search(data):
            # The usual case by far: whole events, all of them content.
            self.deltas += len(_DELTA.findall(data))
            self._last_seen = data
            return data
        return self._by_event(data)

    def _by_event(self, data: bytes) -> bytes:
        passed: list[bytes] = []
        for event in events(data):
            self._take(event, passed)
            if self.ended:
                break
        return b"".join(passed)

    def _take(self, event: bytes, passed: list[bytes]) -> None:
        data = payload(event)
        if data == b"[DONE]":
            self.tokens.counted(self.deltas)
            self.ended = True
            return
        if not data:  # a comment, as servers send to keep a connection alive
            passed.append(event)
            return
        chunk = json_object(data) if _SPECIAL.search(event) else None
        if chunk is None:
            self._release(passed)
            self.deltas += len(_DELTA.findall(event))
            self._last_seen = event
            passed.append(event)
            return
        if "error" in chunk and "choices" not in chunk:
            error = chunk["error"]
            self.failure = str(error.get("message", error)) if isinstance(error, dict) else str(error)
            self._release(passed)
            self._held = event
            self.tokens.counted(self.deltas)
            self.ended = True
            return
        self.deltas += len(_DELTA.findall(event))
        choices, usage = chunk.get("choices"), chunk.get("usage")
        ends = _says_why_it_ends(choices)
        self._finished = self._finished or ends
        if choices and not ends:
            # Usage beside content: what has been so far, or Ollama's zeros.
            if isinstance(usage, dict) and usage.get("completion_tokens"):
                self.tokens = _usage_tokens(usage)
            self._release(passed)
            self._last_seen = event
            passed.append(event)
            return
        if isinstance(usage, dict):
            if not choices or usage.get("completion_tokens"):
                self.tokens = _usage_tokens(usage)
            if not choices and not self._wants_usage:
                return
        self._release(passed)
        self._held = event

    def _release(self, passed: list[bytes]) -> None:
        if self._held:
            passed.append(self._held)
            self._held = b""

    def close(self) -> bytes:
        """A last event without its blank line is an event, where it is whole; an answer that has said why it ends is
        whole, though `[DONE]` never comes: some servers leave it out."""
        if self.ended:
            return b""
        rest = self._events.rest().rstrip()
        data = payload(rest)
        passed: list[bytes] = []
        if data == b"[DONE]" or json_object(data) is not None:
            self._take(rest + b"\n\n", passed)
        if self._finished and not self.ended:
            self.tokens.counted(self.deltas)
            self.ended = True
        return b"".join(passed)

    @property
    def fell_silent(self) -> bool:
        """Ollama ends an answer that repeats itself so. Where it failed, its last chunk is empty and names no model."""
        last = json_object(payload(self._last_seen)) or {}
        return self.deltas > 0 and last.get("model") != ""

    def finish(self, gateway: bytes) -> bytes:
        """The last data event with `_gateway` in it, and `[DONE]`."""
        if not self._held:
            self._held = b"data: " + dump(self._chunk(None)) + b"\n\n"
        last = b"data: " + splice(payload(self._held), gateway) + b"\n\n"
        return last if self.failure is not None else last + DONE

    def cut(self, gateway: bytes) -> bytes:
        """The answer ended early, as it does at a token limit."""
        self.tokens.counted(self.deltas)
        return b"data: " + splice(dump(self._chunk("length")), gateway) + b"\n\n" + DONE

    def broken(self, sentence: str, code: str, gateway: bytes) -> bytes:
        """An event with `error`, which makes the SDKs raise; no `[DONE]` follows."""
        self.tokens.counted(self.deltas)
        held, self._held = self._held, b""
        error = splice(dump({"error": _error_object(sentence, code, 502)}), gateway)
        return held + b"data: " + error + b"\n\n"

    def _chunk(self, finish_reason: str | None) -> dict[str, Any]:
        nothing: dict[str, Any] = {"text": ""} if self._kind == _TEXT else {"delta": {}}
        seen = json_object(payload(self._last_seen)) or {}
        return {
            "id": seen.get("id", "cmpl-0" if self._kind == _TEXT else "chatcmpl-0"),
            "object": seen.get("object", self._kind),
            "created": seen.get("created", 0),
            "model": seen.get("model", self._model),
            "choices": [{"index": 0, **nothing, "finish_reason": finish_reason}],
        }


CHAT_COMPLETIONS = OpenAIEndpoint("/v1/chat/completions", _CHAT)
COMPLETIONS = OpenAIEndpoint("/v1/completions", _TEXT, _PASSED_WITH_A_PROMPT)
