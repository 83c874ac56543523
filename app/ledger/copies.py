"""Copies of a log that can be compared: what a peer answers, what lies in two files, and a ledger's own.

Rule 1: no I/O here: whoever makes a copy hands in how it is asked. Rule 2: an answer that is none is a BadProof, in one
sentence; what an answer claims is for `comparing` to check.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from app.ledger.checkpoint import parse_checkpoint, unb64
from app.ledger.descent import ShownRecord
from app.ledger.errors import BadProof, CheckpointError, NotInLog
from app.ledger.merkle import consistency_proof, leaf_hash, root_from_leaves, siblings
from app.ledger.proofs import Inclusion

Fetch = Callable[[str], Awaitable[tuple[int, bytes]]]
"""Asks the peer for a path; the status and the body of its answer."""
MISSING = 404


class AskedCopy:
    """The copy of a peer, gateway or receiver, as it answers `GET /ledger/…` (docs/ledger.md)."""

    def __init__(self, fetch: Fetch, query: str, who: str) -> None:
        """`query` names the log, escaped for a URL; `who` names the peer in sentences."""
        self._fetch = fetch
        self._query = query
        self._who = who
        self._size = 0

    async def newest(self) -> str:
        """See LogCopy."""
        status, body = await self._fetch(f"/ledger/checkpoint?{self._query}")
        if status == MISSING:
            return ""
        note = self._text(status, body)
        try:
            self._size = parse_checkpoint(note)[0].size
        except CheckpointError as error:
            raise BadProof(f"The checkpoint that the {self._who} shows is none: {error}.") from None
        return note

    async def record(self, seq: int, size: int) -> ShownRecord:
        """See LogCopy."""
        status, body = await self._fetch(f"/ledger/proof/{seq}?{self._query}&size={size}")
        told = self._object(status, body)
        try:
            return ShownRecord(
                str(told["leaf"]).encode(),
                tuple(unb64(step, "proof") for step in told["proof"]),
                str(told["checkpoint"]),
                tuple(unb64(step, "proof") for step in told.get("growth", ())),
            )
        except (KeyError, TypeError, AttributeError, UnicodeEncodeError, CheckpointError):
            raise BadProof(f"What the {self._who} shows of record {seq} is no proof.") from None

    async def exhibit(self, seq: int) -> tuple[ShownRecord, int]:
        """See LogCopy."""
        return await self.record(seq, self._size), self._size

    async def note_for(self, known: int, size: int) -> str:
        """The signed checkpoint over at most `size` records that whoever has read `known` of them can check."""
        return self._text(*await self._fetch(f"/ledger/checkpoint?{self._query}&size={size}&known={known}"))

    async def stretch(self, begin: int, limit: int) -> list[bytes]:
        """Up to `limit` records from number `begin` on."""
        status, body = await self._fetch(f"/ledger/entries?{self._query}&from={begin}&limit={limit}")
        if status != 200:
            self._object(status, body)
        return leaves_of(body)

    async def leaves(self) -> list[bytes]:
        """Every record, in one answer."""
        status, body = await self._fetch(f"/ledger/entries?{self._query}")
        if status != 200:
            self._object(status, body)
        return leaves_of(body)

    def _text(self, status: int, body: bytes) -> str:
        if status != 200:
            self._object(status, body)
        try:
            return body.decode()
        except UnicodeDecodeError:
            raise BadProof(f"The {self._who} answers with what is no text.") from None

    def _object(self, status: int, body: bytes) -> dict[str, Any]:
        try:
            told = json.loads(body)
            error = told.get("error")
        except (ValueError, RecursionError, AttributeError):
            raise BadProof(f"The {self._who} answers {status}, and nothing that can be read.") from None
        if status != 200:
            said = error.get("message") if isinstance(error, dict) else error
            shown = "".join(c if c.isprintable() else " " for c in str(said or "it does not say why"))[:200]
            raise BadProof(f"The {self._who} answers {status}: {shown}")
        return dict(told)


class LeavesCopy:
    """A copy of which every record is at hand: two files, or a peer that was asked for all."""

    def __init__(self, leaves: Sequence[bytes], note: str) -> None:
        self._leaves = leaves
        self._hashes = [leaf_hash(leaf) for leaf in leaves]
        self._note = note

    async def newest(self) -> str:
        """See LogCopy. BadProof where fewer records are at hand than it is over."""
        try:
            claim, _ = parse_checkpoint(self._note)
        except CheckpointError as error:
            raise BadProof(f"The other side's checkpoint is none: {error}.") from None
        if claim.size > len(self._leaves):
            raise BadProof(
                f"The other side's checkpoint is over {claim.size} records, and {len(self._leaves)} are shown."
            )
        return self._note

    async def record(self, seq: int, size: int) -> ShownRecord:
        """See LogCopy."""
        whole = parse_checkpoint(self._note)[0].size
        return ShownRecord(self._leaves[seq], self._path(seq, size), self._note, self._growth(size, whole))

    async def exhibit(self, seq: int) -> tuple[ShownRecord, int]:
        """See LogCopy."""
        whole = parse_checkpoint(self._note)[0].size
        return await self.record(seq, whole), whole

    def _path(self, seq: int, size: int) -> tuple[bytes, ...]:
        return tuple(root_from_leaves(self._hashes[begin:end]) for begin, end in siblings(seq, size))

    def _growth(self, size: int, whole: int) -> tuple[bytes, ...]:
        def node(level: int, index: int) -> bytes:
            return root_from_leaves(self._hashes[index << level : (index + 1) << level])

        return () if size == whole else tuple(consistency_proof(node, size, whole))


class Provable(Protocol):
    """A ledger of ours, as far as it is compared."""

    async def checkpoint(self, log_id: str, size: int | None = None, *, cosigned: bool = False) -> str:
        """See `Readings.checkpoint`."""

    async def cosigned_size(self, log_id: str) -> int:
        """See `Readings.cosigned_size`."""

    async def inclusion(self, log_id: str, seq: int, size: int | None = None) -> Inclusion:
        """See `Readings.inclusion`."""


class LedgerCopy:
    """The gateway's own copy of one log."""

    def __init__(self, ledger: Provable, log: str) -> None:
        self._ledger = ledger
        self._log = log

    async def newest(self) -> str:
        """See LogCopy."""
        return await self._ledger.checkpoint(self._log, cosigned=True)

    async def record(self, seq: int, size: int) -> ShownRecord:
        """See LogCopy."""
        return _shown(await self._ledger.inclusion(self._log, seq, size))

    async def exhibit(self, seq: int) -> tuple[ShownRecord, int]:
        """See LogCopy: under a checkpoint that the receiver has cosigned, where one covers the record."""
        size = None
        try:
            cosigned = await self._ledger.cosigned_size(self._log)
            size = cosigned if cosigned > seq else None
        except NotInLog:
            pass
        found = await self._ledger.inclusion(self._log, seq, size)
        return _shown(found), found.size


def _shown(found: Inclusion) -> ShownRecord:
    return ShownRecord(found.body, found.proof, found.checkpoint)


def leaves_of(text: bytes) -> list[bytes]:
    """The records of an answer or a file that has one a line. BadProof where the last line is cut off."""
    lines = text.split(b"\n")
    if lines.pop():
        raise BadProof("The records break off in the middle of a line.")
    return lines
