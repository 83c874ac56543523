"""Server-sent events, as far as every dialect that streams them has them in common.

Source: the HTML standard, «Server-sent events». Engines send one `data:` line an event, some with an `event:` line
before it, and end each with a blank line; a comment (a line that begins with a colon) is no event and passes.

Rule: whole events that are nothing but content pass in one piece and are never parsed.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from app.proxy.dialects.base import Tokens, Unfinished, dump, json_object, splice

STREAM_TYPE = "text/event-stream"
ENDS = (b"\n\n", b"\n\r\n")
_END = re.compile(rb"\r?\n\r?\n")


def events(data: bytes) -> Iterator[bytes]:
    """Each whole event of `data`, its blank line included."""
    start = 0
    for match in _END.finditer(data):
        yield data[start : match.end()]
        start = match.end()


def payload(event: bytes) -> bytes:
    """The data of an event's (last, when several events came together) `data:` line."""
    at = event.rfind(b"\ndata:") + 1
    return event[at + 5 :].strip() if at or event.startswith(b"data:") else b""


def with_gateway(event: bytes, gateway: bytes) -> bytes:
    """`event` with `_gateway` in its data; not a byte of the rest is touched."""
    data = payload(event)
    at = event.rfind(data)
    return event[:at] + splice(data, gateway) + event[at + len(data) :]


def named(kind: str, data: dict[str, Any]) -> bytes:
    """An event of our own, named in its `event:` line and in the data's `type`, as SDKs read one or the other."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), dump({"type": kind, **data}))


def inner(frame: dict[str, Any], name: str) -> dict[str, Any]:
    """The object at `name`, empty where there is none."""
    value = frame.get(name)
    return value if isinstance(value, dict) else {}


class NamedEventFrames(ABC):
    """A stream whose events say in `type` what they are; the last of them waits for `finish`.

    `SPECIAL` finds the events that must be understood, in any data that has one; everything else is content.
    """

    SPECIAL: ClassVar[re.Pattern[bytes]]
    DELTA: ClassVar[re.Pattern[bytes]]
    """One match a piece of content."""

    def __init__(self, model: str) -> None:
        self.tokens = Tokens()
        self.ended = False
        self.failure: str | None = None
        self.deltas = 0
        self._model = model
        self._unfinished = Unfinished(*ENDS)
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Complete events pass at once; an unfinished event waits for its end."""
        if self.ended:
            return b""
        data = self._unfinished.whole(data)
        if not self.SPECIAL.search(data):
            # The usual case by far: whole events, all of them content.
            if data:
                self._content(data)
            return data
        passed: list[bytes] = []
        for event in events(data):
            frame = json_object(payload(event)) if self.SPECIAL.search(event) else None
            if frame is None:
                self._content(event)
            elif self._is_last(frame):
                self.tokens.counted(self.deltas)
                self._held = event
                self.ended = True
                break
            passed.append(event)
        return b"".join(passed)

    def close(self) -> bytes:
        """A last event without its blank line is an event, where it is whole."""
        rest = b"" if self.ended else self._unfinished.rest().rstrip()
        return self.feed(rest + b"\n\n") if json_object(payload(rest)) is not None else b""

    @property
    def fell_silent(self) -> bool:
        """Nobody knows: where Ollama breaks off in these dialects, an answer that repeats itself and a failure look the
        same, and what may have been a failure is told as one."""
        return False

    def finish(self, gateway: bytes) -> bytes:
        """The engine's own last event with `_gateway` in it."""
        return with_gateway(self._held, gateway)

    def _content(self, data: bytes) -> None:
        self.deltas += len(self.DELTA.findall(data))

    @abstractmethod
    def _is_last(self, frame: dict[str, Any]) -> bool:
        """Take note of a special event; whether it is the stream's last."""
