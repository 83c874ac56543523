"""One fraud at the end of an honest story: who is accused of what, and of which record. Nobody else is.

Four look: the gateway audits its file, the receiver audits its copy and says what it thinks of the gateway, and both
copies are held against each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import apsw

from app.ledger.canonical import canonical, parse_canonical
from app.ledger.comparing import Comparison, Holder, compare
from app.ledger.copies import LeavesCopy
from app.ledger.delivery import Hurry
from app.ledger.drafts import Draft, GenesisDraft, KeyDraft, RotationDraft, UsageDraft
from app.ledger.findings import Verdict
from app.ledger.merkle import leaf_hash
from app.ledger.parties import Client, Key
from app.ledger.records import decode, encode
from app.ledger.signing_keys import SigningKeys
from app.ledger.sqlite.journal import Journal
from app.ledger.sqlite.membership import CreateClient, CreateKey
from app.ledger.sqlite.reader import Reader
from app.ledger.sqlite.rotation import RotateKey
from app.ledger.sqlite.transaction import Append, Write
from app.receiver.intake import Rejected
from app.receiver.submission import write_submission
from tests.twoparty.client import COSIGNER
from tests.twoparty.garage import LOG, at_once
from tests.twoparty.world import World, require

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
    for charge in world.client.charges():
        if charge.proof and charge.seq is not None:
            require(charge.seq == expected.compared[1], f"the proof is of record {charge.seq}")


def compared(world: World) -> Comparison:
    """Both copies as they lie in their files, re-hashed, seen by whoever holds the gateway's."""
    garage, client = world.garage, world.client
    held = client.held
    assert held is not None
    note = held.log.head.checkpoint
    cosigned = note + COSIGNER.cosign(note, held.log.cosigned_s)
    ours = _rows(world.garage.path, "SELECT body FROM record WHERE log = 1 ORDER BY seq")
    (our_note,) = _rows(garage.path, "SELECT checkpoint FROM log WHERE name = ?", LOG)
    theirs = _rows(client.path, "SELECT body FROM record WHERE log = ? ORDER BY seq", held.log.head.k)
    keys = SigningKeys(LOG, world.vault.signers[0].verifier)
    for seq, body in enumerate(client.bodies()):
        if b'"kind":"rotation"' in body:
            draft = decode(body).draft
            assert isinstance(draft, RotationDraft)
            keys.follow(seq, draft)
    return at_once(
        compare(
            LOG,
            _Rows(ours, our_note),
            _Rows(theirs, cosigned),
            keys.verify,
            holder=Holder.GATEWAY,
            cosigner=COSIGNER.verifier,
            acked=garage.life.standing.note,
        )
    )


class _Rows(LeavesCopy):
    """A file as it is: where records are gone, what is left closes up."""

    def __init__(self, leaves: list[bytes], note: str) -> None:
        super().__init__(leaves, note)
        self._count = len(leaves)

    async def newest(self) -> str:
        return self._note


def _rows(path: object, query: str, *values: object) -> list[object]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [value for (value,) in connection.execute(query, values)]
    finally:
        connection.close()


def _change(path: object, *statements: tuple[object, ...]) -> None:
    """What somebody does to a file with any database browser."""
    connection = apsw.Connection(str(path))
    try:
        with connection:
            for sql, *values in statements:
                connection.execute(str(sql), values)
    finally:
        connection.close()


# A gateway that has its key and writes another history.

Rewrite = Callable[[World, list[Draft], int], None]


def _edit(world: World, drafts: list[Draft], at: int) -> None:
    draft = drafts[at]
    drafts[at] = replace(draft, t0=draft.t0 + 1) if not isinstance(draft, UsageDraft) else replace(
        draft, cost=draft.cost + 1
    )  # fmt: skip


def _drop(world: World, drafts: list[Draft], at: int) -> None:
    del drafts[at]


def _insert(world: World, drafts: list[Draft], at: int) -> None:
    drafts.insert(at, world.garage.usage(77))


def _backdate(world: World, drafts: list[Draft], at: int) -> None:
    draft = drafts[at]
    drafts[at] = replace(draft, t0=draft.t0 - 7 * 86_400_000_000)


def _rewrite(world: World, at: int, change: Rewrite) -> None:
    """The same log with other records, every total and every signature made anew."""
    garage, vault = world.garage, world.vault
    drafts = [decode(body).draft for body in garage.bodies()]
    change(world, drafts, at)
    standing = garage.life.standing
    garage.close()
    garage.path.write_bytes(world.disk.empty_ledger)
    vault.newest = []
    journal, signers = Journal(garage.path, vault.signers[0]), iter(vault.signers)
    signer = next(signers)
    for draft in drafts:
        operation: Write
        match draft:
            case GenesisDraft():
                operation = CreateClient(Client("c_1", "Anna", LOG, draft.t0), draft, None)  # type: ignore[arg-type]
            case KeyDraft():
                operation = CreateKey(Key.recorded(draft, "c_1"), draft.id, None)  # type: ignore[arg-type]
            case RotationDraft():
                old, signer = signer, next(signers)
                made = draft
                operation = RotateKey(
                    old, signer, made.t0, lambda made=made: made.id, Reader(garage.path, old), None
                )
            case _:
                operation = Append(LOG, draft, None, None)
        journal.commit([operation])
    journal.close()
    garage._open()
    garage.life.standing = standing


def rewritten(change: Rewrite) -> Callable[[World, float], None]:
    """The gateway rewrites one record that the receiver has, and goes on as if nothing were."""

    def cheat(world: World, where: float) -> None:
        size = world.client.size
        at = 1 + int(where * (size - 2))
        while isinstance(decode(world.garage.bodies()[at]).draft, RotationDraft):
            at -= 1  # the statement of both keys names its place; another record is as good
        if not at:
            return
        _rewrite(world, at, change)
        for cost in (5, 6, 7):
            world.garage.append(world.garage.usage(cost))
            world.garage.deliver(Hurry())
        require(world.garage.troubles & {"disputed", "fork"}, "the gateway is not told")
        require_said(world, Said(receiver=ACCUSING, compared=(Verdict.FORK, at)))
        # The receiver looks for itself: it takes all that the gateway shows, from the first record on.
        notes = world.garage.reader.checkpoint(LOG)
        world.client.answer("POST", "/ledger", write_submission(0, world.garage.bodies(), notes))
        last = world.client.outcomes[-1]
        require(
            isinstance(last, Rejected) and last.proof and last.seq == at,
            f"no proof of the fork at {at}: {last}",
        )
        require_said(world, Said(receiver=("FORK",), compared=(Verdict.FORK, at)))

    return cheat


def forked(world: World, where: float) -> None:
    """Two copies of one gateway, each of which goes on by itself."""
    at, twin, newest = world.garage.size, world.garage.copied(), list(world.vault.newest)
    more = 1 + int(where * 4)
    world.append(*range(1, 1 + more))
    world.garage.deliver(Hurry())
    require(world.client.size == at + more, "the first copy is not delivered")
    world.vault.newest = newest
    world.garage.restore(twin)
    for cost in range(7 + more):
        world.garage.append(world.garage.usage(100 + cost))
        world.garage.deliver(Hurry())
    require(world.garage.troubles & {"disputed", "fork"}, "the second copy is not told")
    require_said(world, Said(receiver=ACCUSING, compared=(Verdict.FORK, at)))


def cut(world: World, where: float) -> None:
    """The gateway drops its newest records, which the receiver has, and records other ones in their place."""
    at = max(1, world.client.size - 1 - int(where * 3))

    def drop_tail(world: World, drafts: list[Draft], at: int) -> None:
        if not any(isinstance(draft, RotationDraft) for draft in drafts[at:]):
            del drafts[at:]

    before = world.garage.size
    _rewrite(world, at, drop_tail)
    if world.garage.size == before:
        return
    world.garage.append(*(world.garage.usage(cost) for cost in range(before - at + 2)))
    world.garage.deliver(Hurry())
    require(world.garage.troubles & {"disputed", "fork"}, "the gateway is not told")
    require_said(world, Said(receiver=ACCUSING, compared=(Verdict.FORK, at)))


def old_key(world: World, where: float) -> None:
    """Somebody has found the key of before, and a copy of the log from then."""
    bodies, cum = list(world.garage.bodies()), world.garage.journal.heads[LOG].cum
    thief = world.vault.signers[-1]
    world.rotate()
    world.append(1, 2)
    world.garage.deliver(Hurry())
    size = world.client.size
    for cost in range(1, 5 + int(where * 5)):
        cum += cost
        bodies.append(encode(world.garage.usage(cost), LOG, len(bodies), cum))
    tree = world.garage.frontier(LOG).__class__()
    for body in bodies:
        tree.append(leaf_hash(body))
    note = thief.sign_checkpoint(LOG, len(bodies), tree.root())
    world.client.answer("POST", "/ledger", write_submission(0, tuple(bodies), note))
    last = world.client.outcomes[-1]
    require(isinstance(last, Rejected) and last.code == "bad_signature", f"a stolen key opens: {last}")
    require(world.client.size == size and not world.client.charges(), "a thief's word counts")
    require("passed on before" in world.client.verdict().finding, f"it says {world.client.verdict().finding}")
    require_said(world, Said(receiver=("LAGGING",)))
    world.settle()  # the gateway goes on, and so it was nothing
    world.require_agreed()


# Somebody without a key, in the gateway's file.


def _place(world: World, where: float) -> int:
    return 1 + int(where * (world.client.size - 2))


def edited_file(world: World, where: float) -> None:
    """A record of the gateway's file says something else, and its stored hash goes with it."""
    at = _place(world, where)
    forged = _forged(world.garage.bodies()[at])
    world.garage.close()
    _change(
        world.garage.path,
        ("UPDATE record SET body = ?, leaf = ? WHERE seq = ?", forged, leaf_hash(forged), at),
    )
    require_said(world, Said(gateway=(Verdict.TAMPERED, at), compared=(Verdict.TAMPERED, at)))


def _forged(body: bytes) -> bytes:
    fields = parse_canonical(body)
    return canonical(fields | {"t0": fields["t0"] - 7 * 86_400_000_000})


def dropped_from_file(world: World, where: float) -> None:
    """A record is gone from the gateway's file."""
    at = _place(world, where)
    world.garage.close()
    _change(world.garage.path, ("DELETE FROM record WHERE seq = ?", at))
    report = world.garage.audit()
    found = report.verdict, report.findings[0].seq
    require(found == (Verdict.TAMPERED, at), f"the gateway says {found}, and record {at} is gone")
    require(
        world.client.verdict().status == "OK" and not world.client.audit().sentence, "the receiver suffers"
    )


def added_to_file(world: World, where: float) -> None:
    """A record more is in the gateway's file."""
    size, head = world.garage.size, world.garage.journal.heads[LOG]
    body = encode(world.garage.usage(9), LOG, size, head.cum + 9)
    world.garage.close()
    _change(
        world.garage.path,
        (
            "INSERT INTO record SELECT n + 1, log, seq + 1, t0, ?, find, ?, ? FROM record WHERE seq = ?",
            hashlib.sha256(body).digest()[:16], leaf_hash(body), body, size - 1,
        ),
    )  # fmt: skip
    report = world.garage.audit()
    require(report.verdict is Verdict.TAMPERED, f"a record that was put in is {report.verdict}")
    require(report.findings[0].seq == size, f"record {report.findings[0].seq} is named, and it is {size}")
    require(
        world.client.verdict().status == "OK" and not world.client.audit().sentence, "the receiver suffers"
    )


def stripped(world: World, where: float) -> None:
    """The signature is gone from the gateway's newest checkpoint."""
    note = world.garage.reader.checkpoint(LOG)
    other = COSIGNER.cosign(note, 1)  # somebody else's is none of ours
    world.garage.close()
    _change(world.garage.path, ("UPDATE log SET checkpoint = ?", note.rpartition("\n\n")[0] + "\n\n" + other))
    report = world.garage.audit()
    require(report.verdict is Verdict.UNVERIFIABLE, f"a log that nobody signed is {report.verdict}")
    require(
        world.client.verdict().status == "OK" and not world.client.audit().sentence, "the receiver suffers"
    )


# The client.


def edited_copy(world: World, where: float) -> None:
    """The client changes a record in its own copy, and its stored hash."""
    at = _place(world, where)
    forged = _forged(world.client.bodies()[at])
    _change(
        world.client.path,
        ("UPDATE record SET body = ?, leaf = ? WHERE seq = ?", forged, leaf_hash(forged), at),
    )
    # The audit of its owner cannot say which of the records before the signature it is; whoever has the other copy can.
    audited = world.client.audit()
    require(audited.sentence, "a changed copy is in order")
    held = compared(world)
    require(
        (held.verdict, held.first) == (Verdict.TAMPERED, at), f"it is {held.verdict}, {held.first}, not {at}"
    )
    require(world.garage.audit().verdict is Verdict.OK, "the gateway is accused")


def dropped_from_copy(world: World, where: float) -> None:
    """The client drops a record from its own copy."""
    at = _place(world, where)
    _change(world.client.path, ("DELETE FROM record WHERE seq = ?", at))
    audited = world.client.audit()
    require(bool(audited.sentence) and audited.valid == at, f"the audit says {audited}")
    require(world.garage.audit().verdict is Verdict.OK, "the gateway is accused")


def denied(world: World, where: float) -> None:
    """The client shows an older copy, without the newest records that it has cosigned."""
    older, size = world.client.copied(), world.client.size
    world.append(*range(1, 2 + int(where * 4)))
    world.garage.deliver(Hurry())
    require(world.garage.life.standing.acked > size, "nothing was acknowledged")
    world.client.restore(older)
    require_said(world, Said(compared=(Verdict.ROLLBACK, None)))
    held = compared(world)
    require("its own cosignature proves that" in held.sentence, f"it only says: {held.sentence}")


def withheld(world: World, where: float) -> None:
    """The client takes records and gives no receipt."""
    world.withhold(True)
    world.append(1, 2, 3)
    world.garage.deliver(Hurry())
    require(not world.garage.life.overdue(world._gateway_us()), "it is overdue at once")
    world.wait(601)
    world.garage.deliver(Hurry())
    require(world.garage.life.overdue(world._gateway_us()), "nobody misses the receipts")
    require("did not cosign" in world.garage.life.standing.said, world.garage.life.standing.said)
    require(not world.client.charges(), "the gateway is accused")
    world.settle()
    world.require_agreed()


FRAUDS: dict[str, Callable[[World, float], None]] = {
    "the gateway edits": rewritten(_edit),
    "the gateway drops": rewritten(_drop),
    "the gateway inserts": rewritten(_insert),
    "the gateway backdates": rewritten(_backdate),
    "the gateway forks": forked,
    "the gateway drops its newest": cut,
    "a stolen old key": old_key,
    "the gateway's file edited": edited_file,
    "the gateway's file lacks one": dropped_from_file,
    "the gateway's file has one more": added_to_file,
    "the gateway's file unsigned": stripped,
    "the client edits": edited_copy,
    "the client drops": dropped_from_copy,
    "the client denies": denied,
    "the client withholds receipts": withheld,
}
