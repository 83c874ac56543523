"""The newest checkpoints as a few short texts, to be kept where whoever changes the ledger's file does not reach.

Rule 1: pure; where the texts are kept is the caller's business, and they are trusted as much as the key beside them.
Rule 2: a log keeps its place among the texts for ever, so a log that grew changes one text alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.ledger.checkpoint import Checkpoint
from app.ledger.merkle import HASH_B

LOGS_A_TEXT = 6
"""So a text stays below 1024 characters with names of up to 85."""


def pack(claims: Sequence[Checkpoint]) -> list[str]:
    """One line each for up to LOGS_A_TEXT logs; `claims` are in the order in which the logs began."""
    entries = [f"{claim.origin} {claim.size} {claim.root.hex()}" for claim in claims]
    return [",".join(entries[at : at + LOGS_A_TEXT]) for at in range(0, len(entries), LOGS_A_TEXT)]


def unpack(texts: Iterable[str]) -> tuple[Checkpoint, ...]:
    """What `pack` was given; ValueError on anything else."""
    claims = []
    for entry in (entry for text in texts for entry in text.split(",")):
        origin, size, root = entry.split(" ")
        claim = Checkpoint(origin, int(size), bytes.fromhex(root))
        if not origin or claim.size < 0 or len(claim.root) != HASH_B:
            raise ValueError(f"{entry!r:.80} is no checkpoint")
        claims.append(claim)
    return tuple(claims)
