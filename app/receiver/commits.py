"""Several submissions in one commit of the store: read, decided, made durable, and only then cosigned.

Rule 1: it blocks; the keeper runs it on the writer's thread. Rule 2: no cosignature is made before the transaction that
holds its records has ended. Rule 3: what is wrong with one submission is its own outcome, never another's.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from app.basics.traces import where
from app.ledger.cosignature import Cosigner
from app.receiver.errors import ReceiverError, StoreAway, StoreFault
from app.receiver.intake import Accepted, Decision, Elsewhere, Rejected, Repeated
from app.receiver.parties import Enrolment, FlatOutcome, FlatRow
from app.receiver.store import CopyStore, LogName
from app.receiver.submission import MalformedSubmission, Submission, TooManyLeaves, parse_submission
from app.receiver.taking import log_name, take

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sent:
    """A body that a gateway sent."""

    enrolment: Enrolment
    body: bytes


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The signature line over the checkpoint that came, whose `size` records are held, `fresh` of them new."""

    line: str
    size: int
    fresh: int


Work = Sent | FlatRow
Outcome = Cosigned | Elsewhere | Rejected | FlatOutcome | MalformedSubmission | TooManyLeaves | ReceiverError
"""What came of one piece of work; exceptions are for whoever waits for it."""


def commit(store: CopyStore, cosigner: Cosigner, work: Sequence[Work], now_s: int) -> list[Outcome]:
    """The outcomes of `work`, in its order; never raises for what one of them did."""
    outcomes: dict[int, Outcome] = {}
    left: list[tuple[int, Work, Submission | None]] = []
    for number, piece in enumerate(work):
        try:
            left.append((number, piece, parse_submission(piece.body) if isinstance(piece, Sent) else None))
        except (MalformedSubmission, TooManyLeaves) as error:
            outcomes[number] = error
    while left:
        # One growth of a log at a time: a second submission of the same log waits for the next transaction.
        names: set[LogName] = set()
        now, later = [], []
        for each in left:
            _, piece, submission = each
            if submission is not None:
                assert isinstance(piece, Sent)
                name = log_name(piece.enrolment, submission)
                if name in names:
                    later.append(each)
                    continue
                names.add(name)
            now.append(each)
        outcomes |= _together(store, cosigner, now, sorted(names), now_s)
        left = later
    return [outcomes[number] for number in range(len(work))]


def _together(
    store: CopyStore,
    cosigner: Cosigner,
    pieces: Sequence[tuple[int, Work, Submission | None]],
    names: Sequence[LogName],
    now_s: int,
) -> dict[int, Outcome]:
    try:
        try:
            decided = _durably(store, pieces, names, now_s)
        except StoreAway:
            # A database that was started again has closed our connection, and what may have been committed is only
            # repeated: the second try is the same.
            decided = _durably(store, pieces, names, now_s)
        return {number: _outcome(cosigner, submission, decision) for number, submission, decision in decided}
    except StoreFault as error:
        return {number: error for number, _, _ in pieces}
    except Exception as error:  # noqa: BLE001 (whatever it is, whoever waits must hear of it)
        if len(pieces) > 1:
            # One of them is to blame; the others must not suffer for it.
            found: dict[int, Outcome] = {}
            for each in pieces:
                name = [log_name(each[1].enrolment, each[2])] if isinstance(each[1], Sent) and each[2] else []
                found |= _together(store, cosigner, [each], name, now_s)
            return found
        log.error("A submission met a fault of our own, and nothing of it was kept: %s.", where(error))
        mistake = ReceiverError("The receiver made a mistake, and kept nothing. Its log says which.")
        return {number: mistake for number, _, _ in pieces}


_Decided = tuple[int, Submission | None, Decision | FlatOutcome]


def _durably(
    store: CopyStore,
    pieces: Sequence[tuple[int, Work, Submission | None]],
    names: Sequence[LogName],
    now_s: int,
) -> list[_Decided]:
    decided: list[_Decided] = []
    with store.work(names) as work:
        for number, piece, submission in pieces:
            if isinstance(piece, Sent):
                assert submission is not None
                decided.append((number, submission, take(work, submission, piece.enrolment, now_s)))
            else:
                decided.append((number, None, work.keep_flat(piece)))
    return decided


def _outcome(cosigner: Cosigner, submission: Submission | None, decision: Decision | FlatOutcome) -> Outcome:
    match decision:
        case Accepted(growth):
            assert submission is not None
            line = cosigner.cosign(submission.note, growth.log.cosigned_s)
            return Cosigned(line, growth.log.size, len(growth.leaves))
        case Repeated(again):
            assert submission is not None
            return Cosigned(cosigner.cosign(submission.note, again.cosigned_s), again.size, 0)
        case _:
            return decision
