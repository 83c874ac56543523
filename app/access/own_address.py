"""An address of a key's own, `http://host:8434/k/<secret>/…`, for programs that can send no header.

Many take nothing but an address: the `ollama` command, editors, phone apps. Whoever has such an address has what the
key may do, so it is a secret like a key: made for a key that is to have one, kept as a hash, revoked alone.

Rule 1: the secret leaves the path before anybody else sees it, however it is spelled, and stands from then on where
keys stand, in a header (`stripped`); nothing behind this file knows such paths, or could log one. Rule 2: a secret
opens only as what it was made: an address's is no key, and no key makes an address. Rule 3: what does not open is
refused as every wrong key is, whatever path stands behind it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from multidict import CIMultiDict

SCHEME = "Address"
"""The word before the secret in Authorization. Whoever sends it so needs to know the secret as well."""
PREFIX = "/k/"

_ADDRESS = re.compile(r"/+(?:k|%6[bB])(?:/+([^/?]*)(/[^?]*)?)?(\?.*)?", re.DOTALL)


def new_secret() -> str:
    """A fresh secret of an address: `ma_` and 256 random bits, in letters that every path may hold."""
    return "ma_" + secrets.token_urlsafe(32)


def path_of(secret: str) -> str:
    """What stands behind the gateway's URL; SDKs put their own paths behind it."""
    return PREFIX + secret


def stripped(target: str) -> tuple[bytes, str] | None:
    """The secret in a request's target and the target without it (at least `/`); None where it is no such address.

    Slashes may be doubled, as by `host + "/" + path`, and any letter of the first two parts be percent-encoded.
    """
    if target[:2] not in ("/k", "/%", "//"):  # nearly always: no such address
        return None
    found = _ADDRESS.fullmatch(target)
    if found is None:
        return None
    secret, below, query = found.groups()
    return unquote_to_bytes(secret or ""), "/" + (below or "").lstrip("/") + (query or "")


def with_secret(headers: Mapping[str, str], secret: bytes) -> CIMultiDict[str]:
    """`headers` as if the key had been sent in one: what an SDK that insists on some key sends besides is left out."""
    made = CIMultiDict(headers)
    made.popall("x-api-key", None)
    made["Authorization"] = f"{SCHEME} {secret.decode('utf-8', 'surrogateescape')}"
    return made
