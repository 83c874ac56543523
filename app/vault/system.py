"""A vault in the system's keyring: Secret Service or KWallet, macOS Keychain, Windows Credential Locker.

Rule 1: a backend that keeps nothing, keeps it in the open or fails on purpose is no backend. Rule 2: the backends are
named here, not discovered: a frozen program has no entry points to discover them by (keyring#324, #569).
Rule 3: what the user chose for keyring itself (PYTHON_KEYRING_BACKEND, keyringrc.cfg) is respected.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from app.vault.base import DEADLINE_S, VaultUnavailable, check_key, check_secret, in_thread

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "mortdecai-gateway"
INSTEAD = "or keep secrets in a file that only you can read with --vault file"

_FREEDESKTOP = ("keyring.backends.SecretService.Keyring", "keyring.backends.kwallet.DBusKeyring")
_BACKENDS = {
    "win32": ("keyring.backends.Windows.WinVaultKeyring",),
    "darwin": ("keyring.backends.macOS.Keyring",),
}
_CHOICES = "PYTHON_KEYRING_BACKEND or keyringrc.cfg"
# keyring's own measure: below 1 a backend is not recommended (null, fail, plain text).
_RECOMMENDED = 1

T = TypeVar("T")


class KeyringVault:
    """Secrets of one profile in one keyring backend."""

    name = "keyring"

    def __init__(self, backend: KeyringBackend, *, profile: str, deadline_s: float = DEADLINE_S) -> None:
        """Use `open`, which finds the backend and tries it."""
        self._backend = backend
        self._service = f"{SERVICE}/{profile}"
        self._deadline_s = deadline_s

    @classmethod
    async def open(cls, *, profile: str, deadline_s: float = DEADLINE_S) -> KeyringVault:
        """The best backend that works here and now. Raises VaultUnavailable; a locked keyring asks its user first."""
        backend = await in_thread(_find_backend, deadline_s=deadline_s, late=_late(deadline_s))
        vault = cls(backend, profile=profile, deadline_s=deadline_s)
        await vault.get("probe")
        return vault

    async def get(self, key: str) -> str | None:
        """The secret called `key`, or None."""
        check_key(key)
        return await self._run(lambda: self._backend.get_password(self._service, key))

    async def set(self, key: str, secret: str) -> None:
        """Keep it, and see that it is kept."""
        check_key(key)
        check_secret(secret)

        def work() -> None:
            self._backend.set_password(self._service, key, secret)
            if self._backend.get_password(self._service, key) != secret:
                raise VaultUnavailable(
                    f"The system's keyring did not keep what it was given: look at its settings, {INSTEAD}."
                )

        await self._run(work)

    async def delete(self, key: str) -> bool:
        """Forget it; False where there was none."""
        check_key(key)

        def work() -> bool:
            # Backends differ in how they say that there was nothing.
            if self._backend.get_password(self._service, key) is None:
                return False
            self._backend.delete_password(self._service, key)
            return True

        return await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        def guarded() -> T:
            try:
                return work()
            except VaultUnavailable:
                raise
            except Exception as error:
                raise _translated(error) from error

        return await in_thread(guarded, deadline_s=self._deadline_s, late=_late(self._deadline_s))


def _late(deadline_s: float) -> str:
    return (
        f"The system's keyring did not answer in {deadline_s:g} s: unlock it if it asks to be and try again, "
        f"{INSTEAD}."
    )


def _translated(error: Exception) -> VaultUnavailable:
    """A backend may raise anything: its library's errors, the bus's, the system's."""
    from keyring.errors import KeyringLocked

    if isinstance(error, KeyringLocked):
        return VaultUnavailable(f"The system's keyring is locked: unlock it and try again, {INSTEAD}.")
    return VaultUnavailable(
        f"The system's keyring does not work ({type(error).__name__}): see that it runs and try again, {INSTEAD}."
    )


def _find_backend() -> KeyringBackend:
    """Runs in a thread: importing the backends takes 150 ms, and asking them whether they work takes a bus."""
    from keyring import core

    try:
        chosen = core.load_env() or core.load_config()
    except Exception as error:
        raise VaultUnavailable(
            f"The keyring chosen in {_CHOICES} cannot be used ({type(error).__name__}): correct that, {INSTEAD}."
        ) from error
    if chosen is not None:
        if chosen.priority < _RECOMMENDED:
            kind = type(chosen).__module__
            raise VaultUnavailable(
                f"The keyring chosen in {_CHOICES} keeps nothing safe ({kind}): correct that, {INSTEAD}."
            )
        return chosen
    for name in _BACKENDS.get(sys.platform, _FREEDESKTOP):
        try:
            return core.load_keyring(name)
        except Exception:  # noqa: BLE001, S112  each says differently that it is not there; the next may be
            continue
    raise VaultUnavailable(f"No keyring of the system answers here: start one and try again, {INSTEAD}.")
