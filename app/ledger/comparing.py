"""Two copies of one log, held against each other: the first difference, and whose word the signatures carry.

Rule 1: pure but for asking the two copies, which is theirs. Rule 2: who is at fault is said only where a signature
proves it; a side that shows something without a signature over it has shown nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from app.ledger.checkpoint import Checkpoint, parse_checkpoint
from app.ledger.cosignature import Cosignature, CosignerKey, find_cosignature
from app.ledger.descent import Descent, ShownRecord
from app.ledger.errors import BadProof, CheckpointError
from app.ledger.findings import Verdict
from app.ledger.merkle import ProofError, implied_root, leaf_hash, verify_consistency

Vouch = Callable[[str], Checkpoint]
"""The claim of a signed note that a key of the log's, good for its size, has signed; CheckpointError otherwise."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Holder(StrEnum):
    """Whose copy it is."""

    GATEWAY = "gateway"
    RECEIVER = "receiver"


class LogCopy(Protocol):
    """One side's copy of a log. Every method may raise LedgerError, and BadProof for an answer that is none."""

    async def newest(self) -> str:
        """Its newest checkpoint with every signature that it has; "" where it holds nothing of the log."""

    async def record(self, seq: int, size: int) -> ShownRecord:
        """Record `seq` in the tree over its first `size` records."""

    async def exhibit(self, seq: int) -> tuple[ShownRecord, int]:
        """Record `seq` as it is best shown to others, and the size of the tree: of a checkpoint that the copy has."""


@dataclass(frozen=True, slots=True)
class CopySide:
    """What one side has shown. `unsigned` says why no key of the log's vouches for it, "" where one does; `exhibit` is
    the record that differs, in the tree over `exhibit_size`; `cosigned` the receiver's cosignature over that."""

    holder: Holder
    note: str
    size: int
    unsigned: str
    exhibit: ShownRecord | None = None
    exhibit_size: int = 0
    cosigned: Cosignature | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of it: `first` is the first record that is not the same on both sides, None where all are that both
    hold; `acked` the note with the receiver's cosignature over most records, "" where none is known."""

    log: str
    ours: CopySide
    theirs: CopySide
    first: int | None
    acked: str
    verdict: Verdict
    sentence: str


async def compare(
    log: str,
    ours: LogCopy,
    theirs: LogCopy,
    vouch: Vouch,
    *,
    holder: Holder,
    cosigner: CosignerKey | None = None,
    acked: str = "",
) -> Comparison:
    """Hold our copy of `log`, whose holder we are, against the other side's.

    `cosigner` is the receiver's key, None where it is not known; `acked` the note that it has cosigned
    over most records, as far as we kept it.
    Asks the other side for one checkpoint and at most log2(n) + 2 proofs. Raises BadProof, LedgerError.
    """
    other = Holder.RECEIVER if holder is Holder.GATEWAY else Holder.GATEWAY
    our_note, their_note = await ours.newest(), await theirs.newest()
    mine, shown = _claim(our_note, log, "we show"), _claim(their_note, log, f"the {other} shows")
    size = min(mine.size, shown.size)
    descent, pair = Descent(size), None
    try:
        while (seq := descent.seq) is not None:
            pair = await ours.record(seq, size), await theirs.record(seq, size)
            asked = seq
            descent.told(*pair)
    except (ProofError, ValueError) as error:
        raise BadProof(f"What is shown of record {seq} of {log} proves nothing: {error}.") from None
    sides = []
    for number, (who, note, claim, copy) in enumerate(
        ((holder, our_note, mine, ours), (other, their_note, shown, theirs))
    ):
        if descent.first is not None:
            exhibit, of = await copy.exhibit(descent.first)
            unsigned = _unsigned(exhibit, descent.first, of, vouch)
            sides.append(
                CopySide(
                    who,
                    note,
                    claim.size,
                    unsigned,
                    exhibit,
                    of,
                    None if unsigned else _cosigned(exhibit.note, cosigner),
                )
            )
        else:
            unsigned = _unsigned(pair[number], asked, size, vouch) if pair else ""
            sides.append(CopySide(who, note, claim.size, unsigned or (note and _note_unsigned(note, vouch))))
    first, second = sides
    notes = [acked, *(side.note for side in sides if not side.unsigned)]
    kept = [(found.checkpoint.size, found, note) for note in notes if (found := _cosigned(note, cosigner))]
    _, best, note = max(kept, key=lambda one: one[0], default=(0, None, ""))
    if first.exhibit is not None and second.exhibit is not None and first.exhibit.leaf == second.exhibit.leaf:
        raise BadProof(f"The {other} shows record {descent.first} of {log} once so and once so.")
    verdict, sentence = _judged(log, first, second, descent.first, best, cosigner)
    return Comparison(log, first, second, descent.first, note, verdict, sentence)


def _claim(note: str, log: str, who: str) -> Checkpoint:
    """What a note claims, nothing of it checked; of no note, nothing."""
    if not note:
        return Checkpoint(log, 0, b"")
    try:
        claim, _ = parse_checkpoint(note)
    except CheckpointError as error:
        raise BadProof(f"The checkpoint that {who} is none: {error}.") from None
    if claim.origin != log:
        raise BadProof(f"The checkpoint that {who} is of {claim.origin}, not of {log}.")
    return claim


def _unsigned(shown: ShownRecord, seq: int, size: int, vouch: Vouch) -> str:
    """Why nobody vouches for what is shown; "" where a key does."""
    try:
        claim = vouch(shown.note)
        root = implied_root(leaf_hash(shown.leaf), seq, size, shown.path)
        verify_consistency(size, claim.size, shown.growth, root, claim.root)
    except CheckpointError as error:
        return str(error)
    except ProofError:
        return "its records do not lead to the checkpoint that it shows"
    return ""


def _note_unsigned(note: str, vouch: Vouch) -> str:
    try:
        vouch(note)
    except CheckpointError as error:
        return str(error)
    return ""


def _cosigned(note: str, cosigner: CosignerKey | None) -> Cosignature | None:
    """The receiver's cosignature under a note."""
    if cosigner is None or not note:
        return None
    try:
        return find_cosignature(note, note.rpartition("\n\n")[2], cosigner)
    except CheckpointError:
        return None


def _judged(
    log: str,
    ours: CopySide,
    theirs: CopySide,
    first: int | None,
    acked: Cosignature | None,
    cosigner: CosignerKey | None,
) -> tuple[Verdict, str]:
    """The verdict and its sentence, said to the holder of our copy."""
    who, other = ours.holder, theirs.holder
    if first is not None:
        return _parted(log, ours, theirs, first)
    for side, whose in ((ours, "our own copy"), (theirs, f"the copy of the {other}")):
        if side.unsigned:
            why = f"nothing vouches for {whose}: {side.unsigned}"
            return Verdict.UNVERIFIABLE, f"The records of {log} are the same on both sides, but {why}."
    missing = ours.size - theirs.size
    if missing < 0:
        if who is Holder.GATEWAY:
            return Verdict.ROLLBACK, (
                f"Our newest {-missing} records of {log} are lost: the receiver holds {theirs.size} with our signature,"
                f" and we have {ours.size}. They are fetched back when the gateway runs."
            )
        return Verdict.LAGGING, (
            f"The gateway shows {-missing} records of {log} that have not been sent here yet; the {ours.size} before"
            " them are the same on both sides."
        )
    if missing and who is Holder.RECEIVER:
        return Verdict.ROLLBACK, (
            f"The gateway shows {theirs.size} records of {log} and has signed {ours.size}: it has dropped the newest"
            f" {missing}, which are held here with its signature."
        )
    if who is Holder.GATEWAY and acked is not None and acked.checkpoint.size > theirs.size:
        return Verdict.ROLLBACK, (
            f"The receiver shows {theirs.size} records of {log}, and has cosigned {acked.checkpoint.size} of them"
            f" ({when(acked.at_s)}): it has dropped records that it acknowledged, and its own cosignature proves that."
        )
    if missing:
        return Verdict.LAGGING, (
            f"The receiver lacks the newest {missing} records of {log}; the {theirs.size} before them are the same on"
            " both sides."
        )
    if cosigner is not None and who is Holder.GATEWAY and _cosigned(theirs.note, cosigner) is None:
        return Verdict.UNVERIFIABLE, (
            f"The receiver holds all {theirs.size} records of {log} and withholds its cosignature."
        )
    return Verdict.OK, f"Both sides hold the same {ours.size} records of {log}, and signatures over them."


def _parted(log: str, ours: CopySide, theirs: CopySide, first: int) -> tuple[Verdict, str]:
    other = theirs.holder
    at = f"Record {first} of {log} is not the same on both sides, and is the first that differs"
    if not ours.unsigned and not theirs.unsigned:
        return (
            Verdict.FORK,
            f"{at}: the gateway has signed both histories, which its own two signatures prove.",
        )
    if ours.unsigned and theirs.unsigned:
        return (
            Verdict.UNVERIFIABLE,
            f"{at}; neither side shows a signature over its own: here {ours.unsigned}; there {theirs.unsigned}.",
        )
    if ours.unsigned:
        return (
            Verdict.TAMPERED,
            f"{at}: it was changed here, for {ours.unsigned}; the {other} shows it signed.",
        )
    also = ""
    if ours.cosigned is not None:
        also = f", and the receiver itself cosigned ours ({when(ours.cosigned.at_s)})"
    return Verdict.TAMPERED, (
        f"{at}: ours is what the gateway signed{also}; the {other} shows another, and {theirs.unsigned}."
    )


def when(at_s: int) -> str:
    """A cosignature's time for people; "at no time" where it is beyond any calendar."""
    try:
        return f"{_EPOCH + timedelta(seconds=at_s):%Y-%m-%d %H:%M:%S} UTC"
    except OverflowError:
        return "at no time"
