"""How much a request holds, in the measures of its dialect: messages, and pictures in them.

A body within its bytes can still be ten thousand messages of one word, or a thousand small pictures, each of which
costs the engine a fixed amount of work. Rule: names count in any case, as Go reads them inside of messages.
"""

from __future__ import annotations

from typing import Any

from app.access.refusals import Refusal
from app.proxy.dialects.pictures import CARRIERS, DEEPEST, NESTED

_LISTS = ("messages", "input")
"""A conversation, or the texts to embed."""
_PLAIN = {"role", "content"}
"""What nearly every message has, and nothing else."""


def refuse_crowds(call: dict[str, Any], most_messages: int, most_images: int) -> None:
    """Refusal 400 for more of either than may be in one request."""
    for name in _LISTS:
        value = call.get(name)
        if not isinstance(value, list):
            continue
        # A list of numbers is one text, given as its tokens.
        if len(value) > most_messages and not isinstance(value[0], int):
            raise Refusal(
                400,
                "too_many_messages",
                f"{name} holds {len(value)} entries; a request may have at most {most_messages} here.",
            )
    images = _images(call.get("messages"), 0) + _images(call.get("input"), 0) + _listed(call.get("images"))
    if images > most_images:
        raise Refusal(
            400,
            "too_many_images",
            f"The request holds {images} pictures, sounds and files; it may have at most {most_images} here.",
        )


def _images(messages: object, depth: int) -> int:
    """Those in the parts of `messages`, and of what lies in them."""
    if not isinstance(messages, list) or depth > DEEPEST:
        return 0
    count = 0
    for part in messages:
        if isinstance(part, dict) and not (part.keys() == _PLAIN and isinstance(part["content"], str)):
            for name, value in part.items():
                plain = name.casefold()
                if plain in NESTED:
                    count += _images(value, depth + 1)
                elif plain == "images":
                    count += _listed(value)
                elif plain in CARRIERS:
                    # A `source` that is a text is a citation's.
                    count += isinstance(value, dict) or (isinstance(value, str) and plain != "source")
    return count


def _listed(value: object) -> int:
    return len(value) if isinstance(value, list) else 0
