"""Small private files, read whole and written atomically.

Rule 1: a reader sees the old file or the new one, never half of either, also after a power cut.
Rule 2: what we write only its owner may read.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from app.settings.errors import SettingError, reason

MAX_FILE_B = 1 << 20


def read_text(path: Path, what: str) -> str:
    """The text of `path`; `what` names it in the sentence of a SettingError, for example «The settings file»."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise SettingError(f"{what} {path} is a folder: move the folder away, or name another file.")
        # A pipe or a device would be waited on for ever.
        if not stat.S_ISREG(mode):
            raise SettingError(f"{what} {path} is not a regular file: name another file.")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_B + 1)
    except OSError as error:
        raise SettingError(
            f"{what} {path} cannot be read because {reason(error)}: correct that, or name another file."
        ) from error
    if len(data) > MAX_FILE_B:
        raise SettingError(f"{what} {path} is larger than 1 MiB, so it cannot be one: name another file.")
    try:
        # Notepad on Windows begins its UTF-8 files with a byte order mark.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingError(f"{what} {path} is not UTF-8 text (line {line}): save it as UTF-8.") from error


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text`, readable by its owner only, durable on return. Raises OSError.

    A symbolic link stays one: its target is replaced.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def others_can_read(path: Path) -> bool:
    """True where users other than the owner may read or write `path` (never on Windows, which has no such bits)."""
    return os.name == "posix" and bool(path.stat().st_mode & 0o077)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; Windows does that by itself and cannot open a folder."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
