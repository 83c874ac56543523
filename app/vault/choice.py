"""Which vault: the one the contributor named.

Rule 1: no vault is ever taken in place of another: a secret kept elsewhere than asked is a secret lost or leaked.
"""

from __future__ import annotations

from pathlib import Path

from app.vault.base import Vault, VaultUnavailable
from app.vault.file import FileVault
from app.vault.memory import MemoryVault
from app.vault.system import KeyringVault

KINDS = ("keyring", "file", "memory")


async def open_vault(kind: str, *, profile: str, directory: Path) -> Vault:
    """The vault of `profile` of kind `keyring`, `file` (in `directory`) or `memory`, tried out.

    Raises VaultUnavailable with the way out.
    """
    match kind:
        case "keyring":
            return await KeyringVault.open(profile=profile)
        case "file":
            vault = FileVault(directory)
            await vault.get("probe")
            return vault
        case "memory":
            return MemoryVault()
    raise VaultUnavailable(
        f"There is no vault called {kind!r}: choose one of {', '.join(KINDS)} with --vault."
    )
