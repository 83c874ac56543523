"""Our copy of a client's log held against its receiver's: asked over the guarded way on which deliveries go out.

Rule: it changes nothing on either side; an old key of ours is believed as far as our own records pass it on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol
from urllib.parse import quote

from app.gateway.delivery.outgoing import NoAnswer, Outgoing
from app.gateway.delivery.pushing import NoSecret
from app.ledger.checkpoint import VerifierKey
from app.ledger.comparing import Comparison, Holder, LogCopy, compare
from app.ledger.copies import AskedCopy, LeavesCopy, LedgerCopy, Provable
from app.ledger.cosignature import CosignerKey
from app.ledger.delivery import DeliveryRow
from app.ledger.drafts import GenesisDraft, RotationDraft
from app.ledger.errors import BadProof
from app.ledger.records import decode
from app.ledger.signing_keys import SigningKeys

AT_ONCE = 256
ALL_MAX_B = 1 << 30
"""So much is fetched where every record is to be compared; an answer to one question is much smaller."""
ANSWER_MAX_B = 16 << 20
Entries = Callable[[str, int, int], Awaitable[Sequence[bytes]]]
"""(log, from, limit) -> records as they were hashed; none from the log's end on."""


class ComparedLedger(Provable, Protocol):
    """A ledger of ours, as far as it is compared and its keys are read."""

    async def entries(self, log_id: str, from_seq: int, limit: int) -> tuple[bytes, ...]:
        """See `Readings.entries`."""


async def keys_of(log: str, vkey: str, entries: Entries) -> SigningKeys:
    """The keys of our own log, whose newest one is `vkey`. All of it is read only where its first key is another."""
    newest = VerifierKey.parse(vkey)
    draft = decode((await entries(log, 0, 1))[0]).draft
    if not isinstance(draft, GenesisDraft) or draft.vkey == vkey:
        return SigningKeys(log, newest)
    keys, at = SigningKeys(log, VerifierKey.parse(draft.vkey)), 1
    while part := await entries(log, at, AT_ONCE):
        for seq, body in enumerate(part, at):
            if b'"kind":"rotation"' in body:
                rotation = decode(body).draft
                if isinstance(rotation, RotationDraft):
                    keys.follow(seq, rotation)
        at += len(part)
    return keys


async def reconcile(
    ledger: ComparedLedger,
    vkey: str,
    row: DeliveryRow,
    outgoing: Outgoing,
    credentials: Callable[[], Awaitable[dict[str, str]]],
    *,
    every_record: bool = False,
) -> Comparison:
    """Compare our log with the copy of the receiver of `row`. `vkey` is our key, `credentials` names us there.

    `every_record`: fetch all and compare them one by one, so that a copy whose records are not those that its own
    hashes say is found too. Raises BadProof where the receiver does not answer with what can be compared, LedgerError.
    """

    async def fetch(path: str) -> tuple[int, bytes]:
        most_b = ALL_MAX_B if path.startswith("/ledger/entries") else ANSWER_MAX_B
        try:
            answer = await outgoing.get(row.url + path, await credentials(), most_b=most_b)
        except (NoAnswer, NoSecret) as error:
            raise BadProof(str(error)) from None
        return answer.status, answer.body

    asked = AskedCopy(fetch, f"log={quote(row.log, safe='')}", "receiver")
    theirs: LogCopy = asked
    if every_record and (note := await asked.newest()):
        theirs = LeavesCopy(await asked.leaves(), note)
    keys = await keys_of(row.log, vkey, ledger.entries)
    return await compare(
        row.log,
        LedgerCopy(ledger, row.log),
        theirs,
        keys.verify,
        holder=Holder.GATEWAY,
        cosigner=CosignerKey.parse(row.vkey),
        acked=row.standing.note,
    )
