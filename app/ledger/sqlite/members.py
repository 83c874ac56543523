"""The ledger's half that knows who is who: clients, their keys, and the key that signs.

Rule 1: what is shown is what has been committed; every change is a record in the logs that it concerns. Rule 2: while
the newest records are missing and may come back, no other takes their place: that would sign a second history.
"""

from __future__ import annotations

import secrets
from abc import abstractmethod
from asyncio import Future
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.basics.quarters import quarter_of
from app.ledger.checkpoint import Checkpoint, Signer
from app.ledger.drafts import GenesisDraft
from app.ledger.errors import TailMissing
from app.ledger.ids import uuid7
from app.ledger.parties import Client, Key, Parties
from app.ledger.spending import SpentSince
from app.ledger.sqlite.membership import CreateClient, CreateKey, LimitKey, RevokeKey, RotateSecret
from app.ledger.sqlite.reader import Reader
from app.ledger.sqlite.readings import Readings
from app.ledger.sqlite.rotation import RotateKey
from app.ledger.sqlite.spending import MarkSpent, SpentMark
from app.ledger.sqlite.transaction import Write


class Members(Readings):
    """A part of `Ledger`."""

    def __init__(
        self, path: Path, signer: Signer, vfs: str | None, gateway_id: str, clock_us: Callable[[], int]
    ) -> None:
        super().__init__(path, signer, vfs, lambda word: self._parties.labelled(word), self.newest)
        self._signer = signer
        self._gateway_id = gateway_id
        self._clock_us = clock_us
        self._parties = Parties()
        self._missing: str | None = None

    @abstractmethod
    def newest(self) -> tuple[Checkpoint, ...]:
        """Size and root of every log, the oldest log first, as they were committed and signed."""

    @abstractmethod
    def _submit(self, operation: Write) -> None:
        """Have it written."""

    def await_lost(self, sentence: str | None) -> None:
        """From now on, until None is said, what would be recorded fails with TailMissing and `sentence`, apart from
        what requests have used and what is put back."""
        self._missing = sentence

    @property
    def missing(self) -> str | None:
        """The sentence, while the newest records are missing and may come back."""
        return self._missing

    def _record(self, operation: Write, future: Future[Any]) -> None:
        """Have it written, unless the records that it would follow are missing; then `future` says so."""
        if self._missing is None:
            self._submit(operation)
        else:
            future.set_exception(TailMissing(self._missing))

    def new_id(self) -> str:
        """A fresh UUIDv7 of this moment."""
        return uuid7(self._clock_us(), secrets.randbits(62))

    def create_client(self, name: str) -> Future[Client]:
        """A new client with a log that begins with a genesis record; the future may bring LedgerError (name taken), or
        TailMissing, as all of these may."""
        future: Future[Client] = self._loop.create_future()
        identity, now_us = "c_" + secrets.token_hex(6), self._clock_us()
        client = Client(identity, name, f"{self._gateway_id}/{identity}", now_us)
        genesis = GenesisDraft(self.new_id(), now_us, self._gateway_id, name, self._signer.vkey)
        self._record(CreateClient(client, genesis, future), future)
        return future

    def create_key(
        self, *, label: str, sha256: bytes, client: str | None, role: str = "client", limits: str = "{}"
    ) -> Future[Key]:
        """A new key, of which only the SHA-256 (32 bytes) is kept; `client` is a client's id, None for an operator."""
        future: Future[Key] = self._loop.create_future()
        key = Key("k_" + secrets.token_hex(6), sha256, label, role, client, self._clock_us(), None, limits)
        self._record(CreateKey(key, self.new_id(), future), future)
        return future

    def limit_key(self, key_id: str, limits: str) -> Future[Key]:
        """Other limits for a key; the future may bring LedgerError (no such key, or it is revoked)."""
        future: Future[Key] = self._loop.create_future()
        self._record(LimitKey(key_id, limits, self._clock_us(), self.new_id(), future), future)
        return future

    def rotate_secret(self, key_id: str, sha256: bytes, limits: str) -> Future[Key]:
        """Another secret (its SHA-256) and these limits for a key, in one record; the future may bring LedgerError (no
        such key, it is revoked, or the secret is another key's)."""
        future: Future[Key] = self._loop.create_future()
        self._record(RotateSecret(key_id, sha256, limits, self._clock_us(), self.new_id(), future), future)
        return future

    def revoke_key(self, key_id: str) -> Future[Key]:
        """The end of a key; the future may bring LedgerError (no such key)."""
        future: Future[Key] = self._loop.create_future()
        self._record(RevokeKey(key_id, self._clock_us(), self.new_id(), future), future)
        return future

    async def spent_since(self, since_us: int) -> SpentSince:
        """What was spent since that wall time, by everything that was handed over for recording before this call and by
        nothing that is handed over later."""
        future: Future[SpentMark] = self._loop.create_future()
        self._submit(MarkSpent(future))
        marked = await future
        parts = await self._read(self._reader.spent, since_us, marked.n)
        return SpentSince(marked.cum_pico, quarter_of(since_us), parts)

    def clients(self) -> tuple[Client, ...]:
        """All clients, oldest first."""
        return self._parties.clients

    def keys(self) -> tuple[Key, ...]:
        """All keys, oldest first, revoked ones included."""
        return self._parties.keys

    def rotate(self, new: Signer) -> Future[None]:
        """Pass the signing key of every log on to `new`, which has the same name; done once that is durable. Until then
        keep both keys. The future may bring LedgerError."""
        future: Future[None] = self._loop.create_future()

        def passed(done: Future[None]) -> None:
            if not done.cancelled() and done.exception() is None:
                self._signer = new
                self._sign_with(new)

        future.add_done_callback(passed)
        reader = Reader(self._path, self._signer, self._vfs)
        self._record(RotateKey(self._signer, new, self._clock_us(), self.new_id, reader, future), future)
        return future

    @property
    def signer(self) -> Signer:
        """Who signs the checkpoints, for what else is signed in the ledger's name."""
        return self._signer

    @property
    def vkey(self) -> str:
        """The verifier key of the checkpoints, in the signed-note text form: what a client needs to check them."""
        return self._signer.vkey
