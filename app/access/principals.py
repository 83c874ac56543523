"""Who a request belongs to, and the keys that prove it.

Keys are 256 random bits behind `mg_`, so a fast hash of them is enough to store, and none can be guessed.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum

from app.access.limits import UNLIMITED, Limits, listed


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
    shared: Limits = UNLIMITED
    """What all keys of its client may use together. Both count, so the narrower does."""
    address: str = ""
    """The id of the own address by which it came; empty where it came with the key itself."""

    def output_tokens(self, allowed: int) -> int:
        """The longest answer in tokens, where the settings allow `allowed`."""
        return self.limits.output_tokens(self.shared.output_tokens(allowed))

    def may_use(self, model: str) -> bool:
        """Whether it may ask for the engine's `model`, as far as its own limits and its client's go."""
        return listed(model, self.limits.models) and listed(model, self.shared.models)

    @property
    def ends(self) -> bool:
        """Whether its time, or its client's, is limited."""
        return self.limits.expires_us is not None or self.shared.expires_us is not None

    def expired(self, now_us: int) -> bool:
        """Whether its time, or its client's, is over at the wall time `now_us`."""
        return self.limits.expired(now_us) or self.shared.expired(now_us)

    @property
    def weight(self) -> int:
        """So many turns at the engine for one of a key of which nothing is said."""
        return self.limits.weight or self.shared.weight or 1

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
