"""What is to be said of a log that is held, and of all of them.

Rule: pure. From good to bad: OK, LAGGING (nothing was heard for too long, or what came last was refused), UNVERIFIABLE
(something was signed that could not be checked), TAMPERED (what is held is not what was signed), FORK (the gateway has
signed two histories).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.ledger.checkpoint import VerifierKey
from app.ledger.errors import CheckpointError, RecordError
from app.ledger.records import decode
from app.ledger.signing_keys import SigningKeys
from app.receiver.parties import Listed

STATUSES = ("OK", "LAGGING", "UNVERIFIABLE", "TAMPERED", "FORK")


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """`told_pico` is what the newest record says that all cost; `finding` is a sentence, empty where all is well."""

    status: str
    finding: str
    told_pico: int


def judge(listed: Listed, newest: bytes, now_s: int, silence_s: int) -> LogVerdict:
    """A log whose newest record is `newest`, at `now_s`; a gateway may be silent for `silence_s`."""
    log, head = listed.log, listed.log.head
    told_pico = 0
    wrong = ""
    try:
        keys = SigningKeys.known(log.name, [(first, VerifierKey.parse(vkey)) for first, vkey in log.keys])
        claim = keys.verify(head.checkpoint)
        record = decode(newest)
        told_pico = record.cum_pico
        if (claim.size, claim.root) != (head.size, head.frontier.root()):
            wrong = "its newest checkpoint is of another state than the one that is held"
        elif (record.seq, record.cum_pico) != (head.size - 1, head.cum):
            wrong = "its newest record is not the one that was counted last"
    except CheckpointError as error:
        wrong = str(error)
    except RecordError as error:
        wrong = f"its newest record cannot be read: {error}"
    if listed.proofs:
        sentence = f"The gateway has signed two histories of {log.name}, and both signatures are held."
        return LogVerdict("FORK", sentence, told_pico)
    if wrong:
        return LogVerdict("TAMPERED", f"The copy of {log.name} is not as it was signed: {wrong}.", told_pico)
    if log.suspected:
        sentence = (
            f"The gateway has signed a checkpoint of {log.name} that the records it sent do not bear out."
        )
        return LogVerdict("UNVERIFIABLE", sentence, told_pico)
    if now_s - listed.heard_s > silence_s:
        sentence = f"Nothing was heard of {log.name} for {(now_s - listed.heard_s) // 3600} hours."
        return LogVerdict("LAGGING", sentence, told_pico)
    return LogVerdict("OK", "", told_pico)


def gravest(statuses: Iterable[str], invalid_hashes: int) -> str:
    """The verdict over all; a hash that does not hold is as grave as a record that does not."""
    worst = max(statuses, key=STATUSES.index, default="OK")
    return max(worst, "TAMPERED", key=STATUSES.index) if invalid_hashes else worst
