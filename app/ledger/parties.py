"""Clients and their access keys: who may use the gateway, and whose log a request belongs to.

Rule 1: the tables are a view; what happened to a client or its keys is a record in its log, written in the same commit.
Rule 2: `Parties` is immutable. The writer makes the next one; the loop reads whichever it was handed last.

A key itself is never here, only its SHA-256. Operator keys belong to no client, so no log records them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.ledger.errors import LedgerError

KEYS_A_SEARCH = 16


@dataclass(frozen=True, slots=True)
class Client:
    """A party that uses the gateway: `log` is the name of its log, `created_us` wall time."""

    id: str
    name: str
    log: str
    created_us: int


@dataclass(frozen=True, slots=True)
class Key:
    """An access key. `sha256` is 32 bytes; `client` is a client's id, None for the operator's keys; `limits` is a JSON
    object that only `access` reads."""

    id: str
    sha256: bytes
    label: str
    role: str
    client: str | None
    created_us: int
    revoked_us: int | None
    limits: str = "{}"


def log_named(clients: Sequence[Client], word: str | None) -> str | None:
    """The log that `word` names: by its own name, or its client's id or name; without a word the only one. None where
    there is no such log, or several."""
    names = [client.log for client in clients]
    if word is None:
        return names[0] if len(names) == 1 else None
    if word in names:
        return word
    return next((client.log for client in clients if word in (client.id, client.name)), None)


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

    def labelled(self, word: str) -> list[str]:
        """Ids of keys with `word` (lower case) in their label but not in the id, at most KEYS_A_SEARCH."""
        found = [key.id for key in self.keys if word in key.label.lower() and word not in key.id]
        return found[-KEYS_A_SEARCH:]
