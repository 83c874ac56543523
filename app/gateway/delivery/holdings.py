"""What a client's receiver holds of a log of ours, as it shows it: its newest checkpoint, and records.

Rule 1: nothing that it shows is believed here but our own signature. Rule 2: a key that is not known here is ours all
the same where the records behind ours lead to it: each record that passes the key on is signed by the key before, so
nobody else can have written it. What lies here is then from before that, and the vault with it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from urllib.parse import quote

from app.basics.clock import mono_us
from app.gateway.delivery.outgoing import NoAnswer, Outgoing, ReceiverAnswer
from app.gateway.delivery.pushing import refusal
from app.ledger.checkpoint import VerifierKey, parse_checkpoint
from app.ledger.drafts import RotationDraft
from app.ledger.errors import CheckpointError, LedgerError, LedgerRollback, UnsignedCheckpoint
from app.ledger.records import decode
from app.ledger.signing_keys import SigningKeys

log = logging.getLogger(__name__)

AT_ONCE = 256
"""Records that are fetched together."""
PART_MAX_B = 16 << 20
SEARCH_S = 10.0
"""So long the records of a receiver are searched for the way from our key to the one that it shows."""
_ROTATES = b'"kind":"rotation"'

Credentials = Callable[[], Awaitable[Mapping[str, str]]]
"""The headers that name this gateway to a receiver; it may raise NoSecret."""

LOST_KEY = (
    "put back a copy of the vault that has the newest key, and fetch the records with `mortdecai-gateway ledger"
    " refill`; where that key is lost for good, `mortdecai-gateway ledger accept-rollback --despite-receivers` goes on"
    " without them"
)
"""What can be done where ledger and vault are both from before the key passed on; without its full stop."""


class KeyPassedOn(LedgerRollback):
    """The receiver of a log shows `there` records by a key to which ours, which is here, has passed on since."""

    def __init__(self, log: str, here: int, there: int) -> None:
        super().__init__(f"{before_the_key_passed_on(log, here, there)}: {LOST_KEY}.")
        self.there = there


def before_the_key_passed_on(log: str, here: int, there: int) -> str:
    """That ledger and vault are both so old, without what can be done."""
    return (
        "ROLLBACK: the ledger and the vault are older copies, from before the signing key passed on, with"
        f" {here} of the {there} records of {log} that its receiver proves to be ours"
    )


async def newest_note(outgoing: Outgoing, url: str, headers: Mapping[str, str], log_id: str) -> str:
    """The newest checkpoint that the receiver at `url` shows, believed in nothing yet. Raises NoAnswer,
    CheckpointError."""
    answer = await get(outgoing, f"{url}/ledger/checkpoint?log={quote(log_id, safe='')}", headers)
    try:
        return answer.body.decode()
    except UnicodeDecodeError:
        raise CheckpointError("the checkpoint is not UTF-8") from None


async def passed_on(
    outgoing: Outgoing,
    url: str,
    credentials: Credentials,
    known: VerifierKey,
    note: str,
    log_id: str,
    have: int,
) -> KeyPassedOn | None:
    """Whether `note`, which `known` has not signed, is by a key to which `known` passed on in a record behind the first
    `have`, or the key after that. None where that is not proven, or not within SEARCH_S. Raises NoAnswer, NoSecret."""
    try:
        claim, signatures = parse_checkpoint(note)
        if claim.size <= have or known.name not in (name for name, *_ in signatures):
            return None
        keys, at = SigningKeys(log_id, known), have
        until_us = mono_us() + round(SEARCH_S * 1e6)
        async for leaves in shown_leaves(outgoing, url, credentials, log_id, have, claim.size):
            for seq, leaf in enumerate(leaves, at):
                if _ROTATES in leaf and isinstance(draft := decode(leaf).draft, RotationDraft):
                    keys.follow(seq, draft)
                    try:
                        keys.verify_parsed(note, claim, signatures)
                    except UnsignedCheckpoint:
                        continue
                    return KeyPassedOn(log_id, have, claim.size)
            at += len(leaves)
            if mono_us() > until_us:
                log.warning(
                    "How our key passed on to the one that %s is signed with is not found in time.", log_id
                )
                return None
    except LedgerError as error:
        log.warning("The receiver shows %s under a key that ours has not passed on to: %s", log_id, error)
    return None


async def shown_leaves(
    outgoing: Outgoing, url: str, credentials: Credentials, log_id: str, begin: int, end: int
) -> AsyncIterator[tuple[bytes, ...]]:
    """The records begin to end - 1 as the receiver shows them, some at a time. Raises NoAnswer, NoSecret."""
    while begin < end:
        limit = min(AT_ONCE, end - begin)
        query = f"log={quote(log_id, safe='')}&from={begin}&limit={limit}"
        answer = await get(outgoing, f"{url}/ledger/entries?{query}", await credentials())
        leaves = tuple(answer.body.split(b"\n"))
        if leaves[-1] or not 1 < len(leaves) <= limit + 1:
            raise NoAnswer(f"The receiver at {answer.where} does not show the records that it says it has.")
        yield leaves[:-1]
        begin += len(leaves) - 1


async def get(outgoing: Outgoing, url: str, headers: Mapping[str, str]) -> ReceiverAnswer:
    """What a receiver answers with 200. Raises NoAnswer for all else."""
    answer = await outgoing.get(url, headers, most_b=PART_MAX_B)
    if answer.status != 200:
        raise NoAnswer(refusal(answer))
    return answer
