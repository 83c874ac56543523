"""What is kept of a log, as far as the next decision needs it.

Rule 1: data only. Rule 2: a `KeptLog` that was handed out is never changed; whoever appends makes the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.ledger.heads import LogHead
from app.ledger.merkle import Frontier, Tile


@dataclass(frozen=True, slots=True)
class KeptLog:
    """A log of one enrolled gateway: `head` is its state after the newest record, `head.checkpoint` the note over all
    of them that was cosigned at `cosigned_s` (seconds since the epoch); `keys` are the first size that each of its
    signing keys is good for, and its text form, oldest first; `suspected`: there are charges that prove nothing yet."""

    enrolment: str
    head: LogHead
    keys: tuple[tuple[int, str], ...]
    cosigned_s: int
    suspected: bool = False

    @property
    def name(self) -> str:
        """The log's origin."""
        return self.head.name

    @property
    def size(self) -> int:
        """How many records are held."""
        return self.head.size


@dataclass(frozen=True, slots=True)
class Leaf:
    """A record to be kept: its bytes, and what it is found by."""

    seq: int
    id: bytes
    t0: int
    kind: str
    leaf: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Growth:
    """What one accepted submission adds: the log afterwards, the new records, and the subtrees they completed."""

    log: KeptLog
    leaves: tuple[Leaf, ...]
    tiles: tuple[Tile, ...]


class HeldRecords(Protocol):
    """The records that are kept of one log, as a decision may ask for them."""

    def hashes(self, begin: int, end: int) -> Sequence[bytes]:
        """The leaf hashes of the records begin to end - 1, which are all there."""

    def frontier(self, size: int) -> Frontier:
        """The tree's right edge when it had `size` leaves, which is at most the log's size."""

    def known(self, ids: Sequence[bytes]) -> set[bytes]:
        """Those of `ids` (16 bytes each) that a record of the log has already."""
