"""A request body, read so that the engine cannot read it differently.

Ollama is written in Go, whose decoder takes the last of repeated keys and matches names whatever their case; a
body that says `model` twice, or `Keep_Alive`, would pass a naive check here and mean something else there. So:
repeated keys are refused, names that differ from a known one only by case are refused, and what goes on to the
engine is the parsed body written anew, never the client's bytes.

Rule: what this returns can be written and read anew by everybody: every number is finite (1e999 is not, though a
parser makes one of it), every text is made of whole characters, and the depth is bounded by a number that we chose,
not by how much of its stack a thread has used.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from typing import Any, NoReturn

from app.access.refusals import Refusal
from app.basics.compact import compact
from app.proxy.json_in_steps import StepwiseDecoder, TooDeep, compact_in_steps

DEEPEST = 200
"""Arrays and objects within one another; a schema of a tool has a dozen."""
MOST_DIGITS = 300
CROWDED = 8192
"""Values: reading and writing them takes some 3 ms."""

# A half of a surrogate pair, once the whole pairs and the escaped backslashes are out of the way.
_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_TEXT = re.compile(rb'"[^"]*"?')
_NO_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))


class _Repeated(ValueError):
    """An object names a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Repeated(name)
            seen.add(name)
    return parsed


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _whole(text: str) -> int:
    # Go and JavaScript read large ones as floats, and so may the arithmetic that follows here.
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number has more than {MOST_DIGITS} digits")
    return int(text)


_HOOKS: Any = {
    "object_pairs_hook": _object,
    "parse_constant": _constant,
    "parse_float": _finite,
    "parse_int": _whole,
}
_DECODER = json.JSONDecoder(**_HOOKS)


_TOO_DEEP = f"The body is nested too deeply: {DEEPEST} levels are the most."
_HALF_SENTENCE = "The body holds half of a surrogate pair, which is not a character."


def bad_json(sentence: str) -> Refusal:
    """400, the body is not what it should be."""
    return Refusal(400, "invalid_json", sentence)


def parse_object(body: bytes, *, in_steps: bool = False) -> dict[str, Any]:
    """The JSON object in `body`; Refusal 400 for anything else. `in_steps` is for threads: see `json_in_steps`."""
    if not in_steps and body.count(b"[") + body.count(b"{") > DEEPEST and depth(body) > DEEPEST:
        raise bad_json(_TOO_DEEP)
    if b"\\u" in body and _HALF.search(_PAIR.sub(b"", body.replace(rb"\\", b"__"))):
        raise bad_json(_HALF_SENTENCE)
    try:
        decoder = StepwiseDecoder(**_HOOKS, deepest=DEEPEST) if in_steps else _DECODER
        parsed = decoder.decode(body.decode())
    except UnicodeDecodeError:
        raise bad_json("The body is not UTF-8.") from None
    except _Repeated as repeated:
        raise bad_json(f"The body names the key {str(repeated)[:64]!r} more than once.") from None
    except json.JSONDecodeError as error:
        raise bad_json(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except (TooDeep, RecursionError):
        raise bad_json(_TOO_DEEP) from None
    except ValueError as error:
        # NaN and Infinity, and integers of thousands of digits.
        raise bad_json(f"The body is not JSON: {str(error)[:120]}.") from None
    if not isinstance(parsed, dict):
        raise bad_json("The body must be a JSON object.")
    return parsed


def dump_object(value: dict[str, Any], *, in_steps: bool = False) -> bytes:
    """Compact UTF-8 JSON; lone surrogates, which only escapes can smuggle in, are refused with 400."""
    try:
        return compact_in_steps(value) if in_steps else compact(value)
    except UnicodeEncodeError:
        raise bad_json(_HALF_SENTENCE) from None


def crowded(body: bytes) -> bool:
    """Whether it holds so many values that reading it would keep the loop, though it may be short: never untrue where
    they are many, and a long text with many commas does no harm."""
    return body.count(b",") + body.count(b"[") + body.count(b"{") > CROWDED


def depth(body: bytes) -> int:
    """How deeply arrays and objects lie within one another in a JSON text, without a stack of its own."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    now = deepest = 0
    for mark in _TEXT.sub(b"", body.translate(None, _NO_BRACKETS)):
        if mark in b"[{":
            now += 1
            deepest = max(deepest, now)
        else:
            now -= 1
    return deepest


def refuse_case_variants(parsed: dict[str, Any], known: Collection[str], *, where: str = "The body") -> None:
    """Refuse a key that Go would take for a known one although it is spelled differently.

    `casefold` maps the Kelvin sign and the long s as Go's decoder does.
    """
    if parsed.keys() <= known:  # type: ignore[operator]  # known is a frozenset wherever speed matters
        return
    folded: dict[str, str] = {}
    for name in parsed:
        if name not in known:
            plain = name.casefold()
            if plain in known:
                raise bad_json(f"{where} spells {plain!r} as {name[:64]!r}.")
            if plain in folded:
                raise bad_json(f"{where} names {name[:64]!r} more than once, in different case.")
            folded[plain] = name
