"""A vault in a file, for machines without a keyring: servers, containers, minimal desktops.

Rule 1: the file is its owner's alone (0600); where others can read it and that cannot be changed, it is not used.
Rule 2: a file that is not understood is never overwritten: it may hold the only copy of a signing seed.
Rule 3: one process at a time writes it, the one that holds the profile's lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from app.vault.base import DEADLINE_S, VaultUnavailable, check_key, check_secret, in_thread

FILE = "vault.json"
VERSION = 1

_MAX_FILE_B = 1 << 20
_TEMPORARY = ".vault."
_ABANDONED_S = 60.0

T = TypeVar("T")


class FileVault:
    """Secrets in `directory`/vault.json."""

    name = "file"

    def __init__(self, directory: Path, *, deadline_s: float = DEADLINE_S) -> None:
        self.file = directory / FILE
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._swept = False

    async def get(self, key: str) -> str | None:
        """The secret called `key`, or None."""
        check_key(key)
        return await self._run(lambda: self._read().get(key))

    async def set(self, key: str, secret: str) -> None:
        """Keep it; on the disk on return."""
        check_key(key)
        check_secret(secret)

        def work() -> None:
            secrets = self._read()
            if secrets.get(key) != secret:
                self._write({**secrets, key: secret})

        await self._run(work)

    async def delete(self, key: str) -> bool:
        """Forget it; False where there was none."""
        check_key(key)

        def work() -> bool:
            secrets = self._read()
            if key not in secrets:
                return False
            del secrets[key]
            self._write(secrets)
            return True

        return await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        def guarded() -> T:
            with self._lock:
                try:
                    self._sweep()
                    return work()
                except OSError as error:
                    raise VaultUnavailable(
                        f"The vault {self.file} cannot be used "
                        f"({(error.strerror or type(error).__name__).lower()}): correct that and try again."
                    ) from error

        late = f"The disk did not answer for the vault {self.file} in {self._deadline_s:g} s: see whether it is well."
        return await in_thread(guarded, deadline_s=self._deadline_s, late=late)

    def _sweep(self) -> None:
        """Once: remove what a killed write has left; it may hold secrets that were deleted since."""
        if self._swept:
            return
        self._swept = True
        target = Path(os.path.realpath(self.file))
        for left in target.parent.glob(f"{_TEMPORARY}*.tmp"):
            # Another process, a command perhaps, may be writing at this moment.
            with contextlib.suppress(OSError):
                if time.time() - left.lstat().st_mtime > _ABANDONED_S:
                    left.unlink()

    def _read(self) -> dict[str, str]:
        try:
            status = self.file.stat()
        except FileNotFoundError:
            return {}
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_FILE_B:
            raise VaultUnavailable(
                f"{self.file} cannot be the vault because it is not a small file: move it away."
            )
        if os.name == "posix" and status.st_mode & 0o077:
            self._make_private()
        try:
            document = json.loads(self.file.read_bytes())
            if document["version"] > VERSION:
                raise VaultUnavailable(
                    f"The vault {self.file} is from a newer Mortdecai Gateway: install that, or move the file away."
                )
            secrets = dict(document["secrets"])
            if not all(isinstance(key, str) and isinstance(value, str) for key, value in secrets.items()):
                raise ValueError("a secret is a text")
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise VaultUnavailable(
                f"The vault {self.file} is damaged: put back a copy, or move it away to begin with new keys."
            ) from error
        return secrets

    def _make_private(self) -> None:
        try:
            self.file.chmod(0o600)
        except PermissionError as error:
            raise VaultUnavailable(
                f"The vault {self.file} can be read by other users and belongs to another one: run chmod 600 on it "
                "as its owner."
            ) from error

    def _write(self, secrets: dict[str, str]) -> None:
        target = Path(os.path.realpath(self.file))
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=_TEMPORARY, suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"version": VERSION, "secrets": secrets}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        if os.name == "posix":
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
