"""Under which names the vault keeps the plain text of the keys that this gateway made for its clients."""

from __future__ import annotations

from app.access.principals import key_digest
from app.ledger.parties import Key
from app.vault.base import Vault


def kept_name(key_id: str) -> str:
    """The name of a key's plain text."""
    return f"client-key/{key_id}"


def next_name(key_id: str) -> str:
    """The name of the secret that a key is just being given in place of its own."""
    return f"client-key/{key_id}/next"


async def kept_plain(vault: Vault, key: Key) -> str | None:
    """The plain text of a key, where the vault knows the one that counts. Raises VaultUnavailable."""
    for name in (kept_name(key.id), next_name(key.id)):
        plain = await vault.get(name)
        if plain is not None and key_digest(plain) == key.sha256:
            return plain
    return None
