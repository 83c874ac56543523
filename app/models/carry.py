"""What an update of a model keeps of the one before: a bare GGUF file brings weights, and often nothing else.

Rule: pure. What the new one brings itself goes before; shapes are those of Ollama's /api/show and /api/create.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = ("", "{{ .Prompt }}")
"""A template that Ollama gives a model which has none."""
_LONG_TEXT = re.compile(r'^([A-Z]+(?: \S+)?) (?:""".*?"""|"[^"]*\n[^"]*")', re.DOTALL | re.MULTILINE)
"""How a Modelfile quotes what has several lines (Ollama's parser/parser.go)."""
_CONVERSATION = re.compile(r'^(RENDERER|PARSER)[ \t]+"?([^\s"]+)"?[ \t]*$', re.MULTILINE)


def carried(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The fields for /api/create that give `new` what only `old` has, of two answers of /api/show."""
    fields: dict[str, Any] = {}
    for name in ("template", "system", "license"):
        was, now = _text(old.get(name)), _text(new.get(name))
        if was.strip() not in _BARE and now.strip() in _BARE:
            fields[name] = was
    if _text(new.get("template")).strip() in _BARE and not _conversation(new):
        # To Ollama they go before a template, so they would silence one that the update brings.
        fields |= _conversation(old)
    if not _text(new.get("parameters")).strip() and (kept := parameters(_text(old.get("parameters")))):
        fields["parameters"] = kept
    return fields


def _conversation(shown: Mapping[str, Any]) -> dict[str, str]:
    """`renderer` and `parser`, as far as a model has them. Ollama's answer has fields for them, which 0.32 leaves
    empty: there they stand in the model's file alone."""
    found = {
        command.lower(): name
        for command, name in _CONVERSATION.findall(_LONG_TEXT.sub("", _text(shown.get("modelfile"))))
    }
    found |= {name: said for name in ("renderer", "parser") if (said := _text(shown.get(name)).strip())}
    return {name: found[name] for name in ("renderer", "parser") if name in found}


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
