"""A vault for demonstrations and tests.

Rule 1: nothing outlives the process.
"""

from __future__ import annotations

from app.vault.base import check_key, check_secret


class MemoryVault:
    """Secrets in a dict."""

    name = "memory"

    def __init__(self) -> None:
        self._secrets: dict[str, str] = {}

    async def get(self, key: str) -> str | None:
        """The secret called `key`, or None."""
        check_key(key)
        return self._secrets.get(key)

    async def set(self, key: str, secret: str) -> None:
        """Keep it until the process ends."""
        check_key(key)
        check_secret(secret)
        self._secrets[key] = secret

    async def delete(self, key: str) -> bool:
        """Forget it; False where there was none."""
        check_key(key)
        return self._secrets.pop(key, None) is not None
