"""JSON of many megabytes, read and written in a thread that lets the loop have its turns.

The standard library's C code keeps the interpreter from its first byte to its last: 32 MB of `[],[],…` hold every other
thread for seconds. Its own Python version of the scanner calls the C code for a text or a number at a time, so that
others get their turn in between; slower, and never in anybody's way.

Rule: what is built is bounded by a number of values, not by bytes alone, for three bytes make an object of sixty.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from json.decoder import JSONArray, JSONObject, scanstring  # type: ignore[attr-defined]  # typeshed leaves them out
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from typing import Any

from app.basics.compact import compact

MOST_VALUES = 1_000_000
"""In one body. The longest context of a model today is about so many tokens."""
CONTAINER = 8
"""An array or an object counts as so many values: in memory, and for the collector, which keeps everybody waiting."""
_AT_ONCE = 512
"""Plain values of a list that are written in one step."""
_PIECE = 1 << 18
"""Characters of a text that are written in one step."""


class TooManyValues(ValueError):
    """The text holds more than MOST_VALUES values."""


class TooDeep(ValueError):
    """Arrays and objects lie within one another beyond what was allowed."""


class StepwiseDecoder(json.JSONDecoder):
    """Reads one text, as a JSONDecoder with the same hooks does; raises TooManyValues, and TooDeep beyond `deepest`."""

    def __init__(
        self,
        *,
        object_pairs_hook: Callable[[list[tuple[str, Any]]], Any],
        parse_constant: Callable[[str], Any],
        parse_float: Callable[[str], Any],
        parse_int: Callable[[str], Any],
        deepest: int,
    ) -> None:
        self._values = self._depth = 0
        self._deepest = deepest
        super().__init__(
            object_pairs_hook=object_pairs_hook,
            parse_constant=parse_constant,
            parse_float=self._counted(parse_float),
            parse_int=self._counted(parse_int),
        )
        self.parse_string = self._counted(scanstring)
        self.parse_array = self._container(JSONArray)
        self.parse_object = self._container(JSONObject)
        self.scan_once = py_make_scanner(self)

    def _count(self, weight: int) -> None:
        self._values += weight
        if self._values > MOST_VALUES:
            raise TooManyValues(
                f"it holds more than {MOST_VALUES:,} values; an array or an object counts {CONTAINER}"
            )

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any) -> Any:
            self._count(1)
            return function(*arguments)

        return counting

    def _container(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def within(*arguments: Any) -> Any:
            self._count(CONTAINER)
            self._depth += 1
            if self._depth > self._deepest:
                raise TooDeep
            found = function(*arguments)
            self._depth -= 1
            return found

        return within


def compact_in_steps(value: object) -> bytes:
    """The same bytes as `compact`, and the same errors."""
    written = bytearray()
    for piece in _pieces(value):
        written += piece
    return bytes(written)


def _pieces(value: object) -> Iterator[bytes]:
    match value:
        case dict():
            before = b"{"
            for name, one in value.items():
                yield before + compact(name) + b":"
                yield from _pieces(one)
                before = b","
            yield b"{}" if before == b"{" else b"}"
        case list():
            before = b"["
            for at in range(0, len(value), _AT_ONCE):
                some = value[at : at + _AT_ONCE]
                if all(_plain(one) for one in some):
                    yield before + compact(some)[1:-1]
                    before = b","
                    continue
                for one in some:
                    yield before
                    yield from _pieces(one)
                    before = b","
            yield b"[]" if before == b"[" else b"]"
        case str() if len(value) > _PIECE:
            yield b'"'
            for at in range(0, len(value), _PIECE):
                yield compact(value[at : at + _PIECE])[1:-1]
            yield b'"'
        case _:
            yield compact(value)


def _plain(value: object) -> bool:
    return not isinstance(value, dict | list) and not (isinstance(value, str) and len(value) > 256)
