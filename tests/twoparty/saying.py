"""What is said of a fraud: who is accused of what, and of which record. Nobody else is.

Four look: the gateway audits its file, the receiver audits its copy and says what it thinks of the gateway, and both
copies are held against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from app.ledger.checkpoint import Signer
from app.ledger.comparing import Comparison, Holder, compare
from app.ledger.copies import LeavesCopy
from app.ledger.drafts import RotationDraft
from app.ledger.findings import Verdict
from app.ledger.merkle import Frontier, leaf_hash
from app.ledger.records import decode
from app.ledger.signing_keys import SigningKeys
from tests.twoparty.client import COSIGNER
from tests.twoparty.garage import LOG, NAME, at_once
from tests.twoparty.world import World, require

THIEF = Signer(bytes(31) + b"t", NAME)
"""Somebody who has the gateway's name, and not its key."""
Fraud = Callable[[World, float], None]
"""Does it in a world, at a place between 0 and 1, and Broken unless it is reported for what it is."""
ACCUSING = ("LAGGING", "UNVERIFIABLE", "FORK")
"""What a receiver may say of a gateway that shows another history: what came was refused, its signature is on what does
not follow, or it has proven itself guilty."""


@dataclass(frozen=True)
class Said:
    """What the four say. A number is that of the first bad record."""

    gateway: tuple[Verdict, int | None] = (Verdict.OK, None)
    copy: int | None = None
    receiver: tuple[str, ...] = ("OK",)
    compared: tuple[Verdict, int | None] = (Verdict.OK, None)
    proven: int | None = None
    """Which record the receiver's proofs are of, where both copies hold the same."""


def require_said(world: World, expected: Said) -> None:
    """Exactly that is said, and nothing else."""
    report = world.garage.audit()
    found = report.findings[0] if report.findings else None
    gateway = report.verdict, None if found is None else found.seq
    require(gateway == expected.gateway, f"the gateway says {gateway} and should say {expected.gateway}")
    audited = world.client.audit()
    copy = audited.valid if audited.sentence else None
    require(
        copy == expected.copy, f"the audit of the copy says {copy}, not {expected.copy}: {audited.sentence}"
    )
    status = world.client.verdict().status
    require(status in expected.receiver, f"the receiver says {status}, and not one of {expected.receiver}")
    held = compared(world)
    seen = held.verdict, held.first
    require(seen == expected.compared, f"side by side it is {seen}, not {expected.compared}: {held.sentence}")
    at = expected.compared[1] if expected.proven is None else expected.proven
    for charge in world.client.charges():
        if charge.proof and charge.seq is not None:
            require(charge.seq == at, f"the proof is of record {charge.seq}, not of {at}")


def compared(world: World) -> Comparison:
    """Both copies as they lie in their files, re-hashed, seen by whoever holds the gateway's."""
    garage, client = world.garage, world.client
    held, theirs, cosigned = client.held, [], ""
    if held is not None:
        note = held.log.head.checkpoint
        cosigned = note + COSIGNER.cosign(note, held.log.cosigned_s)
        theirs = rows(client.path, "SELECT body FROM record WHERE log = ? ORDER BY seq", held.log.head.k)
    ours = rows(world.garage.path, "SELECT body FROM record WHERE log = 1 ORDER BY seq")
    (our_note,) = rows(garage.path, "SELECT checkpoint FROM log WHERE name = ?", LOG)
    keys = SigningKeys(LOG, world.vault.signers[0].verifier)
    for seq, body in enumerate(client.bodies() or ours):
        if b'"kind":"rotation"' in body:
            draft = decode(body).draft
            assert isinstance(draft, RotationDraft)
            keys.follow(seq, draft)
    return at_once(
        compare(
            LOG,
            FileCopy(ours, our_note),
            FileCopy(theirs, cosigned),
            keys.verify,
            holder=Holder.GATEWAY,
            cosigner=COSIGNER.verifier,
            acked=garage.life.standing.note,
        )
    )


class FileCopy(LeavesCopy):
    """A file as it is: where records are gone, what is left closes up."""

    def __init__(self, leaves: list[bytes], note: str) -> None:
        super().__init__(leaves, note)
        self._count = len(leaves)

    async def newest(self) -> str:
        return self._note


def rows(path: object, query: str, *values: object) -> list[Any]:
    """The first column of what a database browser shows of a file."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [value for (value,) in connection.execute(query, values)]
    finally:
        connection.close()


def change(path: object, *statements: tuple[object, ...]) -> None:
    """What somebody does to a file with any database browser."""
    connection = apsw.Connection(str(path))
    try:
        with connection:
            for sql, *values in statements:
                connection.execute(str(sql), values)
    finally:
        connection.close()


def root_of(bodies: Sequence[bytes]) -> bytes:
    """What a checkpoint over these records is of."""
    tree = Frontier()
    for body in bodies:
        tree.append(leaf_hash(body))
    return tree.root()
