"""What the simulator writes: sentences that say what they are, JSON where that is asked for, vectors of numbers.

Rule 1: the same model and the same prompt give the same answer, always.
Rule 2: no sentence pretends to be a model's.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

_OPENING = "This is a simulated answer: no model ran, and no GPU worked for it."
_SUBJECTS = (
    "The simulator",
    "A small program",
    "This stand-in for {model}",
    "A timer",
    "The demonstration engine",
)
_VERBS = ("hands over", "spaces out", "counts", "releases", "sends")
_OBJECTS = ("these words", "every token", "each sentence", "this text")
_ENDINGS = (
    "at the pace of a real card.",
    "so that the meters and the bill have something to measure.",
    "without having understood the question.",
    "as fast as {model} would.",
    "one after the other.",
    "although nothing is computed.",
)

_PARTS = (_SUBJECTS, _VERBS, _OBJECTS, _ENDINGS)
_SENTENCES = math.prod(len(part) for part in _PARTS)

_TOKEN = re.compile(r"\s*\S+|\s+")
_SHORTEST, _SPREAD = 28, 72


def count_tokens(text: str) -> int:
    """About what a tokenizer would say: four characters each."""
    return (len(text) + 3) // 4


def split_tokens(text: str) -> list[str]:
    """`text` in the pieces that are streamed; joined they are `text` again."""
    return _TOKEN.findall(text)


def answer_tokens(model: str, prompt: str, *, length: int | None) -> list[str]:
    """An answer to `prompt` of `length` tokens, or of as many as it happens to have."""
    seed = zlib.crc32(prompt.encode("utf-8", "replace"), zlib.crc32(model.encode("utf-8", "replace")))
    wanted = _SHORTEST + seed % _SPREAD if length is None else length
    tokens = split_tokens(_OPENING)
    while len(tokens) < wanted:
        # A linear congruential generator (the constants are those of Numerical Recipes): reproducible everywhere.
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        tokens += _sentence(model, (seed >> 8) % _SENTENCES)
    return tokens if length is None else tokens[:wanted]


@lru_cache(maxsize=4096)
def _sentence(model: str, number: int) -> tuple[str, ...]:
    words = []
    for choices in _PARTS:
        number, choice = divmod(number, len(choices))
        words.append(choices[choice])
    return tuple(split_tokens(" " + " ".join(words).format(model=model)))


def until_stop(tokens: list[str], stops: Sequence[str]) -> list[str]:
    """The tokens before the first of the stop sequences."""
    text = "".join(tokens)
    found = [at for at in (text.find(stop) for stop in stops if stop) if at >= 0]
    return split_tokens(text[: min(found)]) if found else tokens


def example(schema: object) -> Any:
    """A value that fits a JSON schema, of the plain kinds that SDKs make from a class."""
    definitions = schema.get("$defs") if isinstance(schema, dict) else None
    return _example(schema, definitions if isinstance(definitions, dict) else {}, 0)


def _example(schema: object, definitions: dict[str, Any], depth: int) -> Any:
    if not isinstance(schema, dict) or depth > 8:
        return "simulated"
    if isinstance(schema.get("$ref"), str):
        return _example(definitions.get(schema["$ref"].rpartition("/")[2]), definitions, depth + 1)
    if "const" in schema:
        return schema["const"]
    for choices in ("enum", "anyOf", "oneOf", "allOf"):
        first = schema.get(choices)
        if isinstance(first, list) and first:
            return first[0] if choices == "enum" else _example(first[0], definitions, depth + 1)
    kind = schema.get("type")
    properties = schema.get("properties")
    if isinstance(properties, dict):
        return {name: _example(part, definitions, depth + 1) for name, part in properties.items()}
    if kind == "array":
        return [_example(schema.get("items"), definitions, depth + 1)]
    plain: tuple[tuple[str, Any], ...] = (
        ("object", {}),
        ("integer", schema.get("minimum", 1)),
        ("number", schema.get("minimum", 0.5)),
        ("boolean", True),
        ("null", None),
    )
    return next((value for name, value in plain if name == kind), "simulated")


def embedding(model: str, text: str, length: int) -> list[float]:
    """A unit vector of `length` numbers, the same for the same text."""
    raw = hashlib.shake_128(f"{model}\0{text}".encode("utf-8", "replace")).digest(2 * length)
    values = struct.unpack(f"<{length}h", raw)
    norm = math.sqrt(sum(value * value for value in values)) or 1.0
    return [round(value / norm, 8) for value in values]
