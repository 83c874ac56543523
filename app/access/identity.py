"""What makes a gateway this gateway: its signing key and the operator's token, both kept in the vault.

Made on the first start, read on every later one. The gateway's id is the beginning of its first public key's SHA-256,
so nobody can take another's name without its key; it stays when the key passes on to another (`rotate`).

Rule: while the key passes on, the vault holds both. Which one counts is told by the ledger, where it happens at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.access.principals import new_key
from app.ledger.checkpoint import Signer
from app.ledger.sqlite.durable import durable
from app.ledger.sqlite.rotation import signed_by
from app.ledger.sqlite.store import Ledger
from app.vault.base import Vault

SIGNING_KEY = "ledger-signing-key"
NEXT_KEY = "ledger-signing-key-next"
GATEWAY_ID = "gateway-id"
OPERATOR_TOKEN = "operator-token"  # noqa: S105 - the name under which the token is kept


@dataclass(frozen=True, slots=True)
class Identity:
    """`seed` is the Ed25519 private key's 32 bytes; neither it nor the token is ever logged or shown in full."""

    gateway_id: str
    seed: bytes
    operator_token: str
    next_seed: bytes | None = None
    """The key that `seed` was to pass on to when that was begun last and not seen to its end."""

    @property
    def signer_name(self) -> str:
        """The public name of the signing key."""
        return f"mortdecai-gateway/{self.gateway_id}"

    @property
    def signer(self) -> Signer:
        """Who signs the ledger's checkpoints."""
        return Signer(self.seed, self.signer_name)

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
        following = await vault.get(NEXT_KEY)
        gateway_id = await vault.get(GATEWAY_ID) or gateway_id_of(seed)
        return cls(gateway_id, seed, token, None if following is None else bytes.fromhex(following))

    async def settled(self, vault: Vault, ledger: Path) -> Identity:
        """The same after a passing on that was cut off: the key by which the file `ledger` is signed is the one that
        counts, and the only one that the vault still holds then. Raises VaultUnavailable."""
        if self.next_seed is None:
            return self
        following = Signer(self.next_seed, self.signer_name)
        signer = await asyncio.to_thread(signed_by, ledger, self.signer, following)
        seed = self.next_seed if signer is following else self.seed
        await vault.set(SIGNING_KEY, seed.hex())
        await vault.delete(NEXT_KEY)
        return replace(self, seed=seed, next_seed=None)

    async def rotate(self, vault: Vault, ledger: Ledger) -> Identity:
        """Pass the signing key of `ledger`, which is open, on to a new one. Raises LedgerError, VaultUnavailable; it is
        then as it was, or the next start sees it to its end."""
        seed = secrets.token_bytes(32)
        await vault.set(GATEWAY_ID, self.gateway_id)
        await vault.set(NEXT_KEY, seed.hex())
        await durable(ledger, ledger.rotate(Signer(seed, self.signer_name)))
        await vault.set(SIGNING_KEY, seed.hex())
        await vault.delete(NEXT_KEY)
        return replace(self, seed=seed, next_seed=None)


def gateway_id_of(seed: bytes) -> str:
    """16 hex digits: the beginning of the SHA-256 of the public key that belongs to `seed`."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return hashlib.sha256(public).hexdigest()[:16]
