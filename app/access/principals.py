"""Who a request belongs to, and the keys that prove it.

Keys are 256 random bits behind `mg_`, so a fast hash of them is enough to store, and none can be guessed.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum

from app.access.limits import UNLIMITED, Limits


class Role(StrEnum):
    """What a key may do."""

    CLIENT = "client"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent a request: a key, the client it belongs to, and that client's log."""

    key: str
    """The key's public name, as records carry it."""
    label: str
    role: Role
    client: str
    log: str
    sha256: bytes
    limits: Limits = UNLIMITED
    address: str = ""
    """The id of the own address by which it came; empty where it came with the key itself."""

    @property
    def scope(self) -> str | None:
        """The one log that may be shown to this principal; None for the operator, who may see them all."""
        return None if self.role is Role.OPERATOR else self.log


def new_key() -> str:
    """A fresh key: `mg_` and 256 random bits."""
    return "mg_" + secrets.token_urlsafe(32)


def key_digest(key: str) -> bytes:
    """What is stored of a key: its SHA-256."""
    return hashlib.sha256(key.encode()).digest()
