"""Our own lost records, fetched back from the receiver that has them.

Rule 1: nothing is put back before all of it is proven to be ours: the receiver shows a checkpoint with our signature,
and what we hold together with what it shows leads to the root that we signed. Rule 2: what is put back is compared with
what was proven, record by record, for it is fetched a second time: a tail may be longer than memory.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from app.gateway.delivery.holdings import KeyPassedOn, newest_note, passed_on, shown_leaves
from app.gateway.delivery.outgoing import NoAnswer, Outgoing
from app.gateway.delivery.pushing import NoSecret
from app.ledger.checkpoint import Checkpoint, VerifierKey, verify_checkpoint
from app.ledger.delivery import Contested, DeliveryEvent, Failed, Refill, Refilled
from app.ledger.drafts import RotationDraft
from app.ledger.errors import CheckpointError, LedgerClosed, LedgerError, UnsignedCheckpoint
from app.ledger.merkle import leaf_hash
from app.ledger.records import decode
from app.ledger.sqlite.store import Ledger

log = logging.getLogger(__name__)


class _Unproven(Exception):
    """What the receiver shows is not ours; `str()` is one sentence."""


class TailFetch:
    """Fetches the tail of one log from the receiver at `url`; `credentials` gives the headers that name us there."""

    def __init__(
        self,
        ledger: Ledger,
        outgoing: Outgoing,
        log_id: str,
        url: str,
        credentials: Callable[[], Awaitable[dict[str, str]]],
    ) -> None:
        self._ledger = ledger
        self._outgoing = outgoing
        self._log = log_id
        self._url = url
        self._credentials = credentials

    async def size(self) -> int:
        """How many records the receiver can show our signature over. Raises NoAnswer, NoSecret, LedgerError, of which
        KeyPassedOn where it is that of a key that is not here any more."""
        return (await self._claim()).size

    async def refill(self, wish: Refill) -> DeliveryEvent:
        """Refilled once the records from `wish.have` on are in the log again; Failed where they could not be fetched,
        Contested where they are not ours. Raises LedgerClosed."""
        try:
            claim = await self._claim()
            proven = await self._proven(wish.have, claim)
            await self._put_back(wish.have, claim.size, proven)
        except LedgerClosed:
            raise
        except _Unproven as error:
            return Contested(str(error))
        except KeyPassedOn as error:
            return Failed(str(error), proven=True)
        except (NoAnswer, NoSecret) as error:
            return Failed(f"Our newest records are lost, and cannot be fetched back now: {error}")
        except CheckpointError as error:
            return Contested(
                f"The receiver says that it has {wish.size} records of ours, and does not show our signature over"
                f" them: {error}."
            )
        except LedgerError as error:
            return Contested(f"What the receiver has of our lost records cannot be put back: {error}")
        log.error("Of %s the records %d to %d were lost, and are back.", self._log, wish.have, claim.size - 1)
        return Refilled(claim.size)

    async def _claim(self) -> Checkpoint:
        note = await newest_note(self._outgoing, self._url, await self._credentials(), self._log)
        known = VerifierKey.parse(self._ledger.vkey)
        try:
            return verify_checkpoint(note, known, self._log)
        except UnsignedCheckpoint:
            have = self._ledger.frontier(self._log).size
            passed = await passed_on(
                self._outgoing, self._url, self._credentials, known, note, self._log, have
            )
            if passed is None:
                raise
            raise passed from None

    async def _proven(self, have: int, claim: Checkpoint) -> list[bytes]:
        """The hashes of the records from `have` on, once they lead to what we signed."""
        tree = self._ledger.frontier(self._log)
        if tree.size != have or claim.size <= have:
            raise _Unproven(
                f"The receiver shows our signature over {claim.size} records, and we have {tree.size} by now."
            )
        hashes: list[bytes] = []
        vkey = self._ledger.vkey
        async for leaves in self._leaves(have, claim.size):
            for leaf in leaves:
                if b'"kind":"rotation"' in leaf and isinstance(draft := decode(leaf).draft, RotationDraft):
                    vkey = draft.new_vkey
                hashed = leaf_hash(leaf)
                hashes.append(hashed)
                tree.append(hashed)
        if tree.root() != claim.root:
            raise _Unproven(
                f"The records that the receiver shows do not lead from our {have} to the {claim.size} that we signed."
            )
        if vkey != self._ledger.vkey:
            raise _Unproven("The receiver shows that our signing key has passed on to one that is not ours.")
        return hashes

    async def _put_back(self, have: int, size: int, proven: list[bytes]) -> None:
        at = 0
        async for leaves in self._leaves(have, size):
            if [leaf_hash(leaf) for leaf in leaves] != proven[at : at + len(leaves)]:
                raise _Unproven("The receiver shows other records than a moment ago.")
            at += len(leaves)
            await self._ledger.put_back(self._log, leaves)

    def _leaves(self, begin: int, end: int) -> AsyncIterator[tuple[bytes, ...]]:
        return shown_leaves(self._outgoing, self._url, self._credentials, self._log, begin, end)
