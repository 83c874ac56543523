"""Coming and going: what the writer does when a client or a key is made, and a key is limited, rotated or revoked.

Rule: the table and the record of it in the client's log are written in the same commit, or not at all.
"""

from __future__ import annotations

from asyncio import Future
from dataclasses import replace

from app.ledger.drafts import TEXT_MAX, GenesisDraft, KeyDraft
from app.ledger.errors import LedgerError
from app.ledger.parties import Client, Key, Parties
from app.ledger.records import recordable
from app.ledger.sqlite.transaction import Transaction


def _proper(text: str, what: str) -> str:
    text = text.strip()
    if not text or recordable(text) != text or not text.isprintable():
        raise LedgerError(f"The {what} must be 1 to {TEXT_MAX} printable characters, not {text!r:.80}.")
    return text


class CreateClient:
    """A new client, its log, and the log's genesis record."""

    __slots__ = ("client", "future", "genesis")

    def __init__(self, client: Client, genesis: GenesisDraft, future: Future[Client]) -> None:
        self.client = client
        self.genesis = genesis
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        client, parties = self.client, transaction.parties
        name = _proper(client.name, "client's name")
        if any(other.name == name or other.id == client.id for other in parties.clients):
            raise LedgerError(f"There is a client named {name} already: choose another name.")
        client = replace(client, name=name)
        transaction.begin_log(client.log, replace(self.genesis, client=name))
        transaction.parties = replace(parties, clients=(*parties.clients, client))
        transaction.statements.append(
            (
                "INSERT INTO client (id, name, log, created) VALUES (?, ?, ?, ?)",
                (client.id, client.name, client.log, client.created_us),
            )
        )
        return client


class CreateKey:
    """A new key, recorded in its client's log."""

    __slots__ = ("future", "key", "record_id")

    def __init__(self, key: Key, record_id: str, future: Future[Key]) -> None:
        self.key = key
        self.record_id = record_id
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        key, parties = self.key, transaction.parties
        key = replace(key, label=_proper(key.label, "key's label"))
        if key.role not in ("client", "operator") or (key.role == "client") != (key.client is not None):
            raise LedgerError(
                "A key's role is client, and then it belongs to one, or operator, and then to none."
            )
        if any(other.id == key.id for other in parties.keys):
            raise LedgerError("This key exists already: make a new one.")
        _require_new(key.sha256, parties)
        _record(transaction, key, "created", self.record_id, key.created_us)
        transaction.parties = replace(parties, keys=(*parties.keys, key))
        transaction.statements.append(
            (
                "INSERT INTO key (id, sha256, label, role, client, created, limits) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key.id, key.sha256, key.label, key.role, key.client, key.created_us, key.limits),
            )
        )
        return key


class LimitKey:
    """Other limits for a key that still works; the same ones again change nothing."""

    __slots__ = ("at_us", "future", "key_id", "limits", "record_id")

    def __init__(self, key_id: str, limits: str, at_us: int, record_id: str, future: Future[Key]) -> None:
        self.key_id = key_id
        self.limits = limits
        self.at_us = at_us
        self.record_id = record_id
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        parties = transaction.parties
        key = parties.key(self.key_id)
        if key.revoked_us is not None:
            raise LedgerError(f"The key {key.id} is revoked: make a new one.")
        if key.limits == self.limits:
            return key
        limited = replace(key, limits=self.limits)
        _record(transaction, limited, "limited", self.record_id, self.at_us)
        transaction.parties = parties.with_key(limited)
        transaction.statements.append(("UPDATE key SET limits = ? WHERE id = ?", (self.limits, key.id)))
        return limited


class RotateSecret:
    """Another secret, and with it other limits, for a key that still works."""

    __slots__ = ("at_us", "future", "key_id", "limits", "record_id", "sha256")

    def __init__(
        self, key_id: str, sha256: bytes, limits: str, at_us: int, record_id: str, future: Future[Key]
    ) -> None:
        self.key_id = key_id
        self.sha256 = sha256
        self.limits = limits
        self.at_us = at_us
        self.record_id = record_id
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        parties = transaction.parties
        key = parties.key(self.key_id)
        if key.revoked_us is not None:
            raise LedgerError(f"The key {key.id} is revoked: make a new one.")
        _require_new(self.sha256, parties)
        rotated = replace(key, sha256=self.sha256, limits=self.limits)
        _record(transaction, rotated, "rotated", self.record_id, self.at_us)
        transaction.parties = parties.with_key(rotated)
        transaction.statements.append(
            ("UPDATE key SET sha256 = ?, limits = ? WHERE id = ?", (self.sha256, self.limits, key.id))
        )
        return rotated


class RevokeKey:
    """The end of a key; revoking it again changes nothing."""

    __slots__ = ("at_us", "future", "key_id", "record_id")

    def __init__(self, key_id: str, at_us: int, record_id: str, future: Future[Key]) -> None:
        self.key_id = key_id
        self.at_us = at_us
        self.record_id = record_id
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        parties = transaction.parties
        key = parties.key(self.key_id)
        if key.revoked_us is not None:
            return key
        revoked = replace(key, revoked_us=self.at_us)
        _record(transaction, revoked, "revoked", self.record_id, self.at_us)
        transaction.parties = parties.with_key(revoked)
        transaction.statements.append(("UPDATE key SET revoked = ? WHERE id = ?", (self.at_us, key.id)))
        return revoked


def _require_new(digest: object, parties: Parties) -> None:
    if not isinstance(digest, bytes) or len(digest) != 32:
        raise LedgerError("A key is kept as its SHA-256, which has 32 bytes.")
    if any(other.sha256 == digest for other in parties.keys):
        raise LedgerError("This key exists already: make a new one.")


def _record(transaction: Transaction, key: Key, action: str, record_id: str, at_us: int) -> None:
    clients = transaction.parties.clients
    if key.client is None and not clients:
        raise LedgerError("There is no client yet: create one before an operator's key.")
    log = clients[0].log if key.client is None else transaction.parties.client(key.client).log
    draft = KeyDraft(record_id, at_us, key.id, key.label, key.role, action, key.sha256.hex(), key.limits)
    transaction.append(log, draft)
