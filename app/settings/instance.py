"""One gateway for each profile, and who it is.

Rule 1: the lock is the operating system's, held on an open file: a process that dies, also by kill -9, has released
it, and nothing is ever stale. The file itself stays; deleting it would let two processes lock two files of one name.
Rule 2: instance.json is only a note. It is believed while the lock is held, and never decides anything. Rule 3: beside
it lies the token with which this user's commands ask the running gateway, in a file of its own that nobody else can
read; it opens nothing once that gateway has stopped, however it stopped.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from app.settings.errors import FolderError, SettingError, reason
from app.settings.files import read_text, write_private

LOCK = "instance.lock"
NOTE = "instance.json"
TOKEN = "operator.token"  # noqa: S105 - the name of the file

_TRIES = 5
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class RunningInstance:
    """The gateway that holds the lock, as far as it has said: all is None until it has."""

    pid: int | None
    url: str | None
    fingerprint: str | None = None
    """SHA-256 of the certificate that it answers with, where it does with one."""


class AlreadyRunning(SettingError):
    """The profile's gateway runs; `instance` says which process it is and where it answers."""

    def __init__(self, instance: RunningInstance) -> None:
        self.instance = instance
        process = f"process {instance.pid}" if instance.pid else "another process"
        where = f" at {instance.url}" if instance.url else ""
        super().__init__(
            f"Mortdecai Gateway is already running as {process}{where}: use that one, quit it first, or start a "
            "second one beside it with --profile NAME."
        )


class InstanceLock:
    """The lock while it is held; a context manager that releases it."""

    def __init__(self, directory: Path, handle: int) -> None:
        """Use `acquire`."""
        self._note = directory / NOTE
        self._token = directory / TOKEN
        self._handle: int | None = handle

    @classmethod
    def acquire(cls, directory: Path) -> InstanceLock:
        """Take the lock of the profile whose state folder is `directory`.

        Raises AlreadyRunning where another process has it, FolderError where the file cannot be locked at all.
        """
        handle = _open(directory / LOCK)
        try:
            # `running` may be looking this very moment, which takes microseconds.
            for again in range(_TRIES, 0, -1):
                if _lock(handle, shared=False):
                    break
                if again == 1:
                    raise AlreadyRunning(_read_note(directory))
                time.sleep(_PAUSE_S)
            lock = cls(directory, handle)
            lock._token.unlink(missing_ok=True)
            lock._write(None)
        except OSError as error:
            os.close(handle)
            raise _unusable(directory / LOCK, error) from error
        except BaseException:
            os.close(handle)
            raise
        return lock

    def announce(self, url: str, token: str, fingerprint: str | None = None) -> None:
        """Say where this gateway answers, with which certificate, and to this user with which token, for those who find
        the lock taken. Raises FolderError."""
        try:
            write_private(self._token, token)
        except OSError as error:
            raise _unusable(self._token, error) from error
        self._write(url, fingerprint)

    def release(self) -> None:
        """Let the next one in. Does nothing when released already."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        # A note that stays is not believed once the lock is free, and a token that stays opens nothing.
        for path in (self._note, self._token):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        _unlock(handle)
        os.close(handle)

    def _write(self, url: str | None, fingerprint: str | None = None) -> None:
        try:
            write_private(
                self._note, json.dumps({"pid": os.getpid(), "url": url, "fingerprint": fingerprint})
            )
        except OSError as error:
            raise _unusable(self._note, error) from error

    def __enter__(self) -> InstanceLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def running(directory: Path) -> RunningInstance | None:
    """The gateway that runs with state folder `directory`, or None. Raises FolderError."""
    if not (directory / LOCK).exists():
        return None
    handle = _open(directory / LOCK)
    try:
        if not _lock(handle, shared=True):
            return _read_note(directory)
        _unlock(handle)
        return None
    except OSError as error:
        raise _unusable(directory / LOCK, error) from error
    finally:
        os.close(handle)


def running_token(directory: Path) -> str | None:
    """The token that opens the gateway that runs with state folder `directory`; None where it has left none.

    Raises SettingError where it cannot be read.
    """
    path = directory / TOKEN
    return read_text(path, "The token of the running gateway").strip() if path.exists() else None


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> FolderError:
    return FolderError(
        f"The lock file {path} cannot be used because {reason(error)}: correct that, or name another place in "
        "MORTDECAI_HOME."
    )


def _read_note(directory: Path) -> RunningInstance:
    """What the holder has said of itself; nothing, where it has said nothing that makes sense."""
    try:
        note = json.loads(read_text(directory / NOTE, "The note"))
        pid, url, fingerprint = note["pid"], note["url"], note.get("fingerprint")
    except (SettingError, ValueError, TypeError, KeyError, RecursionError):
        return RunningInstance(None, None)
    if type(pid) is not int or pid <= 0 or not _alive(pid):
        # Left by one that died; its successor holds the lock and has not written yet.
        return RunningInstance(None, None)
    return RunningInstance(
        pid,
        url if isinstance(url, str) else None,
        fingerprint if isinstance(fingerprint, str) else None,
    )


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int, *, shared: bool) -> bool:
        """Windows has no shared kind here; the one who only looks takes the lock for a moment."""
        os.lseek(handle, 0, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(handle: int) -> None:
        """Closing would do it too, some time later."""
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

    def _alive(pid: int) -> bool:
        """Asking would end the process: os.kill on Windows terminates, whatever the signal."""
        return True

else:
    import fcntl

    def _lock(handle: int, *, shared: bool) -> bool:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)

    def _alive(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            return True
        return True
