"""What makes a receiver this receiver: the key it cosigns with and its owner's key, both kept in the vault.

Made on the first start, read on every later one. The name of the signing key is the beginning of its public key's
SHA-256, so nobody can take another's name without its key.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.ledger.cosignature import Cosigner
from app.vault.base import Vault

SIGNING_KEY = "receiver-signing-key"
OWNER_KEY = "receiver-owner-key"


def new_secret() -> str:
    """A fresh key of a receiver's: `mr_` and 256 random bits."""
    return "mr_" + secrets.token_urlsafe(32)


def digest(secret: bytes) -> bytes:
    """What is kept of one: its SHA-256."""
    return hashlib.sha256(secret).digest()


@dataclass(frozen=True, slots=True)
class ReceiverIdentity:
    """`owner_key` reads everything; neither it nor the signing key is ever logged."""

    cosigner: Cosigner
    owner_key: str

    @classmethod
    async def load(cls, vault: Vault) -> ReceiverIdentity:
        """Read it, or make it. Raises VaultUnavailable."""
        seed = await vault.get(SIGNING_KEY)
        if seed is None:
            seed = secrets.token_bytes(32).hex()
            await vault.set(SIGNING_KEY, seed)
        owner = await vault.get(OWNER_KEY)
        if owner is None:
            owner = new_secret()
            await vault.set(OWNER_KEY, owner)
        return cls(_cosigner(bytes.fromhex(seed)), owner)


def _cosigner(seed: bytes) -> Cosigner:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return Cosigner(seed, f"mortdecai-receiver/{hashlib.sha256(public).hexdigest()[:16]}")
