"""Who sends here, what they sent in the seed's form, and what speaks against them.

Rule: data only; the stores keep it, the server shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.receiver.kept import KeptLog


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A gateway that may send. Of its secret only the SHA-256 is kept; `vkey` is the one key that its logs may begin
    with, empty where any one is taken. Times are seconds since the epoch."""

    id: str
    name: str
    sha256: bytes
    vkey: str
    created_s: int
    removed_s: int | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """What speaks against a gateway: what is held of a log, and what the gateway has signed besides.

    `proof`: the two signed notes contradict each other, whoever reads them; otherwise the records that came with
    `shown_note` do not bear it out, and may have been damaged on their way. `n` is given by the store.
    """

    enrolment: str
    log: str
    at_s: int
    code: str
    sentence: str
    seq: int | None
    proof: bool
    held_note: str
    held_cosigned_s: int
    held_body: bytes
    shown_note: str
    shown_body: bytes
    n: int = 0


@dataclass(frozen=True, slots=True)
class FlatRow:
    """A transaction in the seed's form, as it came: `genuine` is what its hash says, None where no secret is known."""

    enrolment: str
    id: str
    received_s: int
    genuine: bool | None
    cost_pico: int
    body: bytes


class FlatOutcome(StrEnum):
    """What became of one."""

    KEPT = "kept"
    AGAIN = "again"
    DIFFERS = "differs"
    """Another one of the same id is held."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A log as it is listed: when its first and its newest submission came (s since the epoch), and how many charges
    against it are proven."""

    log: KeptLog
    begun_s: int
    heard_s: int
    proofs: int
