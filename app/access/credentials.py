"""Where in a request's headers its key stands.

SDKs send it as `Authorization: Bearer` (OpenAI, Ollama), as `x-api-key` (Anthropic), or as the password of Basic
(whatever puts user and password into a URL; the user's name is ours to ignore).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping


def presented_key(headers: Mapping[str, str]) -> bytes:
    """The key in `Authorization: Bearer`, `x-api-key` or the password of Basic; empty where there is none."""
    authorization = headers.get("Authorization", "")
    scheme, _, value = authorization.partition(" ")
    scheme = scheme.lower()
    if scheme == "bearer":
        return value.strip().encode("utf-8", "surrogateescape")
    if scheme == "basic":
        try:
            # A name has no colon, a password may have as many as it likes (RFC 7617).
            _, _, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return b""
        return password
    return headers.get("x-api-key", "").strip().encode("utf-8", "surrogateescape")
