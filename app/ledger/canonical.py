"""RFC 8785 canonical JSON for closed schemas: one value, one sequence of bytes.

Rule 1: pure. Objects, arrays, strings, booleans, null and integers within ±(2**53 - 1); floats do not exist here.
Rule 2: what `parse_canonical` accepts serialises back to the very same bytes.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring
from typing import Any

INT_MAX = 2**53 - 1
"""Above it JSON readers that use doubles lose digits (RFC 8785 section 3.2.2.3)."""

quote = encode_basestring
"""A JSON string with RFC 8785's escapes: the C escaper of the standard library happens to be exactly that."""


class CanonicalError(ValueError):
    """Not canonical JSON, or a value that has no canonical form here."""


def _text(value: object) -> str:
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, int):
        if not -INT_MAX <= value <= INT_MAX:
            raise CanonicalError(
                "an integer beyond 2**53 - 1 has no exact form in JSON; write it as a digit string"
            )
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise CanonicalError("the names of a JSON object are strings")
        # RFC 8785 section 3.2.3: names are sorted by UTF-16 code units, not by code points.
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{quote(name)}:{_text(value[name])}" for name in names) + "}"
    raise CanonicalError(f"a {type(value).__name__} has no canonical form here")


def canonical(value: object) -> bytes:
    """The canonical bytes of `value`; CanonicalError on floats, big integers, lone surrogates, foreign types."""
    try:
        return _text(value).encode()
    except UnicodeEncodeError:
        raise CanonicalError("a lone surrogate has no UTF-8 form") from None
    except RecursionError:
        raise CanonicalError("the value is nested too deeply") from None


def _no_float(text: str) -> Any:
    raise CanonicalError(f"{text[:20]} is not an integer")


def parse_canonical(data: bytes) -> Any:
    """The value of canonical bytes; CanonicalError where serialising it again would give other bytes."""
    try:
        value = json.loads(data.decode(), parse_float=_no_float, parse_constant=_no_float)
    except CanonicalError:
        raise
    except (ValueError, RecursionError) as error:
        raise CanonicalError(f"not JSON: {error}") from None
    if canonical(value) != data:
        raise CanonicalError("the JSON is not in canonical form")
    return value
