"""Secrets that a key had before it got its present one, and until when each of them still opens the door.

The JSON, among a key's limits in the ledger's column: `former`, a list of `{"sha256": 64 hexadecimal digits, "until":
seconds since 1970}`. What is over opens nothing and goes with the next rotation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MOST = 8
UNTIL_MOST_S = 253_402_300_799
_is_digest = re.compile("[0-9a-f]{64}").fullmatch


class FormerError(ValueError):
    """Former secrets that cannot be; the sentence says what is allowed."""


@dataclass(frozen=True, slots=True)
class FormerSecret:
    """`sha256` is 32 bytes; `until_s` wall time, at which it is over."""

    sha256: bytes
    until_s: int

    def to_json(self) -> dict[str, object]:
        """The inverse of `former_of`."""
        return {"sha256": self.sha256.hex(), "until": self.until_s}


def former_of(value: object) -> tuple[FormerSecret, ...]:
    """The secrets that a JSON value names; none for null. Raises FormerError."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MOST or not all(map(_is_former, value)):
        raise FormerError(
            f"former must be a list of at most {MOST} former secrets, each with its sha256 and until."
        )
    return tuple(FormerSecret(bytes.fromhex(each["sha256"]), each["until"]) for each in value)


def ended_by(former: Iterable[FormerSecret], end_s: int, now_s: int) -> tuple[FormerSecret, ...]:
    """Those that still open something after `now_s`, each over at `end_s` at the latest."""
    bounded = (FormerSecret(each.sha256, min(each.until_s, end_s)) for each in former)
    return tuple(each for each in bounded if each.until_s > now_s)


def _is_former(value: object) -> bool:
    if not isinstance(value, Mapping) or value.keys() != {"sha256", "until"}:
        return False
    digest, until = value["sha256"], value["until"]
    return (
        isinstance(digest, str)
        and bool(_is_digest(digest))
        and type(until) is int
        and 0 < until <= UNTIL_MOST_S
    )
