"""File layers for tests: disks that refuse, and count what they were made to keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw


class Disk(apsw.VFS):
    """The system's file layer, with writes that fail while `refuses(name)` says so."""

    def __init__(self) -> None:
        self.name = f"disk{id(self)}"
        self.error: type[apsw.Error] | None = None
        self.refuses: Callable[[str], bool] = lambda name: True
        self.refused = 0
        self.synced = 0
        super().__init__(self.name, "", maxpathname=1024)

    def xOpen(self, name: Any, flags: Any) -> apsw.VFSFile:
        return DiskFile(self, name, flags)

    def check(self, name: str) -> None:
        """Fail where it is to fail."""
        if self.error is not None and self.refuses(name):
            self.refused += 1
            raise self.error("injected")


class Filling:
    """A disk's answer to every write: the `nth` finds it full, and so do those that follow. Giving up `reserve` makes
    room where it is `spared`, for all that comes after; otherwise so do some more tries."""

    PATIENCE = 7

    def __init__(self, nth: int, reserve: Path, *, spared: bool) -> None:
        self.nth = nth
        self.asked = 0
        self._reserve = reserve
        self._spared = spared
        self._more = self.PATIENCE

    @property
    def met(self) -> bool:
        """Whether it came to that write."""
        return self.asked >= self.nth

    def __call__(self, name: str) -> bool:
        self.asked += 1
        if not self.met or (self._spared and not self._reserve.exists()) or not self._more:
            return False
        self._more -= not self._reserve.exists()
        return True


class DiskFile(apsw.VFSFile):
    """A file on it."""

    def __init__(self, disk: Disk, name: Any, flags: Any) -> None:
        self.disk = disk
        self.file_name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.check(self.file_name)
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self.disk.check(self.file_name)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self.disk.check(self.file_name)
        super().xSync(flags)
        self.disk.synced += 1
