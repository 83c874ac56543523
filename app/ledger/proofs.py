"""What is handed to whoever wants a proof: the record or the growth, its hashes, the checkpoint they lead to.

Rule: data only; `merkle.py` makes and checks proofs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Inclusion:
    """A record's exact bytes with the proof (sibling hashes, the leaf's first) that it is in `checkpoint`'s tree."""

    log: str
    seq: int
    size: int
    body: bytes
    proof: tuple[bytes, ...]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Consistency:
    """The proof that the tree of `checkpoint`, of `size` records, only appended to that of `since` records."""

    log: str
    since: int
    size: int
    proof: tuple[bytes, ...]
    checkpoint: str
