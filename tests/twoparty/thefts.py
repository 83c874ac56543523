"""Somebody has stolen a key, or the secret that opens the receiver, and writes in the gateway's name."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

from app.gateway.delivery.outgoing import ReceiverAnswer
from app.gateway.delivery.refilling import TailFetch
from app.ledger.delivery import Contested, Hurry, Refill
from app.ledger.drafts import GenesisDraft
from app.ledger.findings import Verdict
from app.ledger.records import encode
from app.ledger.signing_keys import passed_on
from app.receiver.commits import Cosigned
from app.receiver.intake import Rejected
from tests.twoparty.garage import LOG, NAME, at_once
from tests.twoparty.saying import THIEF, Fraud, Said, compared, require_said, root_of
from tests.twoparty.world import World, require


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
    note = thief.sign_checkpoint(LOG, len(bodies), root_of(bodies))
    last = world.push(bodies, note)
    require(isinstance(last, Rejected) and last.code == "bad_signature", f"a stolen key opens: {last}")
    require(world.client.size == size and not world.client.charges(), "a thief's word counts")
    require("passed on before" in world.client.verdict().finding, f"it says {world.client.verdict().finding}")
    require_said(world, Said(receiver=("LAGGING",)))
    world.settle()  # the gateway goes on, and so it was nothing
    world.require_agreed()


def old_key_over_old_records(world: World, where: float) -> None:
    """The key of before signs another history of what it was good for: whose hand that was no signature tells."""
    key, size = world.vault.signers[-1], world.garage.size
    world.rotate()
    world.append(1, 2)
    world.garage.deliver(Hurry())
    at = size - 1
    bodies = [*world.garage.bodies()[:at], encode(world.garage.usage(3), LOG, at, 3)]
    last = world.push(bodies, key.sign_checkpoint(LOG, size, root_of(bodies)))
    require(isinstance(last, Rejected) and last.proof and last.seq == at, f"it says {last}")
    require_said(world, Said(receiver=("FORK",), proven=at))


def secret(world: World, where: float) -> None:
    """Somebody has found what opens the receiver, and no key of the gateway's."""
    bodies = [encode(GenesisDraft(world.garage.new_id(), world.us, NAME, "Anna", THIEF.vkey), LOG, 0, 0)]
    for seq in range(1, 2 + int(where * 2 * world.client.size)):
        bodies.append(encode(world.garage.usage(1), LOG, seq, seq))
    size = world.client.size
    for old in {0, min(size, len(bodies) - 1)}:
        note = THIEF.sign_checkpoint(LOG, len(bodies), root_of(bodies))
        last = world.push(bodies[old:], note, old)
        require(isinstance(last, Rejected) and last.code == "unsigned", f"a stranger's word opens: {last}")
    require(world.client.size == size, "a stranger's records are kept")
    require_said(world, Said(receiver=("LAGGING",)))
    world.settle()  # the gateway goes on, and so it was nothing
    world.require_agreed()


def _ahead(world: World, records: int) -> list[bytes]:
    """The log with records that a thief with the newest key has made up; the receiver takes them for the gateway's."""
    bodies, cum = list(world.garage.bodies()), world.garage.journal.heads[LOG].cum
    for cost in range(1, 1 + records):
        cum += cost
        bodies.append(encode(world.garage.usage(cost), LOG, len(bodies), cum))
    return bodies


def key(world: World, where: float) -> None:
    """Somebody has found the key that is in use, and is quicker than the gateway."""
    at = world.garage.size
    bodies = _ahead(world, 1 + int(where * 4))
    last = world.push(
        bodies[at:], world.vault.signers[-1].sign_checkpoint(LOG, len(bodies), root_of(bodies)), at
    )
    require(isinstance(last, Cosigned), f"it is not to be told from the gateway, and it says {last}")
    for cost in range(7):
        world.garage.append(world.garage.usage(50 + cost))
        world.garage.deliver(Hurry())
    require(world.garage.troubles & {"disputed", "fork"}, "the gateway is not told")
    require_said(world, Said(receiver=("FORK",), compared=(Verdict.FORK, at)))


class _Accomplice:
    """A receiver that shows these records and this note."""

    def __init__(self, bodies: Sequence[bytes], note: str) -> None:
        self._bodies = bodies
        self._note = note

    async def get(self, url: str, headers: object, *, most_b: int = 0) -> ReceiverAnswer:
        """See `Outgoing.get`."""
        asked = parse_qs(urlsplit(url).query)
        body = self._note.encode()
        if "from" in asked:
            begin, limit = int(asked["from"][0]), int(asked["limit"][0])
            body = b"".join(leaf + b"\n" for leaf in self._bodies[begin : begin + limit])
        return ReceiverAnswer(200, body, None, "receiver:80")


def key_passed_on(world: World, where: float) -> None:
    """The same, and the thief passes the log on to a key of his own: the gateway can sign nothing there any more."""
    at, stolen = world.garage.size, world.vault.signers[-1]
    record = passed_on(world.garage.new_id(), world.us, LOG, at, stolen, THIEF)
    bodies = [*world.garage.bodies(), encode(record, LOG, at, world.garage.journal.heads[LOG].cum)]
    accomplice = _Accomplice(bodies, stolen.sign_checkpoint(LOG, len(bodies), root_of(bodies)))
    shown = TailFetch(world.garage, accomplice, LOG, "http://receiver", world.garage._pusher.credentials)  # type: ignore[arg-type]
    event = at_once(shown.refill(Refill(at, len(bodies))))
    require(
        isinstance(event, Contested) and "not ours" in event.sentence, f"of a lost tail it is said: {event}"
    )
    last = world.push(bodies[at:], THIEF.sign_checkpoint(LOG, len(bodies), root_of(bodies)), at)
    require(isinstance(last, Cosigned), f"it is not to be told from the gateway, and it says {last}")
    world.garage.append(world.garage.usage(5), world.garage.usage(6))
    world.garage.deliver(Hurry())
    require("disputed" in world.garage.troubles, "the gateway is not told")
    require(world.garage.size == at + 2, "a thief's record is in the gateway's log")
    require("passed on before" in world.client.verdict().finding, f"it says {world.client.verdict().finding}")
    held = compared(world)
    require(held.verdict is not Verdict.OK and held.first == at, f"side by side it is {held}")


THEFTS: dict[str, Fraud] = {
    "a stolen old key": old_key,
    "a stolen old key over old records": old_key_over_old_records,
    "a stolen secret": secret,
    "a stolen key": key,
    "a stolen key passes on": key_passed_on,
}
