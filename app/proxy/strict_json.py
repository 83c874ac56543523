"""A request body, read so that the engine cannot read it differently.

Ollama is written in Go, whose decoder takes the last of repeated keys and matches names whatever their case; a
body that says `model` twice, or `Keep_Alive`, would pass a naive check here and mean something else there. So:
repeated keys are refused, names that differ from a known one only by case are refused, and what goes on to the
engine is the parsed body written anew, never the client's bytes.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, NoReturn

from app.access.refusals import Refusal


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


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


def bad_json(sentence: str) -> Refusal:
    """400, the body is not what it should be."""
    return Refusal(400, "invalid_json", sentence)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; Refusal 400 for anything else."""
    try:
        parsed = _DECODER.decode(body.decode())
    except UnicodeDecodeError:
        raise bad_json("The body is not UTF-8.") from None
    except _Repeated as repeated:
        raise bad_json(f"The body names the key {str(repeated)[:64]!r} more than once.") from None
    except json.JSONDecodeError as error:
        raise bad_json(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except RecursionError:
        raise bad_json("The body is nested too deeply.") from None
    except ValueError as error:
        # NaN and Infinity, and integers of thousands of digits.
        raise bad_json(f"The body is not JSON: {str(error)[:120]}.") from None
    if not isinstance(parsed, dict):
        raise bad_json("The body must be a JSON object.")
    return parsed


def dump_object(value: dict[str, Any]) -> bytes:
    """Compact UTF-8 JSON; lone surrogates, which only escapes can smuggle in, are refused with 400."""
    try:
        return _ENCODER.encode(value).encode()
    except UnicodeEncodeError:
        raise bad_json("The body holds half of a surrogate pair, which is not a character.") from None


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
