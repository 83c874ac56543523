"""How models are called: what Ollama would take for a name, and the one spelling of it.

Rule: a name that leaves this module has a tag, and nothing in it that a path or a log would stumble over.
"""

from __future__ import annotations

import re

from app.models.base import ModelError

_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}"
_HOST = r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}(?::[0-9]{1,5})?"
_is_name = re.compile(rf"(?:(?:{_HOST}/)?{_PART}/)?{_PART}:{_PART}").fullmatch
_DEFAULTS = ("registry.ollama.ai/library/", "registry.ollama.ai/", "library/")

NEW, OLD = "-gateway-new", "-gateway-old"
"""How a model is called while an update tries it, and the one before it until the new one has answered."""


def spelled(name: str) -> str:
    """`name` without the default registry and with a tag (see Ollama's types/model/name.go). Raises ModelError."""
    plain = name.strip()
    while default := next((one for one in _DEFAULTS if plain.lower().startswith(one)), ""):
        plain = plain[len(default) :]
    whole = plain if ":" in plain.rpartition("/")[2] else f"{plain}:latest"
    if not _is_name(whole):
        shown = "".join(letter if letter.isprintable() else "�" for letter in name.strip()[:80])
        raise ModelError(f"«{shown}» is not a model's name: write it like llama3.1:8b.")
    return whole


def canonical(name: str) -> str:
    """The one spelling that names are compared in: lower case, no default registry, with a tag. Takes any text."""
    plain = name.strip().lower()
    for scheme in ("https://", "http://"):
        plain = plain.removeprefix(scheme)
    for registry in _DEFAULTS:
        plain = plain.removeprefix(registry)
    return plain if ":" in plain.rpartition("/")[2] else f"{plain}:latest"


def same(one: str, other: str) -> bool:
    """Whether two spelled names mean the same model: Ollama's file system may not know case, so neither do we."""
    return one.lower() == other.lower()


def passing(name: str, mark: str) -> str:
    """The passing name of `name` while it is updated; `mark` is NEW or OLD."""
    path, _, tag = name.rpartition(":")
    return f"{path}:{tag[: 80 - len(mark)]}{mark}"


def is_passing(name: str) -> bool:
    """Whether a name is one that only an update gives, in whatever case."""
    return name.lower().endswith((NEW, OLD))
