"""What makes a gateway this gateway: its signing key and the operator's token, both kept in the vault.

Made on the first start, read on every later one. The gateway's id is the beginning of its public key's SHA-256, so
nobody can take another's name without its key.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.access.principals import new_key
from app.vault.base import Vault

SIGNING_KEY = "ledger-signing-key"
OPERATOR_TOKEN = "operator-token"  # noqa: S105 - the name under which the token is kept


@dataclass(frozen=True, slots=True)
class Identity:
    """`seed` is the Ed25519 private key's 32 bytes; neither it nor the token is ever logged or shown in full."""

    gateway_id: str
    seed: bytes
    operator_token: str

    @property
    def signer_name(self) -> str:
        """The public name of the signing key."""
        return f"mortdecai-gateway/{self.gateway_id}"

    @classmethod
    async def load(cls, vault: Vault) -> Identity:
        """Read it, or make it. Raises VaultUnavailable."""
        kept = await vault.get(SIGNING_KEY)
        if kept is None:
            kept = secrets.token_bytes(32).hex()
            await vault.set(SIGNING_KEY, kept)
        token = await vault.get(OPERATOR_TOKEN)
        if token is None:
            token = new_key()
            await vault.set(OPERATOR_TOKEN, token)
        seed = bytes.fromhex(kept)
        return cls(gateway_id_of(seed), seed, token)


def gateway_id_of(seed: bytes) -> str:
    """16 hex digits: the beginning of the SHA-256 of the public key that belongs to `seed`."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return hashlib.sha256(public).hexdigest()[:16]
