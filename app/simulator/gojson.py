"""JSON and times as Go writes them, because that is what clients of the real Ollama have seen.

Rule: compact, UTF-8, `<`, `>` and `&` escaped (Go's encoding/json does so for the sake of HTML), times in RFC 3339
with nanoseconds and without trailing zeros.
"""

from __future__ import annotations

import json
import re
import time
from functools import lru_cache
from typing import Any

Json = dict[str, Any]

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SPECIAL = re.compile("[<>&\u2028\u2029]")
_HTML = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def dumps(value: object) -> bytes:
    """`value` as Go's encoding/json would write it. Lone surrogates, which UTF-8 cannot say, become `?`."""
    text = _ENCODE(value)
    if _SPECIAL.search(text):
        text = text.translate(_HTML)
    return text.encode("utf-8", "replace")


def timestamp(at_ns: int) -> str:
    """Nanoseconds since the Unix epoch as Go's RFC3339Nano in UTC."""
    seconds, ns = divmod(at_ns, 1_000_000_000)
    return f"{_second(seconds)}.{ns:09d}".rstrip("0").rstrip(".") + "Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
