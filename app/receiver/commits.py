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
from app.receiver.errors import ReceiverError, StoreAway, StoreContended, StoreFault
from app.receiver.intake import Accepted, Decision, Elsewhere, Prepared, Rejected, Repeated, prepare
from app.receiver.parties import Enrolment, FlatOutcome, FlatRow
from app.receiver.store import CopyStore, IntakeWork, LogName
from app.receiver.submission import MalformedSubmission, TooManyLeaves, parse_submission
from app.receiver.taking import log_name, take

log = logging.getLogger(__name__)

TRIES = 5


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


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of work that needs the store: its number, and what was read of it where it is a submission."""

    number: int
    work: Work
    sent: Prepared | None

    @property
    def log(self) -> LogName | None:
        """The log that it is of."""
        if self.sent is None or not isinstance(self.work, Sent):
            return None
        return log_name(self.work.enrolment, self.sent)


def commit(store: CopyStore, cosigner: Cosigner, work: Sequence[Work], now_s: int) -> list[Outcome]:
    """The outcomes of `work`, in its order; never raises for what one of them did."""
    outcomes: dict[int, Outcome] = {}
    left: list[_Piece] = []
    for number, each in enumerate(work):
        read = _read(each)
        if read is None or isinstance(read, Prepared):
            left.append(_Piece(number, each, read))
        else:
            outcomes[number] = read
    while left:
        # One growth of a log at a time: a second submission of the same log waits for the next transaction.
        logs: set[LogName] = set()
        now: list[_Piece] = []
        later: list[_Piece] = []
        for piece in left:
            if (log_of := piece.log) is not None and log_of in logs:
                later.append(piece)
                continue
            now.append(piece)
            if log_of is not None:
                logs.add(log_of)
        outcomes |= _together(store, cosigner, now, now_s)
        left = later
    return [outcomes[number] for number in range(len(work))]


def _read(work: Work) -> Prepared | Outcome | None:
    """A submission with its records, or what is wrong with it by itself; None where it is none."""
    if not isinstance(work, Sent):
        return None
    try:
        return prepare(parse_submission(work.body))
    except (MalformedSubmission, TooManyLeaves) as error:
        return error
    except Exception as error:  # noqa: BLE001 (whatever it is, whoever waits must hear of it)
        return _mistake(error)


def _mistake(error: Exception) -> ReceiverError:
    log.error("A submission met a fault of our own, and nothing of it was kept: %s.", where(error))
    return ReceiverError("The receiver made a mistake, and kept nothing. Its log says which.")


def _together(
    store: CopyStore, cosigner: Cosigner, pieces: Sequence[_Piece], now_s: int
) -> dict[int, Outcome]:
    try:
        decided = _tried(store, pieces, now_s)
        return {piece.number: _outcome(cosigner, piece, decision) for piece, decision in decided}
    except StoreFault as error:
        return {piece.number: error for piece in pieces}
    except Exception as error:  # noqa: BLE001 (whatever it is, whoever waits must hear of it)
        if len(pieces) > 1:
            # One of them is to blame; the others must not suffer for it.
            found: dict[int, Outcome] = {}
            for piece in pieces:
                found |= _together(store, cosigner, [piece], now_s)
            return found
        mistake = _mistake(error)
        return {piece.number: mistake for piece in pieces}


def _tried(
    store: CopyStore, pieces: Sequence[_Piece], now_s: int
) -> list[tuple[_Piece, Decision | FlatOutcome]]:
    """Tried again where that may help: what was committed already is only repeated. A database that was started again
    has closed our connection; another receiver may have been quicker."""
    for left in reversed(range(TRIES)):
        try:
            return _durably(store, pieces, now_s)
        except StoreContended:
            if not left:
                raise
        except StoreAway:
            break
    return _durably(store, pieces, now_s)


def _durably(
    store: CopyStore, pieces: Sequence[_Piece], now_s: int
) -> list[tuple[_Piece, Decision | FlatOutcome]]:
    asked = {
        piece.log: piece.sent.ids for piece in pieces if piece.log is not None and piece.sent is not None
    }
    # In one order everywhere, so that two receivers over one database never wait for each other in a circle.
    with store.work(dict(sorted(asked.items()))) as work:
        return [(piece, _taken(work, piece, now_s)) for piece in pieces]


def _taken(work: IntakeWork, piece: _Piece, now_s: int) -> Decision | FlatOutcome:
    if isinstance(piece.work, FlatRow):
        return work.keep_flat(piece.work)
    assert piece.sent is not None
    return take(work, piece.sent, piece.work.enrolment, now_s)


def _outcome(cosigner: Cosigner, piece: _Piece, decision: Decision | FlatOutcome) -> Outcome:
    match decision:
        case Accepted(growth):
            assert piece.sent is not None
            line = cosigner.cosign(piece.sent.submission.note, growth.log.cosigned_s)
            return Cosigned(line, growth.log.size, len(growth.leaves))
        case Repeated(again):
            assert piece.sent is not None
            line = cosigner.cosign(piece.sent.submission.note, again.cosigned_s)
            return Cosigned(line, again.size, 0)
        case _:
            return decision
