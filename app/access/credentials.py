"""Where in a request's headers its key stands.

SDKs send it as `Authorization: Bearer` (OpenAI, Ollama), as `x-api-key` (Anthropic), or as the password of Basic
(whatever puts user and password into a URL; the user's name is ours to ignore). What came in an address of a key's own
has been put into `Authorization` before (see `own_address`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from app.access.own_address import SCHEME

_ADDRESS = SCHEME.lower()
_BY_ADDRESS = _ADDRESS + " "


def presented_key(headers: Mapping[str, str]) -> bytes:
    """The key in `Authorization: Bearer`, `x-api-key` or the password of Basic, or an address's secret; empty where
    there is none."""
    authorization = headers.get("Authorization", "")
    scheme, _, value = authorization.partition(" ")
    scheme = scheme.lower()
    if scheme in ("bearer", _ADDRESS):
        return value.strip().encode("utf-8", "surrogateescape")
    if scheme == "basic":
        try:
            # A name has no colon, a password may have as many as it likes (RFC 7617).
            _, _, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return b""
        return password
    return headers.get("x-api-key", "").strip().encode("utf-8", "surrogateescape")


def by_address(headers: Mapping[str, str]) -> bool:
    """Whether what is presented is an address's secret."""
    return headers.get("Authorization", "")[: len(_BY_ADDRESS)].lower() == _BY_ADDRESS
