"""Keys as the signed logs have them: a row that somebody put into the table of keys opens nothing.

Rule 1: a record counts once it is proven to be in the tree whose root was signed; nothing else that is stored is
believed. Rule 2: where table and records differ, the records count and the difference is said.

Who takes away a record as well, so that it is not found, can give a revoked key back to the door until the next audit:
that reads every record.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import apsw

from app.ledger.drafts import KeyDraft
from app.ledger.errors import LedgerCorrupt, LedgerTampered, RecordError
from app.ledger.heads import LogHead
from app.ledger.merkle import ProofError, inclusion_proof, leaf_hash, verify_inclusion
from app.ledger.parties import Parties, RecordedKeys, with_limits
from app.ledger.records import decode
from app.ledger.sqlite.nodes import StoredNodes

logger = logging.getLogger(__name__)
_KEY_RECORDS = (
    "SELECT seq, body FROM record WHERE log = ? AND substr(find, -4) = char(10) || 'key' ORDER BY seq"
)


def bound(connection: apsw.Connection, path: Path, heads: Mapping[str, LogHead], stated: Parties) -> Parties:
    """The clients that are `stated`, with the keys that their logs speak of. `heads` are as they were signed.

    Raises LedgerTampered where a key's record is not as it was signed, or a client has no log.
    """
    recorded = RecordedKeys()
    for client in stated.clients:
        head = heads.get(client.log)
        if head is None:
            raise LedgerTampered(
                f"The log of the client {client.name} is not in {path}: put back a good copy."
            )
        for draft in _proven(connection, path, head):
            recorded.follow(draft, client.id)
    for _, sentence in recorded.differences(stated.keys, {None, *(client.id for client in stated.clients)}):
        logger.error("%s", sentence)
    tabled = {key.id: key for key in stated.keys}
    keys = [with_limits(key, tabled.get(key.id, key)) for key in recorded.keys.values()]
    keys.sort(key=lambda key: (key.created_us, key.id))
    return Parties(stated.clients, tuple(keys))


def _proven(connection: apsw.Connection, path: Path, head: LogHead) -> list[KeyDraft]:
    nodes, size, root = StoredNodes(connection, head.k), head.size, head.frontier.root()
    drafts = []
    for seq, body in connection.execute(_KEY_RECORDS, (head.k,)):
        try:
            verify_inclusion(leaf_hash(body), seq, size, inclusion_proof(nodes, seq, size), root)
            draft = decode(body).draft
        except (ProofError, RecordError, LedgerCorrupt, ValueError):
            draft = None
        if not isinstance(draft, KeyDraft):
            raise LedgerTampered(
                f"Record {seq} of {head.name} in {path}, which tells of a key, is not as it was signed: somebody"
                " changed the file; run the ledger's verification to see where, and put back a good copy."
            )
        drafts.append(draft)
    return drafts
