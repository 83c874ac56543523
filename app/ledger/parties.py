"""Clients and their access keys: who may use the gateway, and whose log a request belongs to.

Rule 1: the tables are a view; what happened to a client or its keys is a record in its log, written in the same commit,
and a key that no record speaks of is none.
Rule 2: `Parties` is immutable. The writer makes the next one; the loop reads whichever it was handed last.

A key itself is never here, only its SHA-256. Operators' keys belong to no client; the first one's log records them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from app.ledger.drafts import KeyDraft
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

    def followed(self, draft: KeyDraft) -> Key:
        """The key after a later record of it."""
        if self.revoked_us is not None:
            return self
        match draft.action:
            case "revoked":
                return replace(self, revoked_us=draft.t0)
            case "limited":
                return replace(self, limits=draft.limits or self.limits)
            case "rotated":
                digest = bytes.fromhex(draft.key_sha256)
                return replace(self, sha256=digest, limits=draft.limits or self.limits)
            case _:
                return self

    @classmethod
    def recorded(cls, draft: KeyDraft, client: str) -> Key:
        """The key as its first record, in the log of `client`, has it; its limits are "" where that does not say."""
        owner = client if draft.role == "client" else None
        digest = bytes.fromhex(draft.key_sha256)
        revoked_us = draft.t0 if draft.action == "revoked" else None
        return cls(
            draft.key, digest, draft.label, draft.role, owner, draft.t0, revoked_us, draft.limits or ""
        )


def client_named(clients: Sequence[Client], word: object) -> Client | None:
    """The client whose id, name or log `word` is; None where there is none."""
    return next((client for client in clients if word in (client.id, client.name, client.log)), None)


def log_named(clients: Sequence[Client], word: str | None) -> str | None:
    """The log that `word` names: by its own name, or its client's id or name; without a word the only one. None where
    there is no such log, or several."""
    names = [client.log for client in clients]
    if word is None:
        return names[0] if len(names) == 1 else None
    if word in names:
        return word
    named = client_named(clients, word)
    return None if named is None else named.log


class RecordedKeys:
    """The keys that the records of logs speak of, by id."""

    __slots__ = ("keys",)

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}

    def follow(self, draft: KeyDraft, client: str) -> None:
        """The next key record of the log of `client`."""
        known = self.keys.get(draft.key)
        self.keys[draft.key] = Key.recorded(draft, client) if known is None else known.followed(draft)

    def differences(
        self, stated: Iterable[Key], clients: Container[str | None]
    ) -> Iterator[tuple[str | None, str]]:
        """(client, sentence) for each of the `stated` keys that is not as it was recorded, and each recorded one that
        is not stated. Keys of others than `clients` (None: the operators') are left out."""
        left = dict(self.keys)
        for key in stated:
            recorded = left.pop(key.id, None)
            if key.client not in clients:
                continue
            if recorded is None:
                yield key.client, f"No record speaks of the key {key.id} ({key.label}): it opens nothing."
            elif with_limits(recorded, key) != key:
                yield (
                    key.client,
                    f"The key {key.id} ({key.label}) is not as it was recorded; what was recorded counts.",
                )
        for key in left.values():
            if key.client in clients:
                yield (
                    key.client,
                    f"The key {key.id} ({key.label}) was recorded, and is missing from its table.",
                )


def with_limits(recorded: Key, stated: Key) -> Key:
    """The key as it was recorded, with the limits that are stated where records of its time did not say them."""
    return recorded if recorded.limits else replace(recorded, limits=stated.limits)


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

    def with_key(self, changed: Key) -> Parties:
        """The same with `changed` in the place of the key of its id."""
        return replace(self, keys=tuple(changed if other.id == changed.id else other for other in self.keys))

    def labelled(self, word: str) -> list[str]:
        """Ids of keys with `word` (lower case) in their label but not in the id, at most KEYS_A_SEARCH."""
        found = [key.id for key in self.keys if word in key.label.lower() and word not in key.id]
        return found[-KEYS_A_SEARCH:]
