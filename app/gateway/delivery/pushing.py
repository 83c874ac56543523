"""The ledger's way to one receiver: leaves and a signed checkpoint out, a cosignature back.

Rule 1: a cosignature counts once it was verified with the key that the receiver was enrolled with, over the very
checkpoint that was sent. Rule 2: what a receiver says against us is its word, until it shows our own signature.

The wire is that of c2sp.org/tlog-witness' add-checkpoint, with the leaves in place of the proof (see `receiver`).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from app.gateway.delivery.outgoing import NoAnswer, Outgoing, ReceiverAnswer, shown
from app.ledger.checkpoint import VerifierKey, parse_checkpoint, verify_checkpoint
from app.ledger.cosignature import CosignerKey, find_cosignature
from app.ledger.delivery import Acknowledged, Contested, DeliveryEvent, Failed, Sized
from app.ledger.errors import (
    CheckpointError,
    KeyNotYetKnown,
    LedgerClosed,
    LedgerError,
    UnsignedCheckpoint,
)
from app.ledger.sqlite.store import Ledger
from app.receiver.submission import BODY_MAX_B, LEAVES_MAX, write_submission

log = logging.getLogger(__name__)

NOTE_MAX_B = 8 * 1024
"""Kept free in a push for the line in front and the checkpoint behind the leaves."""
TEXT = "text/plain; charset=utf-8"
_is_size = re.compile(rb"(0|[1-9][0-9]{0,15})\n?").fullmatch


class NoSecret(Exception):
    """The vault gives no secret for a receiver; `str()` is one sentence."""


SecretOf = Callable[[], Awaitable[str]]
"""The secret of an enrolment; it may raise NoSecret."""


class LedgerPush:
    """Pushes one log to the receiver at `url` whose cosignatures are by `key`."""

    def __init__(
        self, ledger: Ledger, outgoing: Outgoing, log_id: str, url: str, key: CosignerKey, secret: SecretOf
    ) -> None:
        self._ledger = ledger
        self._outgoing = outgoing
        self._log = log_id
        self._url = url
        self._key = key
        self._secret = secret
        self._most = LEAVES_MAX

    async def push(self, old: int, _: object = None) -> DeliveryEvent:
        """Tell the receiver the records from `old` on, as many as go at once. Raises LedgerClosed."""
        too_much: ReceiverAnswer | None = None
        refused = LEAVES_MAX + 1
        while True:
            try:
                leaves = _fitting(await self._ledger.entries(self._log, old, self._most))
                note = await self._ledger.checkpoint_for(self._log, old, old + len(leaves))
                leaves = leaves[: parse_checkpoint(note)[0].size - old]
            except LedgerClosed:
                raise
            except KeyNotYetKnown as error:
                # What halving leaves may be less than it takes; and what it took some time ago, less than by now.
                more = error.size - old
                if more < refused and self._most != more:
                    self._most = more
                    continue
                return Failed(_takes_too_little(error, old, too_much))
            except LedgerError as error:
                return Failed(str(error))
            try:
                headers = {"Content-Type": TEXT, **await self.credentials()}
                body = write_submission(old, leaves, note)
                answer = await self._outgoing.post(self._url + "/ledger", body, headers)
            except (NoAnswer, NoSecret) as error:
                return Failed(str(error))
            if answer.status == 413 and len(leaves) > 1:
                self._most, too_much, refused = len(leaves) // 2, answer, len(leaves)
                continue
            if answer.status == 413 and leaves:
                return Failed(
                    f"Record {old} alone is too much at once for the receiver at {answer.where} (413): with its"
                    f" checkpoint it has {len(body)} bytes. Let it take {BODY_MAX_B >> 20} MiB at once."
                )
            return await self._meaning(answer, old, old + len(leaves), note)

    async def credentials(self) -> dict[str, str]:
        """The header that names this gateway to the receiver. Raises NoSecret."""
        return {"Authorization": f"Bearer {await self._secret()}"}

    async def _meaning(self, answer: ReceiverAnswer, old: int, size: int, note: str) -> DeliveryEvent:
        where, status = answer.where, answer.status
        match status:
            case 200:
                return self._cosigned(answer, size, note)
            case 409:
                if (match := _is_size(answer.body)) is not None:
                    return Sized(int(match[1]))
                return Failed(
                    f"The receiver at {where} has another number of records than {old}, and says not which."
                )
            case 422:
                return await self._contested(answer)
            case 401 | 403:
                return Failed(
                    f"The receiver at {where} does not know this gateway ({status}): enrol it there anew, and run"
                    " `mortdecai-gateway ledger deliver` with the new line.",
                    answer.retry_after_s,
                )
            case _:
                return Failed(refusal(answer), answer.retry_after_s)

    def _cosigned(self, answer: ReceiverAnswer, size: int, note: str) -> DeliveryEvent:
        try:
            if not answer.body.strip():
                raise UnsignedCheckpoint("the answer is empty")
            found = find_cosignature(note, answer.body.decode(), self._key)
        except UnsignedCheckpoint:
            return Failed(f"The receiver at {answer.where} took the records and did not cosign them.")
        except (CheckpointError, UnicodeDecodeError) as error:
            why = "it is no text" if isinstance(error, UnicodeDecodeError) else str(error)
            return Failed(f"The cosignature of the receiver at {answer.where} does not hold: {shown(why)}.")
        return Acknowledged(size, note + found.line)

    async def _contested(self, answer: ReceiverAnswer) -> DeliveryEvent:
        sentence = f"The receiver at {answer.where} contests our records: {_said(answer.body)}"
        note = await self._fork()
        if note is None:
            return Contested(sentence)
        log.error("The receiver at %s holds this checkpoint, signed by our key:\n%s", answer.where, note)
        claim, _ = parse_checkpoint(note)
        return Contested(
            f"The receiver at {answer.where} holds another history of our first {claim.size} records, signed by our"
            " own key: an older copy of the ledger or of the vault was used meanwhile; the log file holds the proof.",
            forked=True,
        )

    async def _fork(self) -> str | None:
        """The receiver's newest checkpoint where we have signed it and our records do not lead to it."""
        try:
            answer = await self._outgoing.get(
                f"{self._url}/ledger/checkpoint?log={quote(self._log, safe='')}", await self.credentials()
            )
            note = answer.body.decode()
            claim = verify_checkpoint(note, VerifierKey.parse(self._ledger.vkey), self._log)
            ours, _ = parse_checkpoint(await self._ledger.checkpoint(self._log, claim.size))
        except LedgerClosed:
            raise
        except (NoAnswer, NoSecret, UnicodeDecodeError, LedgerError):
            return None
        return None if ours.root == claim.root else note


def _takes_too_little(error: KeyNotYetKnown, old: int, answer: ReceiverAnswer | None) -> str:
    """Why nothing goes on: what it takes at once does not reach to the next checkpoint that it can check."""
    if answer is None:
        return str(error)
    return (
        f"The receiver at {answer.where} takes too little at once (413): the next checkpoint that it has a key for,"
        f" from before the signing key passed on, is over {error.size} records, and it has {old}. Let it take"
        f" {error.size - old} records, at most {BODY_MAX_B >> 20} MiB, at once."
    )


def _fitting(leaves: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """As many of them, from the first on, as one push may hold; the first in any case."""
    left_b = BODY_MAX_B - NOTE_MAX_B
    for number, leaf in enumerate(leaves):
        left_b -= len(leaf) + 1
        if left_b < 0:
            return leaves[: max(1, number)]
    return leaves


def _said(body: bytes) -> str:
    """The sentence in an error's JSON, or what else stands there as text."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = ""
    try:
        error = json.loads(text).get("error")
        text = str(error["message"] if isinstance(error, dict) else error or text)
    except (ValueError, RecursionError, AttributeError, KeyError):
        pass
    said = shown(text) or "it does not say why"
    return said if said.endswith((".", "?", "…")) else f"{said}."


def refusal(answer: ReceiverAnswer) -> str:
    """A sentence about an answer that is no success."""
    where, status = answer.where, answer.status
    if 300 <= status < 400:
        return f"The receiver at {where} redirects ({status}), which is not followed: give its own address."
    if status == 413:
        return f"The receiver at {where} takes no request of such a size ({status})."
    if status in (429, 503):
        return f"The receiver at {where} is busy ({status})."
    if status == 507:
        return f"The receiver at {where} has no room left ({status})."
    if status >= 500:
        return f"The receiver at {where} failed ({status})."
    return f"The receiver at {where} refuses the records ({status})."
