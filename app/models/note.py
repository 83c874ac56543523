"""The note that an update keeps in its folder while it runs: what a gateway that was killed has to put in order.

Rule 1: reading and writing block, and belong on a thread aside. Rule 2: nothing secret is in it; of an address there is
what may be shown. Rule 3: it goes away only when the update's end is in the audit trail and nothing is left to do.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

_NAME = "update.json"
_STALE_S = 14 * 86_400.0
"""Parts that nobody has gone on with for so long are thrown away."""
_PARTS = (".part", ".note", ".new")


@dataclass(frozen=True, slots=True)
class Note:
    """How far an update of `model` is."""

    model: str
    url: str
    """As it may be shown."""
    by: str
    sha256: str = ""
    """Of the file, once it is there."""
    size_b: int = 0
    replaces: bool = True
    """There was a model of that name before."""
    swapping: bool = False
    """The new one may have the name already, and has not answered under it."""
    answered: bool = False
    """The new one has the name for good."""
    digest: str = ""
    """The engine's own, of the new one, once it has the name for good."""
    told: bool = False
    """How it ended is in the audit trail."""


def read_note(folder: Path) -> Note | None:
    """None where nothing is left to do. Raises OSError."""
    try:
        note = Note(**json.loads((folder / _NAME).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        # Torn: it was being written when everything ended, before anything else was done.
        return None
    return note if isinstance(note.model, str) and ":" in note.model else None


def write_note(folder: Path, note: Note) -> None:
    """Keep it, whole or not at all. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f"{_NAME}.new"
    draft.write_text(json.dumps(asdict(note)))
    os.replace(draft, folder / _NAME)


def remove_note(folder: Path) -> None:
    """Nothing is left to do. Raises OSError."""
    (folder / _NAME).unlink(missing_ok=True)


def throw_away_stale(folder: Path, most_b: int | None = None) -> None:
    """Parts of files that nobody has gone on with for weeks, and the oldest of those that make more than `most_b`
    together: whoever may push models must not fill the disk with halves. What cannot be deleted is left alone."""
    found: list[tuple[float, int, Path]] = []
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            with suppress(OSError):
                if path.suffix in _PARTS:
                    found.append(((about := path.lstat()).st_mtime, about.st_size, path))
    kept_b = 0
    for changed_s, size_b, path in sorted(found, reverse=True):
        kept_b += size_b
        if time.time() - changed_s > _STALE_S or (most_b is not None and kept_b > most_b):
            with suppress(OSError):
                path.unlink()
