"""What an update of a model keeps of the one before: a bare GGUF file brings weights, and often nothing else.

Rule: pure. What the new one brings itself goes before; shapes are those of Ollama's /api/show and /api/create.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_BARE = ("", "{{ .Prompt }}")
"""A template that Ollama gives a model which has none."""


def carried(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The fields for /api/create that give `new` what only `old` has, of two answers of /api/show."""
    fields: dict[str, Any] = {}
    for name in ("template", "system", "license"):
        was, now = _text(old.get(name)), _text(new.get(name))
        if was.strip() not in _BARE and now.strip() in _BARE:
            fields[name] = was
    if not _text(new.get("parameters")).strip() and (kept := parameters(_text(old.get("parameters")))):
        fields["parameters"] = kept
    return fields


def parameters(listed: str) -> dict[str, Any]:
    """The parameters that /api/show lists, a line each; one that comes several times is a list, as `stop` always is."""
    found: dict[str, Any] = {}
    for line in listed.splitlines():
        name, _, said = line.strip().partition(" ")
        said = said.strip()
        if not said:
            continue
        try:
            value = json.loads(said)
        except ValueError:
            value = said.strip('"')
        if name == "stop" or name in found:
            before = found.get(name, [])
            value = [*(before if isinstance(before, list) else [before]), value]
        found[name] = value
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
