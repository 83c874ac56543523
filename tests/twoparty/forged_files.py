"""Somebody without a key in the gateway's file or in the client's copy."""

from __future__ import annotations

import hashlib

from app.ledger.canonical import canonical, parse_canonical
from app.ledger.delivery import Hurry
from app.ledger.findings import Verdict
from app.ledger.ids import id_bytes
from app.ledger.merkle import leaf_hash
from app.ledger.records import encode
from tests.twoparty.client import COSIGNER
from tests.twoparty.garage import LOG
from tests.twoparty.saying import THIEF, Fraud, Said, change, compared, require_said
from tests.twoparty.world import World, require


def place(world: World, where: float) -> int:
    """Some record but the first and the last."""
    return 1 + int(where * (world.client.size - 2))


def edited_file(world: World, where: float) -> None:
    """A record of the gateway's file says something else, and its stored hash goes with it."""
    at = place(world, where)
    made = forged(world.garage.bodies()[at])
    world.garage.close()
    change(
        world.garage.path,
        ("UPDATE record SET body = ?, leaf = ? WHERE seq = ?", made, leaf_hash(made), at),
    )
    require_said(world, Said(gateway=(Verdict.TAMPERED, at), compared=(Verdict.TAMPERED, at)))


def forged(body: bytes) -> bytes:
    """A record that says another time, as well written as any."""
    fields = parse_canonical(body)
    return canonical(fields | {"t0": fields["t0"] - 7 * 86_400_000_000})


def dropped_from_file(world: World, where: float) -> None:
    """A record is gone from the gateway's file."""
    at = place(world, where)
    world.garage.close()
    change(world.garage.path, ("DELETE FROM record WHERE seq = ?", at))
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
    change(
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
    change(world.garage.path, ("UPDATE log SET checkpoint = ?", note.rpartition("\n\n")[0] + "\n\n" + other))
    report = world.garage.audit()
    require(report.verdict is Verdict.UNVERIFIABLE, f"a log that nobody signed is {report.verdict}")
    require(
        world.client.verdict().status == "OK" and not world.client.audit().sentence, "the receiver suffers"
    )


def reordered_file(world: World, where: float) -> None:
    """Two records of the gateway's file have changed places, with all that is stored beside them."""
    at = place(world, where)
    at -= at + 1 >= world.client.size
    ours = world.garage.bodies()
    world.garage.close()
    for seq, body in ((at, ours[at + 1]), (at + 1, ours[at])):
        change(
            world.garage.path,
            ("UPDATE record SET body = ?, leaf = ? WHERE seq = ?", body, leaf_hash(body), seq),
        )
    require_said(world, Said(gateway=(Verdict.TAMPERED, at), compared=(Verdict.TAMPERED, at)))


def totals_in_file(world: World, where: float) -> None:
    """The counters beside the records say less."""
    column = ("cum", "requests", "tok_in", "e_uj")[int(where * 4)]
    world.garage.close()
    change(world.garage.path, (f"UPDATE log SET {column} = {column} - 1",))
    require_said(world, Said(gateway=(Verdict.TAMPERED, None)))


# The client.


def edited_copy(world: World, where: float) -> None:
    """The client changes a record in its own copy, and its stored hash."""
    at = place(world, where)
    made = forged(world.client.bodies()[at])
    change(
        world.client.path,
        ("UPDATE record SET body = ?, leaf = ? WHERE seq = ?", made, leaf_hash(made), at),
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
    at = place(world, where)
    change(world.client.path, ("DELETE FROM record WHERE seq = ?", at))
    audited = world.client.audit()
    require(bool(audited.sentence) and audited.valid == at, f"the audit says {audited}")
    require(world.garage.audit().verdict is Verdict.OK, "the gateway is accused")


def unsigned_copy(world: World, where: float) -> None:
    """The gateway's signature is gone from the client's copy."""
    held = world.client.held
    assert held is not None
    note = held.log.head.checkpoint
    change(
        world.client.path,
        ("UPDATE log SET checkpoint = ?", note.rpartition("\n\n")[0] + "\n\n" + COSIGNER.cosign(note, 1)),
    )
    require(world.client.audit().sentence, "a copy that nobody signed is in order")
    require(world.client.verdict().status == "TAMPERED", f"it is {world.client.verdict()}")
    verdict = compared(world).verdict
    require(verdict is Verdict.UNVERIFIABLE, f"side by side it is {verdict}")
    require(world.garage.audit().verdict is Verdict.OK, "the gateway is accused")


def added_to_copy(world: World, where: float) -> None:
    """The client makes up a record in its own copy, and everything stored with it but the signature."""
    client, size = world.client, world.client.size
    held = client.held
    assert held is not None
    draft, head = world.garage.usage(9), held.log.head
    body = encode(draft, LOG, size, head.cum + 9)
    grown = head.frontier.copy()
    grown.append(leaf_hash(body))
    signature = head.checkpoint.rpartition("\n\n")[2]
    note = THIEF.sign_checkpoint(LOG, size + 1, grown.root()).rpartition("\n\n")[0] + "\n\n" + signature
    change(
        client.path,
        (
            "INSERT INTO record SELECT n + 1, log, seq + 1, t0, ?, kind, received, ?, ? FROM record WHERE seq = ?",
            id_bytes(draft.id), leaf_hash(body), body, size - 1,
        ),
        (
            "UPDATE log SET size = ?, cum = ?, requests = requests + 1, frontier = ?, checkpoint = ?",
            size + 1, head.cum + 9, grown.to_bytes(), note,
        ),
    )  # fmt: skip
    require(client.audit().sentence, "a copy with a record too many is in order")
    require(client.verdict().status == "TAMPERED", f"it is {client.verdict()}")
    verdict = compared(world).verdict
    require(verdict is Verdict.UNVERIFIABLE, f"side by side it is {verdict}")
    # It holds the next record against the gateway, which knows better.
    world.garage.append(world.garage.usage(1))
    world.garage.deliver(Hurry())
    require("disputed" in world.garage.troubles and "fork" not in world.garage.troubles, "it is believed")
    require(world.garage.audit().verdict is Verdict.OK, "the gateway is accused")
    held_up = compared(world)
    require(
        (held_up.verdict, held_up.first) == (Verdict.TAMPERED, size), f"side by side it is {held_up.sentence}"
    )


FORGED_FILES: dict[str, Fraud] = {
    "the gateway's file edited": edited_file,
    "the gateway's file lacks one": dropped_from_file,
    "the gateway's file has one more": added_to_file,
    "the gateway's file reordered": reordered_file,
    "the gateway's file adds up to less": totals_in_file,
    "the gateway's file unsigned": stripped,
    "the client edits": edited_copy,
    "the client drops": dropped_from_copy,
    "the client makes one up": added_to_copy,
    "the client's copy unsigned": unsigned_copy,
}
