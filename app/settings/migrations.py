"""From the settings file of an older version to today's, one small pure function a version.

Rule 1: a migration takes and gives a plain document, and touches no disk; `store.py` keeps the old file as a backup.
Rule 2: a migration that has been published is never edited; the next one corrects it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.settings.errors import SettingError

Document = dict[str, Any]
Migration = Callable[[Mapping[str, Any]], Document]

VERSION = "version"


def lower_names(document: Mapping[str, Any]) -> Document:
    """0 to 1: a file without a version was written by hand, often after a `.env`, with its upper-case names."""
    result: Document = {}
    for name, value in document.items():
        lower = name.lower() if name.isupper() else name
        if lower in result:
            raise SettingError(
                f"{lower} is given twice, as {lower} and as {lower.upper()}: remove one.", lower
            )
        result[lower] = value
    return result


MIGRATIONS: Sequence[Migration] = (lower_names,)
"""The migration at index n leads from version n to version n + 1."""

CURRENT = len(MIGRATIONS)


def migrate(
    document: Mapping[str, Any], migrations: Sequence[Migration] = MIGRATIONS
) -> tuple[Document, int]:
    """Today's form of `document` without its version, and the version it had. Raises SettingError."""
    rest = dict(document)
    version = rest.pop(VERSION, 0)
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        raise SettingError(
            "its version is not a whole number of 0 or more: remove the line that says version."
        )
    if version > len(migrations):
        raise SettingError(
            f"it is of version {version}, from a newer Mortdecai Gateway, and this one knows versions up to "
            f"{len(migrations)}: install the newer one, or move the file away."
        )
    for step in migrations[version:]:
        rest = step(rest)
    return rest, version
