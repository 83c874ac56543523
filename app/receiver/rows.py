"""Rows of a store as the objects they stand for; both databases have the same columns.

Rule: pure; the lists of columns stand here once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.ledger.heads import LogHead
from app.ledger.merkle import Frontier
from app.receiver.kept import KeptLog
from app.receiver.parties import Charge, Enrolment, FlatRow

ENROLMENT = "id, name, sha256, vkey, created, removed"
LOG = (
    "k, enrolment, name, keys, frontier, checkpoint, cosigned, cum, requests, tok_in, tok_out, dur_us, e_uj,"
    " EXISTS (SELECT 1 FROM charge WHERE charge.enrolment = log.enrolment AND charge.log = log.name AND NOT proof)"
)
PROOFS = (
    "(SELECT count(*) FROM charge WHERE charge.enrolment = log.enrolment AND charge.log = log.name AND proof)"
)
CHARGE = (
    "enrolment, log, at, code, sentence, seq, proof, held_note, held_cosigned, held_body, shown_note, shown_body,"
    " n"
)
FLAT = "enrolment, id, received, genuine, cost, body"


def enrolment_of(row: Sequence[Any]) -> Enrolment:
    """From the columns ENROLMENT."""
    identity, name, sha256, vkey, created, removed = row
    return Enrolment(identity, name, bytes(sha256), vkey, created, removed)


def log_of(row: Sequence[Any]) -> KeptLog:
    """From the columns LOG; ValueError where the tree's edge is none."""
    k, enrolment, name, keys, frontier, checkpoint, cosigned, *counted, suspected = row
    head = LogHead(k, name, Frontier.from_bytes(bytes(frontier)))
    head.checkpoint = checkpoint
    head.cum, head.requests, head.tok_in, head.tok_out, head.dur_us, head.e_uj = counted
    ranges = (line.split(" ", 1) for line in keys.split("\n"))
    return KeptLog(
        enrolment, head, tuple((int(first), vkey) for first, vkey in ranges), cosigned, bool(suspected)
    )


def keys_text(log: KeptLog) -> str:
    """The column `keys`: a line for each."""
    return "\n".join(f"{first} {vkey}" for first, vkey in log.keys)


def charge_of(row: Sequence[Any]) -> Charge:
    """From the columns CHARGE."""
    enrolment, log, at, code, sentence, seq, proof, held, cosigned, held_body, shown, shown_body, n = row
    return Charge(
        enrolment, log, at, code, sentence, seq, bool(proof), held, cosigned, bytes(held_body), shown,
        bytes(shown_body), n,
    )  # fmt: skip


def flat_of(row: Sequence[Any]) -> FlatRow:
    """From the columns FLAT."""
    enrolment, identity, received, genuine, cost, body = row
    return FlatRow(
        enrolment, identity, received, None if genuine is None else bool(genuine), int(cost), bytes(body)
    )
