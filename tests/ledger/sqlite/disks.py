"""File layers for tests: disks that refuse, and count what they were made to keep."""

from __future__ import annotations

from collections.abc import Callable
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


class DiskFile(apsw.VFSFile):
    """A file on it."""

    def __init__(self, disk: Disk, name: Any, flags: Any) -> None:
        self.disk = disk
        self.file_name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.check(self.file_name)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self.disk.check(self.file_name)
        super().xSync(flags)
        self.disk.synced += 1
