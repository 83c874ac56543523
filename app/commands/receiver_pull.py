"""`receiver pull`: fetch a gateway's records where it cannot send them here, as to a receiver behind a NAT.

Rule: what is fetched is taken as what is sent (see `receiver.intake`): nothing is kept that was not checked. The
gateway is asked with the client's key, as any client may; it works beside a receiver that runs.
"""

from __future__ import annotations

import argparse
from urllib.parse import quote

from app.commands.asking_gateway import asking_gateway
from app.commands.common import CommandError
from app.commands.receiver_ground import ReceiverGround
from app.ledger.checkpoint import parse_checkpoint
from app.ledger.copies import AskedCopy
from app.ledger.cosignature import Cosigner
from app.ledger.errors import BadProof, CheckpointError
from app.receiver.assembly import now_s
from app.receiver.commits import Cosigned, Outcome, Sent, commit
from app.receiver.enrolling import find
from app.receiver.identity import ReceiverIdentity
from app.receiver.intake import Elsewhere, Rejected
from app.receiver.parties import Enrolment
from app.receiver.store import CopyStore
from app.receiver.submission import write_submission

AT_ONCE = 512
"""Records that are fetched and kept together: more than lie between two checkpoints that an old key left behind."""


async def pull_records(place: ReceiverGround, options: argparse.Namespace) -> int:
    """`receiver pull NAME --url URL --key KEY`; the exit status is 1 where what the gateway shows is refused."""
    if not options.url or not options.key:
        raise CommandError("Name the gateway's address with --url, and your key there with --key.")
    if place.settings.vault == "memory":
        raise CommandError("The memory vault keeps no key to cosign with: name another --vault.")
    cosigner = (await ReceiverIdentity.load(await place.vault())).cosigner
    with place.store() as store:
        gateway = _enrolled(store, options.name)
        async with asking_gateway(options.url, options.key, options.fingerprint) as fetch:
            query = f"log={quote(options.log, safe='')}" if options.log else ""
            try:
                return await _Pull(store, gateway, cosigner, AskedCopy(fetch, query, "gateway")).run()
            except BadProof as error:
                raise CommandError(f"Nothing more can be fetched: {error}") from None


def _enrolled(store: CopyStore, name: str | None) -> Enrolment:
    found = find(store, name) if name else None
    if found is None or found.removed_s is not None:
        raise CommandError(
            f"No gateway is enrolled as {name}: `receiver enrol NAME` makes a place for what is fetched."
            if name
            else "receiver pull wants the gateway's name, as you call it."
        )
    return found


class _Pull:
    def __init__(self, store: CopyStore, gateway: Enrolment, cosigner: Cosigner, asked: AskedCopy) -> None:
        self._store = store
        self._gateway = gateway
        self._cosigner = cosigner
        self._asked = asked

    async def run(self) -> int:
        """Fetch until all that the gateway had at the beginning is held."""
        note = await self._asked.newest()
        if not note:
            raise CommandError("The gateway shows no such log.")
        claim = parse_checkpoint(note)[0]
        log, held = claim.origin, self._held(claim.origin)
        before = held
        while held < claim.size:
            part = await self._part(held, min(claim.size, held + AT_ONCE))
            outcome = self._keep(part)
            if not isinstance(outcome, Cosigned):
                return _told(log, outcome)
            held = outcome.size
        # Also where nothing is new: the newest checkpoint is held against ours, and that it was heard is noted.
        outcome = self._keep(write_submission(claim.size, (), note))
        if not isinstance(outcome, Cosigned):
            return _told(log, outcome)
        fresh = f"{held - before} new" if held > before else "nothing new"
        print(f"OK: {log}: {fresh}; {held} records are held, with the gateway's signature over them.")
        return 0

    def _held(self, log: str) -> int:
        return next((each.log.size for each in self._store.logs(self._gateway.id, log)), 0)

    async def _part(self, held: int, size: int) -> bytes:
        note = await self._asked.note_for(held, size)
        try:
            end = parse_checkpoint(note)[0].size
        except CheckpointError as error:
            raise BadProof(f"The checkpoint that the gateway shows is none: {error}.") from None
        leaves = await self._asked.stretch(held, end - held) if held < end <= size else []
        if not leaves or len(leaves) != end - held:
            raise BadProof(f"The gateway does not show the records {held} to {size - 1} that it has signed.")
        return write_submission(held, tuple(leaves), note)

    def _keep(self, body: bytes) -> Outcome:
        (outcome,) = commit(self._store, self._cosigner, [Sent(self._gateway, body)], now_s())
        return outcome


def _told(log: str, outcome: Outcome) -> int:
    match outcome:
        case Rejected():
            print(f"REFUSED: {log}: {outcome.sentence}")
        case Elsewhere(size):
            print(
                f"ROLLBACK: {log}: {size} records are held with the gateway's signature, and it shows fewer:"
                " hold both copies against each other with `receiver reconcile`."
            )
        case _:
            raise CommandError(str(outcome))
    return 1
