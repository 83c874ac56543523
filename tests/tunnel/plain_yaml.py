"""As much YAML as our compose files use: mappings, lists, plain and quoted words, one-line lists, comments.

Anything else is an error, so that a file which this cannot read is not taken for a good one.
"""

from __future__ import annotations

import json
import re
from typing import Any

_KEY = re.compile(r"([A-Za-z_][\w-]*):(?:\s+(.*))?$")


class NotPlain(Exception):
    """A line that is more YAML than this."""


def read(text: str) -> Any:
    """The document's value."""
    lines = [
        (len(line) - len(line.lstrip()), _uncommented(line).strip())
        for line in text.splitlines()
        if _uncommented(line).strip()
    ]
    value, rest = _block(lines, lines[0][0])
    if rest:
        raise NotPlain(rest[0][1])
    return value


def _uncommented(line: str) -> str:
    if line.lstrip().startswith("#"):
        return ""
    return re.sub(r"(^|\s)#.*$", "", line) if "'" not in line and '"' not in line else line


def _block(lines: list[tuple[int, str]], indent: int) -> tuple[Any, list[tuple[int, str]]]:
    mapping: dict[str, Any] = {}
    items: list[Any] = []
    while lines and lines[0][0] == indent:
        text = lines[0][1]
        if text.startswith("- "):
            inner = text[2:].strip()
            if _KEY.match(inner) and not inner.startswith(('"', "'")):
                lines = [(indent + 2, inner), *lines[1:]]
                value, lines = _block(lines, indent + 2)
                items.append(value)
            else:
                items.append(_word(inner))
                lines = lines[1:]
            continue
        match = _KEY.match(text)
        if match is None or match.group(1) in mapping:
            raise NotPlain(text)
        name, word = match.groups()
        lines = lines[1:]
        if word:
            mapping[name] = _word(word)
        elif lines and lines[0][0] > indent:
            mapping[name], lines = _block(lines, lines[0][0])
        else:
            mapping[name] = None
    if (mapping and items) or (lines and lines[0][0] > indent):
        raise NotPlain(str(lines[:1]))
    return (items or mapping), lines


def _word(text: str) -> Any:
    if text == "{}":
        return {}
    if text.startswith("[") and text.endswith("]"):
        return [
            _word(one.strip())
            for one in re.findall(r'"(?:[^"\\]|\\.)*"|[^,\[\]]+', text[1:-1])
            if one.strip()
        ]
    if text.startswith('"'):
        return json.loads(text)
    if text.startswith("'") and text.endswith("'"):
        return text[1:-1].replace("''", "'")
    if text in ("true", "false"):
        return text == "true"
    if text[0] in "&*!|>%@`{" or ": " in text:
        raise NotPlain(text)
    return int(text) if text.isdigit() else text
