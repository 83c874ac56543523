"""Clients and their access keys: who may use the gateway, and whose log a request belongs to.

Rule 1: the tables are a view; what happened to a client or its keys is a record in its log, written in the same commit.
Rule 2: `Parties` is immutable. The writer makes the next one; the loop reads whichever it was handed last.

A key itself is never here, only its SHA-256. Operator keys belong to no client, so no log records them.
"""

from __future__ import annotations

from asyncio import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import apsw

from app.ledger.drafts import TEXT_MAX, GenesisDraft, KeyDraft
from app.ledger.errors import LedgerError
from app.ledger.records import recordable

if TYPE_CHECKING:
    from app.ledger.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Client:
    """A party that uses the gateway: `log` is the name of its log, `created_us` wall time."""

    id: str
    name: str
    log: str
    created_us: int


@dataclass(frozen=True, slots=True)
class Key:
    """An access key. `sha256` is 32 bytes; `client` is a client's id, None for the operator's keys."""

    id: str
    sha256: bytes
    label: str
    role: str
    client: str | None
    created_us: int
    revoked_us: int | None


@dataclass(frozen=True, slots=True)
class Parties:
    """Everyone, oldest first; revoked keys included."""

    clients: tuple[Client, ...] = ()
    keys: tuple[Key, ...] = ()

    def client(self, client_id: str | None) -> Client:
        """The client of that id; LedgerError where there is none."""
        for client in self.clients:
            if client.id == client_id:
                return client
        raise LedgerError(f"There is no client {client_id!r:.80}: create it first.")

    def key(self, key_id: str) -> Key:
        """The key of that id; LedgerError where there is none."""
        for key in self.keys:
            if key.id == key_id:
                return key
        raise LedgerError(f"There is no key {key_id!r:.80}.")


def stored_parties(connection: apsw.Connection) -> Parties:
    """What the tables say."""
    clients = connection.execute("SELECT id, name, log, created FROM client ORDER BY created, id")
    keys = connection.execute(
        "SELECT id, sha256, label, role, client, created, revoked FROM key ORDER BY created, id"
    )
    return Parties(tuple(Client(*row) for row in clients), tuple(Key(*row) for row in keys))


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
        transaction.new_log(client.log)
        transaction.append(client.log, replace(self.genesis, client=name))
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
        if any(other.id == key.id or other.sha256 == key.sha256 for other in parties.keys):
            raise LedgerError("This key exists already: make a new one.")
        if len(key.sha256) != 32:
            raise LedgerError("A key is kept as its SHA-256, which has 32 bytes.")
        _record(transaction, key, "created", self.record_id, key.created_us)
        transaction.parties = replace(parties, keys=(*parties.keys, key))
        transaction.statements.append(
            (
                "INSERT INTO key (id, sha256, label, role, client, created, revoked) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key.id, key.sha256, key.label, key.role, key.client, key.created_us, key.revoked_us),
            )
        )
        return key


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
        keys = tuple(revoked if other.id == key.id else other for other in parties.keys)
        transaction.parties = replace(parties, keys=keys)
        transaction.statements.append(("UPDATE key SET revoked = ? WHERE id = ?", (self.at_us, key.id)))
        return revoked


def _record(transaction: Transaction, key: Key, action: str, record_id: str, at_us: int) -> None:
    if key.client is None:
        return
    draft = KeyDraft(record_id, at_us, key.id, key.label, key.role, action, key.sha256.hex())
    transaction.append(transaction.parties.client(key.client).log, draft)
