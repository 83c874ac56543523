"""A file that is being fetched: what has come so far, its hash, and how to go on with it after a break.

Rule 1: every method blocks and belongs on a thread aside. Rule 2: only bytes that were synchronised to the disk are
trusted after a crash; the note beside the file says how many, and what the server said of the file then. Rule 3: the
hash is that of the bytes in the file, always: going on means reading again what is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

_SYNC_EVERY_B = 256 * 1024 * 1024
_READ_B = 1024 * 1024
_VERSIONS = (2, 3)
HEAD_B = 8


@dataclass(frozen=True, slots=True)
class Validator:
    """What a server said of a file, so that «the same file» can be asked for (RFC 9110, 13.1.5). Empty: nothing."""

    etag: str = ""
    last_modified: str = ""
    total_b: int = 0
    """0 where the server did not say."""

    @property
    def condition(self) -> str:
        """For If-Range: a strong ETag, else the date; empty where going on would be a guess."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified if not self.etag else ""

    def is_of(self, etag: str, last_modified: str) -> bool:
        """Whether a partial answer with these headers is of the same file (RFC 9110, 15.3.7: it repeats the ETag)."""
        return etag == self.etag if self.etag else not etag and last_modified in ("", self.last_modified)


class PartFile:
    """`<name>.part` and `<name>.note` in a folder. Make it, `open` it, `write`, and `close` or `remove` it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.part"
        self._note = folder / f"{name}.note"
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._synced_b = 0
        self.size_b = 0
        self.head = b""
        self.validator = Validator()

    def open(self, stop: threading.Event, on_read: Callable[[int], None]) -> None:
        """Take up what is there, reading it again; `stop` ends that early. Raises OSError."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._read_note()
        self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600), "r+b")
        os.chmod(self.path, 0o600)
        trusted_b = min(self._synced_b, self._file.seek(0, os.SEEK_END)) if self.validator.condition else 0
        self._synced_b = trusted_b
        self._file.truncate(trusted_b)
        self._file.seek(0)
        while self.size_b < trusted_b and not stop.is_set():
            piece = self._file.read(min(_READ_B, trusted_b - self.size_b))
            if not piece:
                break
            self._count(piece)
            on_read(self.size_b)

    def begin_anew(self, validator: Validator) -> None:
        """Forget what is there: the server has another file, or sends this one from its beginning."""
        file = self._opened()
        file.seek(0)
        file.truncate(0)
        self._hash = hashlib.sha256()
        self.size_b, self._synced_b, self.head = 0, 0, b""
        self.validator = validator
        self._write_note()

    def write(self, piece: bytes) -> None:
        """Add to the end. Raises OSError."""
        self._opened().write(piece)
        self._count(piece)
        if self.size_b - self._synced_b >= _SYNC_EVERY_B:
            self._sync()

    def sha256(self) -> str:
        """Of what is there, in hexadecimal digits."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Keep it for later. Never raises: what is not synchronised is fetched again."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.flush()
            os.fsync(file.fileno())
            # Less than that was only read again so far, and nothing is wrong with the rest.
            self._synced_b = max(self._synced_b, self.size_b)
            self._write_note()
        except OSError:
            pass
        finally:
            try:
                file.close()
            except OSError:
                pass

    def remove(self) -> None:
        """Delete it. Raises OSError."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise OSError("the file is closed")
        return self._file

    def _count(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.size_b += len(piece)
        if len(self.head) < HEAD_B:
            self.head += piece[: HEAD_B - len(self.head)]

    def _sync(self) -> None:
        file = self._opened()
        file.flush()
        os.fsync(file.fileno())
        self._synced_b = self.size_b
        self._write_note()

    def _read_note(self) -> None:
        try:
            note = json.loads(self._note.read_text())
            self.validator = Validator(**note["validator"])
            self._synced_b = int(note["synced_b"])
        except (OSError, ValueError, TypeError, KeyError):
            # None yet, or it was torn: then nothing of the file is trusted.
            self.validator, self._synced_b = Validator(), 0

    def _write_note(self) -> None:
        draft = self._note.with_suffix(".new")
        draft.write_text(json.dumps({"validator": asdict(self.validator), "synced_b": self._synced_b}))
        os.replace(draft, self._note)


# Bytes as they are on Windows, and nowhere a file that somebody put a link to in its place.
_FLAGS = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


def gguf_fault(head: bytes) -> str | None:
    """Why a file that begins so is no GGUF model, or None (ggml's docs/gguf.md: magic, then a version of 32 bits)."""
    if head[:4] != b"GGUF":
        return "The file is not a GGUF model: its first bytes say something else."
    (version,) = struct.unpack("<I", head[4:8])
    if version not in _VERSIONS:
        return f"The file is GGUF of version {version}, which engines do not read: use one of version 3."
    return None
