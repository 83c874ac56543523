"""Proofs as files that stand alone: whoever holds one and the log's public key needs nothing else, and no network.

Rule 1: pure. Rule 2: nothing in a file is believed that the signature does not vouch for in the end; a file in which
a single bit was changed is refused.

Format: c2sp.org/tlog-proof, with the record's own bytes as the extra data, from which the leaf's hash is computed:

    c2sp.org/tlog-proof@v1
    extra <base64 of the leaf>
    index <seq>
    <base64 of a hash>          (as many as the proof has, the leaf's sibling first)

    <the signed checkpoint>
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.ledger.checkpoint import Checkpoint, VerifierKey, b64, unb64, verify_checkpoint
from app.ledger.errors import BadProof, CheckpointError, RecordError, UnsignedCheckpoint
from app.ledger.merkle import ProofError, leaf_hash, verify_inclusion
from app.ledger.proofs import Inclusion
from app.ledger.records import Record, decode

HEADER = "c2sp.org/tlog-proof@v1"
SUFFIX = ".tlog-proof"
LONGEST_B = 16 << 20
"""The longest record fits in; what comes from outside is not read beyond."""


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof file proves: `leaf` is number `seq` of the log of which `key` signed `claim`. `record` is what the
    leaf says, None where this version does not know its form."""

    leaf: bytes
    seq: int
    claim: Checkpoint
    key: VerifierKey
    record: Record | None
    note: str
    """The checkpoint as it stands in the file, with whatever cosignatures."""


def write_proof(found: Inclusion) -> str:
    """The file's text."""
    lines = [HEADER, f"extra {b64(found.body)}", f"index {found.seq}", *map(b64, found.proof), ""]
    return "\n".join(lines) + "\n" + found.checkpoint


def check_proof(text: str, keys: Sequence[VerifierKey], log: str | None = None) -> Proven:
    """What the file's `text` proves to whoever trusts `keys`, any one of which must have signed; BadProof otherwise.

    `log`: the only log whose records are wanted; None takes any that one of the keys has signed.
    """
    head, blank, note = text.partition("\n\n")
    header, *lines = head.split("\n")
    if not blank or header != HEADER:
        raise BadProof("This is no proof file: it does not begin with the line c2sp.org/tlog-proof@v1.")
    extra, index = _field(lines, "extra"), _field(lines, "index")
    if not (index.isascii() and index.isdigit() and len(index) < 20 and str(int(index)) == index):
        raise BadProof("The record's number in the proof file is not a plain number.")
    seq = int(index)
    try:
        leaf = unb64(extra, "record")
        steps = [unb64(line, "proof") for line in lines]
        claim, key = _vouched(note, keys, log)
        verify_inclusion(leaf_hash(leaf), seq, claim.size, steps, claim.root)
    except CheckpointError as error:
        raise BadProof(f"The proof does not hold: {error}.") from None
    except ProofError as error:
        raise BadProof(f"The record is not number {seq} of what was signed: {error}.") from None
    return Proven(leaf, seq, claim, key, _record(leaf, seq, claim), note)


def _field(lines: list[str], name: str) -> str:
    """What stands behind `name` in the first of `lines`, which is taken away."""
    if not lines or not lines[0].startswith(name + " "):
        raise BadProof(f"The proof file has no line «{name}» in its place, so it proves nothing by itself.")
    return lines.pop(0).removeprefix(name + " ")


def _vouched(note: str, keys: Sequence[VerifierKey], log: str | None) -> tuple[Checkpoint, VerifierKey]:
    unsigned = UnsignedCheckpoint("no key was given")
    for key in keys:
        try:
            return verify_checkpoint(note, key, log), key
        except UnsignedCheckpoint as error:
            unsigned = error
    raise unsigned


def _record(leaf: bytes, seq: int, claim: Checkpoint) -> Record | None:
    try:
        record = decode(leaf)
    except RecordError:
        return None
    if (record.log, record.seq) != (claim.origin, seq):
        raise BadProof(
            f"The record says that it is number {record.seq} of {record.log}, and was signed as number {seq} of"
            f" {claim.origin}: whoever signed it contradicts itself."
        )
    return record
