"""Where a command reads the ledger: from the running gateway, or from the file of one that does not run.

Rule 1: reading changes nothing: a file is read as it lies, so what a crash cut off stays for the gateway to record.
Rule 2: both sources give the same bytes and the same errors.
"""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from typing import Protocol

from app.commands.books import Shut, shut
from app.commands.common import CommandError, Ground
from app.commands.operator import Operator, operator
from app.ledger.errors import NotInLog
from app.ledger.parties import Client, log_named
from app.ledger.proofs import Inclusion
from app.ledger.sqlite.reader import Reader
from app.ledger.sqlite.schema import LEDGER_FILE

AT_ONCE = 256


class LedgerSource(Protocol):
    """A ledger that can be read. Every method may raise LedgerError or CommandError."""

    @property
    def vkey(self) -> str:
        """The verifier key of its checkpoints."""

    @property
    def logs(self) -> tuple[tuple[str, str], ...]:
        """Each log with its client's name, oldest first."""

    def named(self, word: str | None) -> str:
        """The log of that name, or of the client of that name; without a word the only one. CommandError."""

    def entries(self, log: str) -> AsyncGenerator[bytes, None]:
        """Every record's exact bytes, the first one first."""

    async def inclusion(self, log: str, seq: int, size: int | None, *, cosigned: bool) -> Inclusion:
        """The proof that record `seq` is in the newest checkpoint, or in that over the first `size` records, or
        (`cosigned`) in the newest that a receiver has cosigned."""


@contextlib.asynccontextmanager
async def ledger_source(base: Ground) -> AsyncIterator[LedgerSource]:
    """The profile's ledger. Raises CommandError where there is none yet."""
    url = base.running_url()
    if url is not None:
        async with operator(base, url) as owner:
            told = await owner.ask("GET", "/ledger/logs")
            yield _Running(owner, told["vkey"], tuple((at["log"], at["client"]) for at in told["logs"]))
        return
    if base.store.current.vault != "memory" and not (base.folders.data / LEDGER_FILE).exists():
        raise CommandError(
            f"The profile {base.profile} has no ledger yet: it begins with the gateway's first start."
        )
    async with shut(base) as profile:
        reader = Reader(profile.path, profile.signer)
        try:
            yield _Lying(profile, reader, await asyncio.to_thread(reader.clients))
        finally:
            reader.close()


class _Running:
    def __init__(self, owner: Operator, vkey: str, logs: tuple[tuple[str, str], ...]) -> None:
        self.vkey = vkey
        self.logs = logs
        self._owner = owner

    def named(self, word: str | None) -> str:
        return named_log(tuple(Client(log, client, log, 0) for log, client in self.logs), word)

    def entries(self, log: str) -> AsyncGenerator[bytes, None]:
        return self._owner.read("/ledger/entries", log=log)

    async def inclusion(self, log: str, seq: int, size: int | None, *, cosigned: bool) -> Inclusion:
        of = "cosigned" if cosigned else size
        asked = f"/ledger/proof/{seq}?log={log}" + ("" if of is None else f"&size={of}")
        told = await self._owner.ask("GET", asked)
        steps = tuple(b64decode(step) for step in told["proof"])
        return Inclusion(log, told["seq"], told["size"], told["leaf"].encode(), steps, told["checkpoint"])


class _Lying:
    def __init__(self, profile: Shut, reader: Reader, clients: tuple[Client, ...]) -> None:
        self.vkey = profile.signer.vkey
        self.logs = tuple((client.log, client.name) for client in clients)
        self._clients = clients
        self._reader = reader

    def named(self, word: str | None) -> str:
        return named_log(self._clients, word)

    async def entries(self, log: str) -> AsyncGenerator[bytes, None]:
        at = 0
        while part := await asyncio.to_thread(self._reader.entries, log, at, AT_ONCE):
            at += len(part)
            for body in part:
                yield body

    async def inclusion(self, log: str, seq: int, size: int | None, *, cosigned: bool) -> Inclusion:
        try:
            if cosigned:
                size = await asyncio.to_thread(self._reader.cosigned_size, log)
            return await asyncio.to_thread(self._reader.inclusion, log, seq, size)
        except NotInLog as error:
            raise CommandError(str(error)) from None


def named_log(clients: tuple[Client, ...], word: str | None) -> str:
    """The log that `word` names (see `parties.log_named`); CommandError where it names none."""
    name = log_named(clients, word)
    if name is not None:
        return name
    some = ", ".join([f"{client.log} ({client.name})" for client in clients[:8]] + ["…"] * (len(clients) > 8))
    if word is None:
        raise CommandError(f"There are {len(clients)} logs: name one with --log ({some}).")
    raise CommandError(f"There is no log {word!r:.80}; there are {some or 'none'}.")


class Threaded:
    """The file of a gateway that does not run, read in threads: what `Readings` answers of one that does."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.ask = asyncio.to_thread

    @classmethod
    @contextlib.asynccontextmanager
    async def over(cls, reader: Reader) -> AsyncIterator[Threaded]:
        """Closed at the end."""
        try:
            yield cls(reader)
        finally:
            await asyncio.to_thread(reader.close)

    async def entries(self, log_id: str, from_seq: int, limit: int) -> tuple[bytes, ...]:
        """See `Readings.entries`."""
        return await self.ask(self.reader.entries, log_id, from_seq, limit)

    async def checkpoint(self, log_id: str, size: int | None = None, *, cosigned: bool = False) -> str:
        """See `Readings.checkpoint`."""
        return await self.ask(partial(self.reader.checkpoint, log_id, size, cosigned=cosigned))

    async def cosigned_size(self, log_id: str) -> int:
        """See `Readings.cosigned_size`."""
        return await self.ask(self.reader.cosigned_size, log_id)

    async def inclusion(self, log_id: str, seq: int, size: int | None = None) -> Inclusion:
        """See `Readings.inclusion`."""
        return await self.ask(self.reader.inclusion, log_id, seq, size)
