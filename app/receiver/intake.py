"""Is what a gateway sends the continuation of what is held? Every check between a submission and a cosignature.

Rule 1: pure: what is held comes in as data, or through `HeldRecords`; what is to be done about it goes out as data.
Rule 2: nothing is accepted that was not checked here: the signature, the form, place and running total of every
record, that none is there twice, and that all of them together have the root that was signed.
Rule 3: what could have been damaged on its way is no proof of anything. A fork is proven where a root that the gateway
has signed follows from records that we hold, and another one that it has signed does not go with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from app.ledger.checkpoint import VerifierKey
from app.ledger.drafts import GenesisDraft, RotationDraft
from app.ledger.errors import CheckpointError, RecordError, UnsignedCheckpoint
from app.ledger.heads import LogHead
from app.ledger.ids import id_bytes
from app.ledger.merkle import Frontier, Tile, leaf_hash
from app.ledger.records import Record, decode
from app.ledger.signing_keys import SigningKeys
from app.receiver.kept import Growth, HeldRecords, KeptLog, Leaf
from app.receiver.submission import Submission


@dataclass(frozen=True, slots=True)
class Accepted:
    """It continues what is held: keep `growth`, then cosign."""

    growth: Growth


@dataclass(frozen=True, slots=True)
class Repeated:
    """All of it is held already, and nothing beyond: cosign again."""

    log: KeptLog


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """It does not begin or does not end where the held log does, which has `size` records."""

    size: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """It is not what it says. `seq` is the first bad record, where one can be named; `code` is for machines."""

    code: str
    sentence: str
    seq: int | None = None
    proof: bool = False
    """The gateway's own signatures contradict each other."""
    suspect: bool = False
    """The gateway has signed what the records do not bear out; these may have been damaged on their way."""
    shown: bytes = b""
    """The leaf that is refused, where there is one."""
    held: str = ""
    """The signed checkpoint that is held, where the two contradict each other."""


Decision = Accepted | Repeated | Elsewhere | Rejected


class _Refusal(Exception):
    def __init__(self, refused: Rejected) -> None:
        super().__init__(refused.sentence)
        self.refused = refused


@lru_cache(4096)
def _verifier(vkey: str) -> VerifierKey:
    return VerifierKey.parse(vkey)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A submission whose records were read, each in its place in the log that the checkpoint names."""

    submission: Submission
    records: tuple[Record, ...]
    hashes: tuple[bytes, ...]
    ids: tuple[bytes, ...]
    """16 bytes each: whether one of them is held already must be looked up."""


def prepare(submission: Submission) -> Prepared | Rejected:
    """Read the records; what is wrong with one of them by itself is said here."""
    records, log = [], submission.claim.origin
    for seq, body in enumerate(submission.leaves, submission.old):
        try:
            record = decode(body)
        except RecordError as error:
            text = str(error).rstrip(".")
            return Rejected("bad_record", f"Record {seq} is none that is understood here: {text}.", seq)
        if record.log != log:
            return Rejected("other_log", f"Record {seq} is of the log {record.log}, not of {log}.", seq)
        if record.seq != seq:
            return Rejected("out_of_order", f"Record {record.seq} came where number {seq} belongs.", seq)
        records.append(record)
    return Prepared(
        submission,
        tuple(records),
        tuple(map(leaf_hash, submission.leaves)),
        tuple(id_bytes(record.draft.id) for record in records),
    )


def decide(
    sent: Prepared, log: KeptLog | None, held: HeldRecords, *, enrolment: str, vkey: str, now_s: int
) -> Decision:
    """What to do with what the gateway enrolled as `enrolment` has `sent`.

    `log` is what is kept of the log it names, None where that is nothing; `vkey` is the one key that a log of this
    enrolment may begin with, empty where none was named; `now_s` (s since the epoch) is the time to be cosigned.
    """
    try:
        if log is None:
            if sent.submission.old:
                return Elsewhere(0)
            return _begin(sent, enrolment, vkey, now_s)
        return _continue(sent, log, held, now_s)
    except _Refusal as refusal:
        return refusal.refused


def _begin(sent: Prepared, enrolment: str, vkey: str, now_s: int) -> Decision:
    genesis = sent.records[0].draft if sent.records else None
    if not isinstance(genesis, GenesisDraft):
        return Rejected("no_genesis", "A log begins with its genesis record, and this one does not.", 0)
    if vkey and genesis.vkey != vkey:
        return Rejected(
            "other_key", "The log is signed by another key than the one this gateway was enrolled with.", 0
        )
    claim, origin = sent.submission.claim, sent.submission.claim.origin
    ranges = _check_signature(sent, sent.records, origin, ((0, genesis.vkey),))
    log = KeptLog(enrolment, LogHead(0, origin, Frontier()), ranges, now_s)
    growth = _grow(log, sent, 0, now_s)
    if growth.log.head.frontier.root() != claim.root:
        return Rejected(
            "other_root", "The records do not lead to the root that was signed over them.", suspect=True
        )
    return Accepted(growth)


def _continue(sent: Prepared, log: KeptLog, held: HeldRecords, now_s: int) -> Decision:
    old, claim, size = sent.submission.old, sent.submission.claim, log.size
    if old > size:
        return Elsewhere(size)
    ranges = _check_signature(sent, sent.records[max(0, size - old) :], log.name, log.keys)
    overlap = min(size, claim.size)
    for seq, (mine, theirs) in enumerate(
        zip(held.hashes(old, overlap) if old < overlap else (), sent.hashes, strict=False), old
    ):
        if mine != theirs:
            return _differs(sent, held, seq)
    if claim.size < size:
        if held.frontier(claim.size).root() != claim.root:
            return _fork(
                f"The gateway has signed another history of the first {claim.size} records than the one held."
            )
        return Elsewhere(size)
    if claim.size == size:
        if log.head.frontier.root() != claim.root:
            return _fork(f"The gateway has signed two histories of its {size} records.")
        return Repeated(replace(log, cosigned_s=max(now_s, log.cosigned_s)))
    growth = _grow(replace(log, keys=ranges), sent, size - old, now_s)
    doubled = held.known([leaf.id for leaf in growth.leaves])
    for leaf in growth.leaves:
        if leaf.id in doubled:
            return _doubled(leaf)
    if growth.log.head.frontier.root() != claim.root:
        return Rejected(
            "other_root",
            "The records do not lead from what is held to the root that was signed.",
            size,
            suspect=True,
        )
    return Accepted(growth)


def _check_signature(
    sent: Prepared, fresh: Sequence[Record], log: str, ranges: tuple[tuple[int, str], ...]
) -> tuple[tuple[int, str], ...]:
    """The log's keys with those that the `fresh` records bring; one that is good for its size has signed the note."""
    try:
        keys = SigningKeys.known(log, [(first, _verifier(vkey)) for first, vkey in ranges])
        for record in fresh:
            if isinstance(record.draft, RotationDraft):
                keys.follow(record.seq, record.draft)
        keys.verify_parsed(sent.submission.note, sent.submission.claim, sent.submission.signatures)
    except UnsignedCheckpoint as error:
        raise _Refusal(
            Rejected("unsigned", f"The checkpoint is not signed as it must be: {error}.")
        ) from None
    except CheckpointError as error:
        raise _Refusal(Rejected("bad_signature", f"The checkpoint cannot be believed: {error}.")) from None
    return tuple((first, key.text) for first, key in keys.ranges)


def _grow(log: KeptLog, sent: Prepared, skipped: int, now_s: int) -> Growth:
    """The log with all but the first `skipped` records appended; their running totals are checked, the root not."""
    head = log.head.copy()
    leaves: list[Leaf] = []
    tiles: list[Tile] = []
    seen: set[bytes] = set()
    parts = zip(sent.records, sent.submission.leaves, sent.hashes, sent.ids, strict=True)
    for record, body, hashed, identity in islice(parts, skipped, None):
        draft = record.draft
        head.cum += draft.cost
        if record.cum_pico != head.cum:
            raise _Refusal(
                Rejected(
                    "wrong_total",
                    f"Record {record.seq} says that all cost {record.cum_pico} so far, and it is {head.cum}.",
                    record.seq,
                    suspect=True,
                    shown=body,
                )
            )
        head.count(draft)
        leaf = Leaf(record.seq, identity, draft.t0, draft.kind, hashed, body)
        if leaf.id in seen:
            raise _Refusal(_doubled(leaf))
        seen.add(leaf.id)
        leaves.append(leaf)
        tiles += head.frontier.append(hashed)
    head.checkpoint = sent.submission.note
    grown = replace(log, head=head, cosigned_s=max(now_s, log.cosigned_s))
    return Growth(grown, tuple(leaves), tuple(tiles))


def _doubled(leaf: Leaf) -> Rejected:
    return Rejected(
        "doubled",
        f"Record {leaf.seq} carries the id of another one: it would be billed twice.",
        leaf.seq,
        suspect=True,
        shown=leaf.body,
    )


def _differs(sent: Prepared, held: HeldRecords, seq: int) -> Rejected:
    """A record is not the one that is held in its place. The gateway has signed it where all that came, after what is
    held before it, leads to the signed root."""
    submission = sent.submission
    tree = _appended(held.frontier(submission.old), sent.hashes)
    signed = tree.root() == submission.claim.root
    sentence = f"Record {seq} is not the one that is held, which was cosigned."
    return Rejected(
        "fork" if signed else "other_record",
        sentence,
        seq,
        proof=signed,
        suspect=not signed,
        shown=submission.leaves[seq - submission.old],
    )


def _appended(frontier: Frontier, hashes: Sequence[bytes]) -> Frontier:
    for hashed in hashes:
        frontier.append(hashed)
    return frontier


def _fork(sentence: str) -> Rejected:
    return Rejected("fork", sentence, proof=True)
