"""Ollama's own dialect: NDJSON, one JSON object a line, the last one with `"done":true`.

Source: Ollama's API documentation and its server's `api/types.go`. Errors are `{"error":"text"}`, also as a line
in the middle of a stream under status 200. A blank line makes ollama-python fail, so none is ever passed on.
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
from app.proxy.strict_json import refuse_case_variants

_DONE = re.compile(rb'"done"\s*:\s*true')
_DELTA = re.compile(rb'"(?:content|response|thinking)"\s*:\s*"(?!")|"tool_calls"')
_BLANK = re.compile(rb"(?:^|\n)[ \t\r]*\n")
_ERROR = re.compile(rb'(?:^|\n)[ \t\r]*\{\s*"error"')

_PASSED = frozenset(
    "model messages prompt suffix images system template context raw format options stream tools think truncate shift "
    "logprobs top_logprobs".split()
)
_FIELDS = _PASSED | frozenset("keep_alive dimensions input _debug_render_only".split())
_PASSED_OPTIONS = frozenset(
    "num_keep seed num_predict top_k top_p min_p typical_p tfs_z repeat_last_n temperature repeat_penalty "
    "presence_penalty frequency_penalty mirostat mirostat_tau mirostat_eta penalize_newline stop".split()
)
"""Options of one answer. The others are the runner's (`num_ctx`, `num_gpu`, `draft_num_predict` …) and make Ollama load
the model again: a client must not be able to do that to the others."""
_OPTIONS = _PASSED_OPTIONS | frozenset(
    "num_ctx num_batch num_gpu main_gpu use_mmap use_mlock num_thread numa low_vram vocab_only "
    "draft_num_predict".split()
)
_ZERO = re.compile(r"[+-]?(?:0[0.]*(?:ns|us|µs|ms|s|m|h)?)+")
KEPT = "Only the contributor unloads models, for others may be using them: nothing was done."


class OllamaDialect:
    """Errors as Ollama words them."""

    native = True

    def error(self, refusal: Refusal) -> bytes:
        """`{"error":"sentence"}`"""
        return dump({"error": refusal.sentence})

    def rate_headers(self, rates: Sequence[KeyRate], now_us: int) -> dict[str, str]:
        """Nothing beside the names that every answer has."""
        return {}


OLLAMA = OllamaDialect()


@dataclass(frozen=True, slots=True)
class OllamaEndpoint:
    """`/api/chat` and `/api/generate`; both stream unless told not to."""

    path: str
    required: str
    dialect: Dialect = OLLAMA
    stream_type: str = "application/x-ndjson"
    fields: frozenset[str] = _PASSED

    def own_answer(self, call: dict[str, Any]) -> bytes | None:
        """A client that wants a model unloaded is told that it is not: without `keep_alive`, Ollama would load it."""
        if not wants_unload(call, self.required):
            return None
        last = {"model": call["model"], **self._empty(), "done": True, "done_reason": "unload"}
        return splice(dump(last), dump({"note": KEPT}))

    def prepare(self, call: dict[str, Any], max_output_tokens: int) -> NdjsonFrames | None:
        """Clamp `num_predict`, drop what would pin, unload or reload a model for everyone."""
        refuse_case_variants(call, _FIELDS)
        streamed = boolean(call, "stream", True)
        call["stream"] = streamed
        call.pop("keep_alive", None)
        call.pop("_debug_render_only", None)
        options = call.get("options")
        if options is None:
            options = {}
        elif not isinstance(options, dict):
            raise Refusal(400, "invalid_value", "options must be an object.")
        else:
            refuse_case_variants(options, _OPTIONS, where="options")
            options = {name: value for name, value in options.items() if name in _PASSED_OPTIONS}
        options["num_predict"] = clamp_tokens(
            options.get("num_predict"), "options.num_predict", max_output_tokens
        )
        call["options"] = options
        if not streamed:
            return None
        return NdjsonFrames(str(call["model"]), self._empty())

    def _empty(self) -> dict[str, Any]:
        """An answer without text."""
        if self.required == "prompt":
            return {"response": ""}
        return {"message": {"role": "assistant", "content": ""}}

    def whole_tokens(self, answer: dict[str, Any]) -> Tokens:
        """`prompt_eval_count` and `eval_count`, which Ollama leaves out when zero."""
        tokens = Tokens()
        tokens.said(answer.get("prompt_eval_count"), answer.get("eval_count"))
        tokens.timed(answer)
        return tokens

    def whole_ended(self, answer: dict[str, Any]) -> bool:
        """`"done":false` is what Ollama says of an answer that it cut off because it repeated itself."""
        return answer.get("done") is not False


def wants_unload(call: dict[str, Any], required: str) -> bool:
    """Whether nothing is asked but that the model be unloaded at once."""
    return not call.get(required) and _is_zero(call.get("keep_alive"))


def _is_zero(keep_alive: object) -> bool:
    """Whether Ollama would take it for «unload at once»: a number, or a duration as Go writes them."""
    if isinstance(keep_alive, str):
        return _ZERO.fullmatch(keep_alive) is not None
    return isinstance(keep_alive, int | float) and not isinstance(keep_alive, bool) and 0 <= keep_alive < 1e-9


class NdjsonFrames:
    """Lines in, lines out; the last one waits for `finish`."""

    __slots__ = ("_empty", "_held", "_lines", "_model", "deltas", "ended", "failure", "tokens")

    def __init__(self, model: str, empty: dict[str, Any]) -> None:
        self.tokens = Tokens()
        self.ended = False
        self.failure: str | None = None
        self.deltas = 0
        self._model = model
        self._empty = empty
        self._lines = Unfinished(b"\n")
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Complete lines pass at once; an unfinished line waits for its end, for it might be the last."""
        if self.ended:
            return b""
        data = self._lines.whole(data)
        if not _BLANK.search(data) and not _DONE.search(data) and not _ERROR.search(data):
            # The usual case by far: whole lines, none of them the last.
            self.deltas += len(_DELTA.findall(data))
            return data
        return self._by_line(data)

    def _by_line(self, data: bytes) -> bytes:
        passed: list[bytes] = []
        for line in data.splitlines(keepends=True):
            if not line.strip():
                continue
            frame = json_object(line) if _DONE.search(line) or _ERROR.match(line) else None
            if frame is not None and "error" in frame:
                self.failure = str(frame["error"])
            elif frame is None or frame.get("done") is not True:
                self.deltas += len(_DELTA.findall(line))
                passed.append(line)
                continue
            else:
                self.tokens.said(frame.get("prompt_eval_count"), frame.get("eval_count"))
                self.tokens.timed(frame)
            self.tokens.counted(self.deltas)
            self._held = line
            self.ended = True
            break
        return b"".join(passed)

    def close(self) -> bytes:
        """A last line without its newline is a line, where it is whole."""
        rest = b"" if self.ended else self._lines.rest()
        return self._by_line(rest + b"\n") if json_object(rest) is not None else b""

    @property
    def fell_silent(self) -> bool:
        """Ollama ends an answer that repeats itself so; a failure of its own it says in a line."""
        return self.deltas > 0

    def finish(self, gateway: bytes) -> bytes:
        """The engine's own last line with `_gateway` in it."""
        return splice(self._held, gateway)

    def cut(self, gateway: bytes) -> bytes:
        """Our own last line: the answer ended early, as it does at a token limit."""
        self.tokens.counted(self.deltas)
        last = {"model": self._model, **self._empty, "done": True, "done_reason": "length"}
        return splice(dump(last), gateway) + b"\n"

    def broken(self, sentence: str, code: str, gateway: bytes) -> bytes:
        """`{"error":…}` as a line, the way Ollama itself says it in mid-stream."""
        self.tokens.counted(self.deltas)
        return splice(dump({"error": sentence}), gateway) + b"\n"


CHAT = OllamaEndpoint("/api/chat", "messages")
GENERATE = OllamaEndpoint("/api/generate", "prompt")
