"""A disk that remembers what it was told and when it was told to keep it, so that the power can be cut afterwards.

`Recorder` is the system's file layer that also writes down every write, truncation, deletion and sync, in their order.
`Trace.cut` says what may lie on the disk if the power fails after the first so many of them: what was synced is there;
of what was not, each write is there, or not, or in part, or as garbage, in whatever order the disk thought fit. Bytes
that a write did not name stay as they are, which is what SQLite asks of a disk (POWERSAFE_OVERWRITE).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

SECTOR_B = 512
JOURNALS = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL


@dataclass(frozen=True)
class Wrote:
    name: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncated:
    name: str
    size: int


@dataclass(frozen=True)
class Synced:
    name: str


@dataclass(frozen=True)
class Deleted:
    name: str


@dataclass(frozen=True)
class FolderSynced:
    """The names in the folder are as they were made and removed; what is in the files is another matter."""


Event = Wrote | Truncated | Synced | Deleted | FolderSynced


@dataclass
class Trace:
    """What was done to the files of a folder that held `before`."""

    before: Mapping[str, bytes] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def cut(self, after: int, dice: random.Random) -> dict[str, bytes]:
        """The files of the folder after a power cut behind the first `after` events."""
        durable: dict[str, bytes | None] = dict(self.before)
        pending: dict[str, list[Wrote | Truncated | Deleted]] = {}
        for event in self.events[:after]:
            match event:
                case Synced(name):
                    content = durable.get(name)
                    for change in pending.pop(name, []):
                        content = applied(content, change)
                    durable[name] = content
                case FolderSynced():
                    for name, changes in pending.items():
                        gone = max(
                            (at + 1 for at, one in enumerate(changes) if isinstance(one, Deleted)), default=0
                        )
                        if gone:
                            durable[name] = None
                            del changes[:gone]
                case _:
                    pending.setdefault(event.name, []).append(event)
        for name, changes in pending.items():
            content = durable.get(name)
            for change in as_the_disk_likes(changes, dice):
                content = applied(content, change)
            durable[name] = content
        return {name: content for name, content in durable.items() if content is not None}


def applied(content: bytes | None, change: Wrote | Truncated | Deleted) -> bytes | None:
    match change:
        case Deleted():
            return None
        case Truncated(size=size):
            content = content or b""
            return content[:size] + bytes(max(0, size - len(content)))
        case Wrote(offset=offset, data=data):
            content = content or b""
            content += bytes(max(0, offset - len(content)))
            return content[:offset] + data + content[offset + len(data) :]


def as_the_disk_likes(
    changes: list[Wrote | Truncated | Deleted], dice: random.Random
) -> list[Wrote | Truncated | Deleted]:
    """What becomes of changes that were never synced."""
    manner = dice.choice(("all", "none", "first", "any", "any", "any"))
    if manner == "all":
        return changes
    if manner == "none":
        return []
    if manner == "first":
        kept = changes[: dice.randrange(len(changes) + 1)]
        return [*kept[:-1], *(_torn(change, dice) for change in kept[-1:])]
    kept = [_torn(change, dice) for change in changes if dice.random() < 0.6]
    if dice.random() < 0.5:
        dice.shuffle(kept)
    return kept


def _torn(change: Wrote | Truncated | Deleted, dice: random.Random) -> Wrote | Truncated | Deleted:
    if not isinstance(change, Wrote) or dice.random() < 0.4:
        return change
    name, offset, data = change.name, change.offset, change.data
    middle = dice.randrange(len(data) + 1)
    match dice.choice(("head", "tail", "sector", "garbage")):
        case "head":
            return Wrote(name, offset, data[:middle])
        case "tail":
            return Wrote(name, offset + middle, data[middle:])
        case "sector":
            begin = dice.randrange(0, len(data), SECTOR_B)
            return Wrote(name, offset + begin, data[begin : begin + SECTOR_B])
        case _:
            junk = dice.randbytes(dice.randrange(1, len(data) - middle + 2))[: len(data) - middle]
            return Wrote(name, offset, data[:middle] + junk + data[middle + len(junk) :])


class Recorder(apsw.VFS):
    """Its name is the vfs to open a database with. Nothing is synced, unless `really`: no real power fails. Where
    it `lies`, syncs are not even written down: such a disk keeps nothing for sure."""

    def __init__(self, folder: Path, *, lies: bool = False, really: bool = False) -> None:
        self.name = f"recorder{id(self)}"
        self.lies = lies
        self.really = really
        self.trace = Trace({file.name: file.read_bytes() for file in folder.iterdir()})
        super().__init__(self.name, "", maxpathname=1024)

    def xOpen(self, name: Any, flags: Any) -> apsw.VFSFile:
        return RecordedFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.trace.events.append(Deleted(Path(filename).name))
        if syncdir and not self.lies:
            self.trace.events.append(FolderSynced())


class RecordedFile(apsw.VFSFile):
    """A file on it."""

    def __init__(self, recorder: Recorder, name: Any, flags: Any) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self._recorder = recorder
        self._name = Path(path).name
        # The system's file layer syncs the folder too when such a file of its making is synced for the first time, as
        # test_folder_sync.py shows.
        self._new = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & JOURNALS)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._recorder.trace.events.append(Wrote(self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._recorder.trace.events.append(Truncated(self._name, newsize))

    def xSync(self, flags: int) -> None:
        if self._recorder.really:
            super().xSync(flags)
        if not self._recorder.lies:
            self._recorder.trace.events.append(Synced(self._name))
            if self._new:
                self._recorder.trace.events.append(FolderSynced())
        self._new = False
