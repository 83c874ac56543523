"""The time zone that this machine is in, by its name in the IANA database, which is what a document can say.

Rule: a name is never guessed from an offset; where the machine does not say it, there is none.
"""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LOCALTIME = Path("/etc/localtime")


def zone_named(name: str) -> ZoneInfo | None:
    """The zone of that name; None where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def local_zone(localtime: Path = LOCALTIME) -> ZoneInfo | None:
    """This machine's zone: what TZ names, or where `localtime` points to; None where neither says."""
    given = os.environ.get("TZ", "").lstrip(":")
    if given:
        return zone_named(given)
    try:
        target = os.readlink(localtime)
    except OSError:
        return zone_named("UTC") if os.name == "posix" and not localtime.exists() else None
    _, found, name = target.partition("zoneinfo/")
    return zone_named(name) if found else None
