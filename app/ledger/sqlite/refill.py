"""Records that were lost from a log's end, put back as they were: what the writer does with their exact bytes.

Rule 1: whoever hands them over has proven that they lead to a root that we have signed; here they only have to fit on
the log's end, byte for byte as we would write them. Rule 2: the keys that they speak of come back with them.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Sequence
from dataclasses import replace

from app.ledger.drafts import KeyDraft, RotationDraft
from app.ledger.errors import LedgerError, RecordError
from app.ledger.heads import Receipt
from app.ledger.parties import Key
from app.ledger.records import Record, decode, encode
from app.ledger.sqlite.transaction import Transaction


class PutBack:
    """Append these bodies to `log`, all or none; LedgerError where the first is not the next one of the log."""

    __slots__ = ("bodies", "future", "log")

    def __init__(self, log: str, bodies: Sequence[bytes], future: Future[Receipt]) -> None:
        self.log = log
        self.bodies = bodies
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        place: object = None
        for record in self._fitting(transaction):
            place = transaction.append(self.log, record.draft)
            if isinstance(record.draft, KeyDraft):
                _put_back_key(transaction, self.log, record.draft)
        return place

    def _fitting(self, transaction: Transaction) -> list[Record]:
        head = transaction.head(self.log)
        seq, cum, records = head.size, head.cum, []
        for body in self.bodies:
            record = decode(body)
            cum += record.draft.cost
            if (record.log, record.seq, record.cum_pico) != (self.log, seq, cum):
                raise LedgerError(
                    f"Record {record.seq} of {record.log} does not follow on {seq} of {self.log}."
                )
            if encode(record.draft, self.log, seq, cum) != body:
                raise RecordError(f"Record {seq} of {self.log} is not written as this version writes it.")
            if isinstance(record.draft, RotationDraft) and not transaction.refilling:
                raise LedgerError(
                    f"Record {seq} of {self.log} passes the signing key on, which we then do not have."
                )
            records.append(record)
            seq += 1
        if not records:
            raise LedgerError(f"Nothing is put back into {self.log}.")
        return records


def _put_back_key(transaction: Transaction, log: str, draft: KeyDraft) -> None:
    parties = transaction.parties
    owner = next(client.id for client in parties.clients if client.log == log)
    known = next((key for key in parties.keys if key.id == draft.key), None)
    key = Key.recorded(draft, owner) if known is None else known.followed(draft)
    key = key if key.limits else replace(key, limits="{}")
    transaction.parties = (
        replace(parties, keys=(*parties.keys, key)) if known is None else parties.with_key(key)
    )
    transaction.statements.append(
        (
            "INSERT OR REPLACE INTO key (id, sha256, label, role, client, created, revoked, limits)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (key.id, key.sha256, key.label, key.role, key.client, key.created_us, key.revoked_us, key.limits),
        )
    )
