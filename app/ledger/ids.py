"""Record ids: UUIDv7 (RFC 9562), so that ids sort by time and a database index grows at its end.

Rule: pure but for one number, the last stamp given out, which keeps ids of one process strictly ascending.
"""

from __future__ import annotations

import re
from random import getrandbits

ID_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
is_id = re.compile(ID_PATTERN).fullmatch
"""A match for the one way an id is written here: lower case, version 7."""

_RANDOM_62 = (1 << 62) - 1
_last_stamp = [0]


def uuid7(now_us: int, rand: int) -> str:
    """A new id for the wall time `now_us` (µs since the epoch) with 62 bits of `rand`.

    The 60 bits in front are milliseconds and a 12-bit fraction of one (RFC 9562 section 6.2, method 3). Where
    the clock stands still or steps back they count on from the last id, so ids of one thread always ascend.
    """
    millis, micros = divmod(now_us, 1000)
    stamp = millis << 12 | (micros << 12) // 1000
    if stamp <= _last_stamp[0]:
        stamp = _last_stamp[0] + 1
    _last_stamp[0] = stamp
    rand &= _RANDOM_62
    millis = stamp >> 12
    return "%08x-%04x-7%03x-%04x-%012x" % (  # noqa: UP031 (half the time of an f-string with format specs)
        millis >> 16,
        millis & 0xFFFF,
        stamp & 0xFFF,
        0x8000 | rand >> 48,
        rand & 0xFFFFFFFFFFFF,
    )


def new_id(now_us: int) -> str:
    """A new id for the wall time `now_us`. Ids are names, not secrets, so Python's own generator will do."""
    return uuid7(now_us, getrandbits(62))


def id_bytes(record_id: str) -> bytes:
    """The 16 bytes of an id, as the store keeps it; ValueError on malformed text."""
    return bytes.fromhex(record_id.replace("-", ""))
