"""The time zone that this machine is in, by its name in the IANA database, which is what a document can say.

Rule: a name is never guessed from an offset; where the machine does not say it, there is none. Its clocks tell the
time all the same (`MachineClocks`).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, tzinfo
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


class MachineClocks(tzinfo):
    """Local time as the operating system tells it, for a machine that does not say which zone it is in."""

    def utcoffset(self, at: datetime | None) -> timedelta | None:
        if at is None:
            return None
        there = at.replace(tzinfo=None)
        # Of a time that the clocks leave out this is the offset before that, as with a zone that has a name.
        return there - datetime.fromtimestamp(there.timestamp(), UTC).replace(tzinfo=None)

    def dst(self, at: datetime | None) -> timedelta | None:
        return None

    def tzname(self, at: datetime | None) -> str | None:
        return None

    def fromutc(self, at: datetime) -> datetime:
        there = datetime.fromtimestamp(at.replace(tzinfo=UTC).timestamp())  # noqa: DTZ006  (local time is what it is)
        return there.replace(tzinfo=self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MachineClocks)

    def __hash__(self) -> int:
        return hash(MachineClocks)


def clocks(name: str) -> tzinfo:
    """The clocks of the zone of that name, or of this machine where there is none."""
    return (zone_named(name) if name else local_zone()) or MachineClocks()
