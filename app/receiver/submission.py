"""What a gateway sends: how many records it believes are held, those that follow, and the signed checkpoint over all.

Rule: pure, and nothing in it is believed yet; only the form is checked here.

    old <size>\n
    <leaf>\n                  (canonical JSON, byte for byte as hashed; none or more)
    \n
    <signed checkpoint>       (over <size> and so many leaves)

The form is that of c2sp.org/tlog-witness' add-checkpoint, with the leaves in place of the proof.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.ledger.checkpoint import Checkpoint, Signatures, parse_checkpoint
from app.ledger.errors import CheckpointError

LEAVES_MAX = 1024
BODY_MAX_B = 4 << 20

_first_line = re.compile(rb"old (0|[1-9][0-9]{0,15})").fullmatch


class MalformedSubmission(Exception):
    """The body is no submission; `str()` is one sentence."""


class TooManyLeaves(Exception):
    """More than LEAVES_MAX leaves came at once."""


@dataclass(frozen=True, slots=True)
class Submission:
    """`leaves` are the records from number `old` on; `claim` is what `note` says, its signatures not checked."""

    old: int
    leaves: tuple[bytes, ...]
    note: str
    claim: Checkpoint
    signatures: Signatures


def parse_submission(body: bytes) -> Submission:
    """Read `body`; MalformedSubmission, or TooManyLeaves."""
    first, found, rest = body.partition(b"\n")
    match = _first_line(first)
    if match is None or not found:
        raise MalformedSubmission("The first line is not «old» and the number of records that are held.")
    old = int(match[1])
    if rest.startswith(b"\n"):
        leaves: tuple[bytes, ...] = ()
        signed = rest[1:]
    else:
        lines, found, signed = rest.partition(b"\n\n")
        if not found:
            raise MalformedSubmission("No empty line and no checkpoint follow the records.")
        if lines.count(b"\n") >= LEAVES_MAX:
            raise TooManyLeaves(f"At most {LEAVES_MAX} records may come at once.")
        leaves = tuple(lines.split(b"\n"))
    try:
        note = signed.decode()
        claim, signatures = parse_checkpoint(note)
    except UnicodeDecodeError:
        raise MalformedSubmission("The checkpoint is not UTF-8.") from None
    except CheckpointError as error:
        raise MalformedSubmission(f"What follows the records is no signed checkpoint: {error}.") from None
    if claim.size != old + len(leaves):
        raise MalformedSubmission(
            f"The records lead to number {old + len(leaves)}, and the checkpoint is over {claim.size}."
        )
    return Submission(old, leaves, note, claim, signatures)


def write_submission(old: int, leaves: tuple[bytes, ...], note: str) -> bytes:
    """The body that says so: what `parse_submission` reads."""
    return b"old %d\n%b\n%b" % (old, b"".join(leaf + b"\n" for leaf in leaves), note.encode())
