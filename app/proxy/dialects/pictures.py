"""Pictures, sounds and files in a message: what the client sends itself passes, an address to fetch them from does not.

Rule: nothing that a client names has the contributor's machine ask anywhere. Ollama refuses addresses; vLLM and
llama-server fetch them, from inside the contributor's network, and what answers there comes back in words.
"""

from __future__ import annotations

from typing import Any

from app.access.refusals import Refusal

CARRIERS = frozenset("image_url video_url audio_url file_url input_audio source file".split())
"""Under these names a part of a message has its data, or an address, or an object with one of both."""
_ADDRESSES = CARRIERS - {"source"} | {"url"}
"""A `source` that is a text is a citation's: nobody fetches that."""
NESTED = frozenset(("content", "output"))
DEEPEST = 4
_LONGEST_SCHEME = 32


def refuse_addresses(messages: object, depth: int = 0) -> None:
    """Refusal 400 where a part of a message names an address in place of its data; a `data:` URL is data."""
    if not isinstance(messages, list) or depth > DEEPEST:
        return
    for part in messages:
        if not isinstance(part, dict):
            continue
        for name, value in part.items():
            plain = name.casefold()
            if plain in NESTED:
                refuse_addresses(value, depth + 1)
            elif plain in CARRIERS:
                _refuse({plain: value} if isinstance(value, str) else value)


def _refuse(carried: Any) -> None:
    if not isinstance(carried, dict):
        return
    for name, value in carried.items():
        if name.casefold() not in _ADDRESSES or not isinstance(value, str):
            continue
        scheme, colon, _ = value[:_LONGEST_SCHEME].partition(":")
        # Base64 has no colon.
        if colon and scheme.strip().lower() != "data":
            raise Refusal(
                400,
                "address_refused",
                "Send the data itself (base64, or a data: URL): nothing is fetched from an address here.",
            )
