"""A client that says what is not so, and a contributor whose backup is too old."""

from __future__ import annotations

from app.ledger.delivery import Hurry
from app.ledger.findings import Verdict
from app.ledger.merkle import leaf_hash
from tests.twoparty.forged_files import forged
from tests.twoparty.saying import Fraud, Said, change, compared, require_said
from tests.twoparty.world import World, require


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


def denied_all(world: World, where: float) -> None:
    """The client says that it never got anything."""
    world.client.restore(world.disk.empty_copy)
    held = compared(world)
    require((held.verdict, held.first) == (Verdict.ROLLBACK, None), f"side by side it is {held.verdict}")
    require("its own cosignature proves that" in held.sentence, f"it only says: {held.sentence}")
    if not world.wordless:
        world.settle()  # it gets everything again, if it wants it or not
        world.require_agreed()


def contested(world: World, where: float) -> None:
    """The client says that our records are not those that it has, and has nothing to show for it."""
    world.append(1, 2)
    for _ in range(1 + int(where * 3)):
        world.hurry(("denied", 0, 0))
    require(world.garage.troubles & {"disputed"}, "nobody is told")
    require("fork" not in world.garage.troubles, "its word is taken for a proof")
    require(world.garage.life.overdue(world._gateway_us()), "nothing is overdue")
    require_said(world, Said())
    world.settle()
    world.require_agreed()


def boasted(world: World, where: float) -> None:
    """The client says that it has more of our records than we have."""
    world.append(1)
    size = world.garage.size
    for _ in range(1 + int(where * 4)):
        world.hurry(("boast", int(where * 1000), 0))
    require(world.garage.troubles & {"ahead", "disputed"}, "nobody is told")
    require("fork" not in world.garage.troubles, "its word is taken for a proof")
    require(world.garage.size == size, "records came from nowhere")
    require_said(world, Said())
    world.settle()
    world.require_agreed()


def tail_edited(world: World, where: float) -> None:
    """We have lost our newest records, and the client changes those it is asked for."""
    garage, client = world.garage, world.client
    before, newest, size = garage.copied(), list(world.vault.newest), garage.size
    world.append(*range(1, 3 + int(where * 5)))
    garage.deliver(Hurry())
    honest, at = client.copied(), client.size - 1
    made = forged(client.bodies()[at])
    change(client.path, ("UPDATE record SET body = ?, leaf = ? WHERE seq = ?", made, leaf_hash(made), at))
    world.vault.newest = newest
    garage.restore(before)
    for _ in range(3):
        garage.deliver(Hurry())
    require("disputed" in garage.troubles and "fork" not in garage.troubles, "it is believed")
    require(garage.size == size, "a record that we have not signed is put back")
    client.restore(honest)
    world.settle()
    world.require_agreed()


def key_lost(world: World, where: float) -> None:
    """A backup from before the key passed on is put back: what came later cannot be, and nobody has forked."""
    garage, vault = world.garage, world.vault
    before, newest, size = garage.copied(), list(vault.newest), garage.size
    world.append(1)
    world.rotate()
    world.append(*range(1, 2 + int(where * 3)))
    garage.deliver(Hurry())
    world.keep()
    after, remembered, key = garage.copied(), list(vault.newest), vault.signers.pop()
    vault.newest = newest
    garage.restore(before)
    for _ in range(3):
        garage.deliver(Hurry())
    require(not garage.troubles & {"disputed", "fork"}, "it is taken for another's word")
    require(garage.life.standing.trouble == "ahead", "the loss is not said")
    require("older copies, from before the signing key" in garage.said[-1], f"it says {garage.said[-1]}")
    require(garage.size == size, "what it cannot sign is put back")
    require_said(world, Said(compared=(Verdict.ROLLBACK, None)))
    garage.append(garage.usage(5), garage.usage(6))
    garage.deliver(Hurry())
    require(not world.client.charges(), "the gateway is charged with a fork")
    vault.signers.append(key)
    vault.newest = remembered
    garage.restore(after)
    world.settle()
    world.require_agreed()


DENIALS: dict[str, Fraud] = {
    "the client denies": denied,
    "the client denies everything": denied_all,
    "the client contests": contested,
    "the client boasts": boasted,
    "the client edits what was lost": tail_edited,
    "the client withholds receipts": withheld,
    "a backup from before the key": key_lost,
}
