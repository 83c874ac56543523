"""Everything that an official Python client can ask a server for, found by looking at the client."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import ollama
import openai

Method = Callable[..., Any]
_OWN = {"close", "copy", "is_closed", "with_options", "with_middleware", "platform_headers", "get_api_list"}
"""What a client does with itself."""
_ANY_PATH = {"get", "post", "put", "patch", "delete", "request"}
"""What asks for whatever path it is given."""


def methods(client: openai.AsyncOpenAI | anthropic.AsyncAnthropic | ollama.AsyncClient) -> dict[str, Method]:
    """`chat.completions.create` and so on, with what is called for each."""
    if isinstance(client, ollama.AsyncClient):
        return {
            name: getattr(client, name)
            for name, _ in inspect.getmembers(type(client), inspect.isfunction)
            if not name.startswith("_") and name != "close"
        }
    return {name: method for name, method in _below(client, "") if name not in _OWN | _ANY_PATH}


def _below(owner: Any, prefix: str) -> Iterator[tuple[str, Method]]:
    for name in dir(type(owner)):
        if name.startswith("_") or name in ("with_raw_response", "with_streaming_response", "qs"):
            continue
        found = inspect.getattr_static(type(owner), name)
        if inspect.isfunction(found):
            yield prefix + name, getattr(owner, name)
        elif ".resources." in type(inner := getattr(owner, name)).__module__:
            yield from _below(inner, f"{prefix}{name}.")


def required(method: Method) -> list[str]:
    """The parameters without which it cannot be called."""
    return [
        name
        for name, one in inspect.signature(method).parameters.items()
        if one.default is inspect.Parameter.empty
        and one.kind in (one.POSITIONAL_OR_KEYWORD, one.POSITIONAL_ONLY, one.KEYWORD_ONLY)
    ]
