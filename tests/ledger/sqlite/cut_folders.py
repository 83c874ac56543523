"""Power cuts where names matter too: files are made, renamed, linked and removed, and the folder is synced or is not.

Here a name is one thing and what lies under it another, as on a disk. What was synced of a file is there, whatever it
is called; which names there are is sure only once the folder was synced. Of what was done to names since, the disk
keeps what it likes, each wholly or not at all.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.ledger.sqlite.power_cut import JOURNALS, Truncated, Wrote, applied, as_the_disk_likes

Names = dict[str, int]
"""name → number of the file"""


@dataclass(frozen=True)
class Named:
    """From now on `name` is the file of this number; None: there is none. Where another name is given up for it, that
    happens at once."""

    name: str
    file: int | None
    instead_of: str | None = None


@dataclass(frozen=True)
class Changed:
    """Something was written to a file, or cut off it."""

    file: int
    change: Wrote | Truncated


@dataclass(frozen=True)
class FileSynced:
    file: int


@dataclass(frozen=True)
class FolderSynced:
    """The names are as they are."""


Event = Named | Changed | FileSynced | FolderSynced


@dataclass
class FolderTrace:
    """What was done in a folder since it held the files of `before`, and all of that was on the disk."""

    before: list[bytes]
    names: Names
    events: list[Event] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path) -> FolderTrace:
        files = sorted(folder.iterdir())
        return cls([file.read_bytes() for file in files], {file.name: at for at, file in enumerate(files)})

    def cut(self, after: int, dice: random.Random) -> dict[str, bytes]:
        """What the folder holds after a power cut behind the first `after` events."""
        durable: dict[int, bytes | None] = dict(enumerate(self.before))
        names, renamed = dict(self.names), list[Named]()
        pending: dict[int, list[Any]] = {}
        for event in self.events[:after]:
            match event:
                case Named():
                    renamed.append(event)
                case Changed(file, change):
                    pending.setdefault(file, []).append(change)
                case FileSynced(file):
                    for change in pending.pop(file, []):
                        durable[file] = applied(durable.get(file), change)
                case FolderSynced():
                    _name(names, renamed)
                    renamed.clear()
        for file, changes in pending.items():
            for change in as_the_disk_likes(changes, dice):
                durable[file] = applied(durable.get(file), change)
        _name(names, _as_the_folder_likes(renamed, dice))
        return {name: durable.get(file) or b"" for name, file in names.items()}


def _name(names: Names, changes: list[Named]) -> None:
    for change in changes:
        if change.instead_of is not None:
            names.pop(change.instead_of, None)
        if change.file is None:
            names.pop(change.name, None)
        else:
            names[change.name] = change.file


def _as_the_folder_likes(changes: list[Named], dice: random.Random) -> list[Named]:
    manner = dice.choice(("all", "none", "first", "any", "any"))
    if manner == "first":
        return changes[: dice.randrange(len(changes) + 1)]
    return [change for change in changes if manner == "all" or (manner == "any" and dice.random() < 0.5)]


class FolderRecorder(apsw.VFS):
    """Records what SQLite does to the files of `folder`, where its name is the vfs, and what this process does to their
    names while `watching`. Nothing is really synced."""

    def __init__(self, folder: Path) -> None:
        self.name = f"folder{id(self)}"
        self.folder = folder
        self.trace = FolderTrace.of(folder)
        self.names: Names = dict(self.trace.names)
        self._next = len(self.names)
        super().__init__(self.name, "", maxpathname=1024)

    def xOpen(self, name: Any, flags: Any) -> apsw.VFSFile:
        return FolderFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.remove(Path(filename).name)
        if syncdir:
            self.tell(FolderSynced())

    def tell(self, event: Event) -> None:
        self.trace.events.append(event)

    def number(self, name: str) -> int:
        """The file of that name, which is made where there is none."""
        if name not in self.names:
            self.names[name] = self._next
            self._next += 1
            self.tell(Named(name, self.names[name]))
        return self.names[name]

    def remove(self, name: str) -> None:
        if self.names.pop(name, None) is not None:
            self.tell(Named(name, None))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Write down what the functions of `os` do in the folder."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "unlink", "rename", "replace", "link", "fsync"):
                patch.setattr(os, name, self._watched(name, getattr(os, name)))
            yield

    def _watched(self, what: str, really: Any) -> Any:
        def call(first: Any, *rest: Any, **named: Any) -> Any:
            if what == "fsync":
                self._synced(Path(os.readlink(f"/proc/self/fd/{first}")))
                return None
            done = really(first, *rest, **named)
            self._done(what, Path(first), *rest)
            return done

        return call

    def _synced(self, path: Path) -> None:
        if path == self.folder:
            self.tell(FolderSynced())
        elif path.parent == self.folder:
            self.tell(FileSynced(self.number(path.name)))

    def _done(self, what: str, path: Path, *rest: Any) -> None:
        name = path.name
        if path.parent != self.folder:
            return
        match what:
            case "open" if rest[0] & os.O_CREAT:
                self.number(name)
            case "unlink":
                self.remove(name)
            case "link":
                self.names[Path(rest[0]).name] = file = self.number(name)
                self.tell(Named(Path(rest[0]).name, file))
            case "rename" | "replace":
                file = self.number(name)
                del self.names[name]
                self.names[Path(rest[0]).name] = file
                self.tell(Named(Path(rest[0]).name, file, instead_of=name))


class FolderFile(apsw.VFSFile):
    """A file in it."""

    def __init__(self, recorder: FolderRecorder, name: Any, flags: Any) -> None:
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name))
        self._recorder = recorder
        self._new = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & JOURNALS)
        super().__init__("", name, flags)
        self._number = recorder.number(path.name) if path.parent == recorder.folder else None
        self._name = path.name

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._tell(Wrote(self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._tell(Truncated(self._name, newsize))

    def _tell(self, change: Wrote | Truncated) -> None:
        if self._number is not None:
            self._recorder.tell(Changed(self._number, change))

    def xSync(self, flags: int) -> None:
        if self._number is not None:
            self._recorder.tell(FileSynced(self._number))
            if self._new:
                self._recorder.tell(FolderSynced())
        self._new = False
