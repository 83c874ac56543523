"""What every dialect can do. To add one: an `Endpoint` for each path, and a `Frames` for its stream.

Rule 1: sans I/O. A dialect is handed bytes and hands bytes back; it never waits and never sees a socket.
Rule 2: bytes of the engine pass untouched, except for the last frame, which gains `_gateway`.
Rule 3: unknown is never zero. A count nobody gave is None.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.access.rates import KeyRate
from app.access.refusals import Refusal
from app.basics.compact import compact
from app.engine.base import EngineBroken
from app.power.attribution import Phases

JSON = "application/json; charset=utf-8"

MOST_UNFINISHED_B = 8 * 2**20
"""The longest line or event an engine may send. Pictures and token lists of a last frame take a few MB."""


@dataclass(slots=True)
class Tokens:
    """Tokens of one request. `source` is `engine` (it said so), `counted` (a lower bound: content deltas that
    passed by) or `none`."""

    prompt: int | None = None
    completion: int | None = None
    source: str = "none"
    phases: Phases | None = None
    """What the engine itself says that it did when; None where it says nothing."""

    def timed(self, frame: dict[str, Any]) -> None:
        """Take Ollama's durations (nanoseconds, left out when zero), where a last frame has them."""
        load_us, prompt_us, answer_us = (
            _microseconds(frame.get(name))
            for name in ("load_duration", "prompt_eval_duration", "eval_duration")
        )
        if prompt_us or answer_us:
            self.phases = Phases(load_us, prompt_us, answer_us, self.prompt, self.completion)

    def said(self, prompt: object, completion: object) -> None:
        """Take the engine's own figures; anything but a whole number of at least 0 is no figure."""
        self.prompt = _count(prompt)
        self.completion = _count(completion)
        if self.prompt is not None or self.completion is not None:
            self.source = "engine"

    def counted(self, deltas: int) -> None:
        """Where the engine said nothing: what was seen is at least what was made."""
        if self.source == "none" and deltas:
            self.completion = deltas
            self.source = "counted"


def _count(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53:
        return value
    return None


def _microseconds(nanoseconds: object) -> int:
    return (_count(nanoseconds) or 0) // 1000


class Frames(Protocol):
    """One streamed answer on its way through: feed it what the engine sends, pass on what it returns."""

    tokens: Tokens
    ended: bool
    """The engine's last frame is in hand (held back until the request is settled)."""
    failure: str | None
    """What the engine said when it failed in the middle of a stream."""
    deltas: int
    """Content deltas that passed by."""

    def feed(self, data: bytes) -> bytes:
        """What may go to the client now; may be empty. Raises EngineBroken where a line or an event has no end."""

    def close(self) -> bytes:
        """The engine has said its last byte: what may still go to the client of what waited for its end."""

    @property
    def fell_silent(self) -> bool:
        """Whether the engine, where it has neither ended nor failed, broke off between two frames of an answer."""

    def finish(self, gateway: bytes) -> bytes:
        """The held-back end of the stream, with the JSON object `gateway` as `_gateway` in its last frame."""

    def cut(self, gateway: bytes) -> bytes:
        """A well-formed end for a stream that we end ourselves; `gateway` says why."""

    def broken(self, sentence: str, code: str, gateway: bytes) -> bytes:
        """The dialect's way to say, under status 200, that the answer is incomplete."""


class Dialect(Protocol):
    """How one family of clients wants to be spoken to."""

    native: bool
    """It is the engine's own: not every engine speaks it."""

    def error(self, refusal: Refusal) -> bytes:
        """The JSON body of a refusal."""

    def rate_headers(self, rates: Sequence[KeyRate], now_us: int) -> dict[str, str]:
        """What its clients look for in an answer beside `X-RateLimit-*`; `now_us` is wall time."""


class Endpoint(Protocol):
    """One inference path."""

    @property
    def path(self) -> str:
        """Where it is asked for."""

    @property
    def dialect(self) -> Dialect:
        """What its errors are said in."""

    @property
    def stream_type(self) -> str:
        """Content-Type of a streamed answer."""

    @property
    def fields(self) -> frozenset[str]:
        """The fields of a body that may go on to the engine once `prepare` has seen to them."""

    def own_answer(self, call: dict[str, Any]) -> bytes | None:
        """The whole answer, where the engine must not be asked at all; None nearly always."""

    def prepare(self, call: dict[str, Any], max_output_tokens: int) -> Frames | None:
        """Check and clamp the parsed body in place. The reader for a streamed answer, or None where the client
        wants it whole. Raises Refusal 400."""

    def whole_tokens(self, answer: dict[str, Any]) -> Tokens:
        """The engine's figures in an unstreamed answer."""

    def whole_ended(self, answer: dict[str, Any]) -> bool:
        """Whether an unstreamed answer came to its end, or says that the engine cut it off."""


class Unfinished:
    """The beginning of a line or an event whose end has not come. Each byte is looked at once for its end.

    `ends`: what ends one. Of several, the longest has at most three bytes.
    """

    __slots__ = ("_ends", "_waiting")

    def __init__(self, *ends: bytes) -> None:
        self._ends = ends
        self._waiting = bytearray()

    def whole(self, data: bytes) -> bytes:
        """Everything up to the last end that has come, `data` included; the rest waits for its own.

        Raises EngineBroken where that is more than `MOST_UNFINISHED_B`.
        """
        waiting = self._waiting
        if not waiting:
            if data.endswith(self._ends):
                return data
            cut = self._cut(data, 0)
            waiting += data[cut:]
            data = data[:cut]
        else:
            begin = max(0, len(waiting) - 2)  # an end may have begun in what waited
            waiting += data
            cut = self._cut(waiting, begin)
            data = bytes(waiting[:cut])
            del waiting[:cut]
        if len(waiting) > MOST_UNFINISHED_B:
            waiting.clear()
            most_mb = MOST_UNFINISHED_B // 2**20
            raise EngineBroken(f"The engine's answer has a line of more than {most_mb} MB: see its log.")
        return data

    def rest(self) -> bytes:
        """What still waits for its end; nothing waits any more."""
        rest = bytes(self._waiting)
        self._waiting.clear()
        return rest

    def _cut(self, data: bytes | bytearray, begin: int) -> int:
        found = ((data.rfind(end, begin), len(end)) for end in self._ends)
        return max((at + size for at, size in found if at >= 0), default=0)


def splice(body: bytes, gateway: bytes) -> bytes:
    """`body`, a JSON object's bytes, with `_gateway` before its closing brace; nothing else is touched.

    Where the engine is itself such a gateway, its `_gateway` gives way to ours.
    """
    if b'"_gateway"' in body:
        parsed = json_object(body)
        if parsed is not None and parsed.pop("_gateway", None) is not None:
            body = dump(parsed) + (b"\n" if body.endswith(b"\n") else b"")
    end = body.rfind(b"}")
    head = body[:end].rstrip()
    comma = b"" if head.endswith(b"{") else b","
    return b'%b%b"_gateway":%b%b' % (head, comma, gateway, body[end:])


def json_object(data: bytes) -> dict[str, Any] | None:
    """The JSON object in `data`, or None for anything else: an engine's answer is not ours to refuse."""
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def large_json_object(data: bytes) -> dict[str, Any] | None:
    """Like `json_object`, for a thread: the hooks let other threads have their turn, which the decoder, being C,
    would otherwise keep from them until its end."""
    try:
        parsed = json.loads(data, object_pairs_hook=_pairs, parse_int=_whole, parse_float=_number)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs)


def _whole(digits: str) -> int:
    return int(digits)


def _number(digits: str) -> float:
    return float(digits)


def dump(value: object) -> bytes:
    """Compact UTF-8 JSON."""
    return compact(value)


def clamp_tokens(value: object, name: str, most: int) -> int:
    """`value`, at most `most`; what is below 1 means «without limit» to engines and becomes `most`."""
    if value is None:
        return most
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(400, "invalid_value", f"{name} must be a whole number.")
    whole = int(value)
    return most if whole < 1 else min(whole, most)


def boolean(call: dict[str, Any], name: str, default: bool) -> bool:
    """A flag of the body; null counts as absent, anything but true and false is refused."""
    value = call.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise Refusal(400, "invalid_value", f"{name} must be true or false.")
    return value
