"""What a vault is: a place for secrets that are not settings, such as keys and the ledger's signing seed.

Rule 1: a vault keeps text by name and nothing else; what it is for is the caller's business. Rule 2: every call runs
in a thread of its own with a deadline. A keyring may wait for a person, a bus or a dead service, and neither the
loop nor the end of the program waits with it. Rule 3: foreign errors end here, as VaultUnavailable.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol, TypeVar

from app.basics import threads

DEADLINE_S = 5.0

# Lower case only: Windows takes A and a for the same name.
_NAME = re.compile(r"[a-z0-9][a-z0-9_./-]{0,127}", re.ASCII)
_LONGEST_SECRET = 1024

T = TypeVar("T")


class VaultUnavailable(Exception):
    """Secrets cannot be read or kept now. `str(error)` is one sentence with the way out."""


class Vault(Protocol):
    """Secrets of one profile. Every method raises VaultUnavailable, and ValueError for a name or a secret that no
    vault takes: names are 1 to 128 of a-z 0-9 _ . / -, secrets 1 to 1024 printable characters."""

    @property
    def name(self) -> str:
        """What to call it: keyring, file or memory."""

    async def get(self, key: str) -> str | None:
        """The secret called `key`, or None."""

    async def set(self, key: str, secret: str) -> None:
        """Keep it, in place of an older one; kept for good on return."""

    async def delete(self, key: str) -> bool:
        """Forget it; False where there was none."""


def check_key(key: str) -> None:
    """Raise ValueError unless `key` can be a secret's name."""
    if not _NAME.fullmatch(key):
        raise ValueError(f"a secret cannot be called {key!r}")


def check_secret(secret: str) -> None:
    """Raise ValueError unless every vault can keep `secret`: Windows takes 2560 bytes, and some nothing empty."""
    if not 1 <= len(secret) <= _LONGEST_SECRET or not secret.isprintable():
        raise ValueError("a secret has 1 to 1024 printable characters")


async def in_thread(work: Callable[[], T], *, deadline_s: float, late: str) -> T:
    """The result of `work`, run in a daemon thread (see `basics.threads`). Raises VaultUnavailable(`late`) after
    `deadline_s`; what the thread still returns is dropped."""
    try:
        return await threads.in_thread(work, deadline_s, name="vault")
    except TimeoutError:
        raise VaultUnavailable(late) from None
