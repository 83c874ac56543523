"""One submission within a transaction of the store: decided, and kept or held against the gateway.

Rule 1: whatever is decided and what is kept of it become durable together. Rule 2: what speaks against a gateway is
kept with both signed notes; where the records may only have been damaged on their way, it is a suspicion, and the next
submission that is accepted says which it was.
"""

from __future__ import annotations

from dataclasses import replace

from app.ledger.checkpoint import parse_checkpoint
from app.receiver.intake import Accepted, Decision, Prepared, Rejected, Repeated, decide
from app.receiver.kept import KeptLog
from app.receiver.parties import Charge, Enrolment
from app.receiver.store import LOGS_AN_ENROLMENT, IntakeWork, LogName


def log_name(enrolment: Enrolment, sent: Prepared) -> LogName:
    """The log that a submission is of."""
    return LogName(enrolment.id, sent.submission.claim.origin)


def take(work: IntakeWork, sent: Prepared, enrolment: Enrolment, now_s: int) -> Decision:
    """Decide about what was `sent`, which came from the gateway `enrolment` at `now_s` (seconds since the epoch).

    Where it is Accepted or Repeated, its checkpoint may be cosigned once the transaction is durable. Raises StoreFault.
    """
    log = work.logs.get(log_name(enrolment, sent))
    held = work.held(log)
    decision = decide(sent, log, held, enrolment=enrolment.id, vkey=enrolment.vkey, now_s=now_s)
    match decision:
        case Accepted(growth):
            if log is None and work.count_logs(enrolment.id) >= LOGS_AN_ENROLMENT:
                return Rejected(
                    "too_many_logs",
                    f"At most {LOGS_AN_ENROLMENT} logs are kept of one gateway, and there are so many.",
                )
            work.keep(growth, now_s)
            if growth.log.suspected:
                _settle(work, growth.log)
        case Repeated(again):
            work.heard(again, now_s)
        case Rejected() if log is not None and (decision.proof or decision.suspect):
            body = b"" if decision.seq is None or decision.seq >= log.size else held.body(decision.seq)
            work.charge(
                Charge(
                    enrolment.id,
                    log.name,
                    now_s,
                    decision.code,
                    decision.sentence,
                    decision.seq,
                    decision.proof,
                    log.head.checkpoint,
                    log.cosigned_s,
                    body,
                    sent.submission.note,
                    decision.shown,
                )
            )
            if decision.proof:
                return replace(decision, held=log.head.checkpoint)
        case _:
            pass
    return decision


def _settle(work: IntakeWork, log: KeptLog) -> None:
    """The log has grown: what it was suspected of has been proven by that, or was nothing."""
    for charge in work.suspicions(log):
        claim, _ = parse_checkpoint(charge.shown_note)
        if claim.size <= log.size:
            work.settle(charge, proven=work.held(log).frontier(claim.size).root() != claim.root)
