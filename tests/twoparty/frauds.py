"""One fraud at the end of an honest story. Here a gateway that has its key writes another history.

What thieves do is in `thefts.py`, what is done to files in `forged_files.py`, what clients do in `denials.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from app.ledger.delivery import Hurry
from app.ledger.drafts import Draft, GenesisDraft, KeyDraft, RotationDraft, UsageDraft
from app.ledger.findings import Verdict
from app.ledger.parties import Client, Key
from app.ledger.records import decode, encode
from app.ledger.sqlite.journal import Journal
from app.ledger.sqlite.membership import CreateClient, CreateKey
from app.ledger.sqlite.reader import Reader
from app.ledger.sqlite.rotation import RotateKey
from app.ledger.sqlite.transaction import Append, Write
from app.receiver.intake import Rejected
from tests.twoparty.client import COSIGNER, PATIENCE_S
from tests.twoparty.denials import DENIALS
from tests.twoparty.forged_files import FORGED_FILES
from tests.twoparty.garage import LOG
from tests.twoparty.saying import ACCUSING, Fraud, Said, require_said, root_of
from tests.twoparty.thefts import THEFTS
from tests.twoparty.world import World, require

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


def _reorder(world: World, drafts: list[Draft], at: int) -> None:
    drafts[at : at + 2] = drafts[at + 1], drafts[at]


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


def rewritten(change: Rewrite) -> Fraud:
    """The gateway rewrites one record that the receiver has, and goes on as if nothing were."""

    def cheat(world: World, where: float) -> None:
        size = world.client.size
        at = 1 + int(where * (size - 2))
        while any(b'"kind":"rotation"' in body for body in world.garage.bodies()[at : at + 2]):
            at -= 1  # the statement of both keys names its place; another record is as good
        if at < 1:
            return
        _rewrite(world, at, change)
        for cost in (5, 6, 7):
            world.garage.append(world.garage.usage(cost))
            world.garage.deliver(Hurry())
        require(world.garage.troubles & {"disputed", "fork"}, "the gateway is not told")
        require_said(world, Said(receiver=ACCUSING, compared=(Verdict.FORK, at)))
        # The receiver looks for itself: it takes all that the gateway shows, from the first record on.
        last = world.push(world.garage.bodies(), world.garage.reader.checkpoint(LOG))
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


def reset(world: World, where: float) -> None:
    """The gateway begins its log anew, under the same name and key, and knows of nothing."""
    garage, vault = world.garage, world.vault
    garage.close()
    garage.path.write_bytes(world.disk.empty_ledger)
    vault.newest = []
    garage._open()
    garage.begin()
    if where < 0.5:
        garage.append(*(garage.usage(cost) for cost in range(1 + int(where * 10))))
    garage.deliver(Hurry())
    require(garage.troubles & {"disputed", "fork"}, "the gateway is not told")
    require_said(world, Said(receiver=("FORK",), compared=(Verdict.FORK, 0)))


# A gateway that signs what cannot be, and takes it back once it is refused.

Spoil = Callable[[World, UsageDraft], tuple[Draft, int]]


def _twice(world: World, last: UsageDraft) -> tuple[Draft, int]:
    return last, last.cost


def _wrong_total(world: World, last: UsageDraft) -> tuple[Draft, int]:
    return world.garage.usage(5), 6


def taken_back(spoil: Spoil, code: str) -> Fraud:
    """One more record that the receiver refuses; `spoil` makes it and says how much the total grows by."""

    def cheat(world: World, where: float) -> None:
        garage, size, cum = world.garage, world.garage.size, world.garage.journal.heads[LOG].cum
        drafts = [decode(body).draft for body in garage.bodies()]
        draft, more = spoil(world, [draft for draft in drafts if isinstance(draft, UsageDraft)][-1])
        bodies = (*garage.bodies(), encode(draft, LOG, size, cum + more))
        note = world.vault.signers[-1].sign_checkpoint(LOG, len(bodies), root_of(bodies))
        for old in (0, size):
            last_said = world.push(bodies[old:], note, old)
            require(
                isinstance(last_said, Rejected) and (last_said.code, last_said.seq) == (code, size),
                f"it says {last_said}",
            )
        require_said(world, Said(receiver=("UNVERIFIABLE",)))
        garage.append(*(garage.usage(cost) for cost in range(1, 2 + int(where * 4))))
        garage.deliver(Hurry())
        require(world.client.size > size, "the honest records are not taken")
        require_said(world, Said(receiver=("FORK",), proven=size))

    return cheat


def unsigned_push(world: World, where: float) -> None:
    """Somebody on the way takes the gateway's signature off, or sends another log's records as this one's."""
    garage, size = world.garage, world.garage.size
    garage.append(garage.usage(3))
    bodies, note = garage.bodies(), garage.reader.checkpoint(LOG)
    last = world.push(bodies[size:], note.rpartition("\n\n")[0] + "\n\n" + COSIGNER.cosign(note, 1), size)
    require(isinstance(last, Rejected) and last.code == "unsigned", f"nobody signed it, and it says {last}")
    require(world.client.verdict().status == "LAGGING", "nobody misses the signature")
    others = encode(garage.usage(4), "gw_sim/c_2", size, 4)
    last = world.push((others,), note, size)
    require(isinstance(last, Rejected) and last.code == "other_log", f"of another log, and it says {last}")
    require(world.client.size == size and not world.client.charges(), "the gateway is charged with it")
    world.settle()
    world.require_agreed()


def silent(world: World, where: float) -> None:
    """The gateway records and sends nothing any more."""
    world.skew_receiver(0)
    world.wait(2 * PATIENCE_S)
    require_said(world, Said(receiver=("LAGGING",)))
    require("Nothing was heard" in world.client.verdict().finding, world.client.verdict().finding)
    world.settle()
    world.require_agreed()


FRAUDS: dict[str, Fraud] = {
    "the gateway edits": rewritten(_edit),
    "the gateway drops": rewritten(_drop),
    "the gateway inserts": rewritten(_insert),
    "the gateway reorders": rewritten(_reorder),
    "the gateway backdates": rewritten(_backdate),
    "the gateway forks": forked,
    "the gateway drops its newest": cut,
    "the gateway resets": reset,
    "the gateway bills twice and takes it back": taken_back(_twice, "doubled"),
    "the gateway adds up wrongly and takes it back": taken_back(_wrong_total, "wrong_total"),
    "the gateway's signature stripped on the way": unsigned_push,
    "the gateway falls silent": silent,
    **THEFTS,
    **FORGED_FILES,
    **DENIALS,
}
