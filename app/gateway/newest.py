"""The newest checkpoint of every log, remembered in the vault: an older copy of the ledger's file is noticed by it.

Rule 1: only what is durable in the file is remembered, and a moment later: the file may be ahead of the memory, never
behind it. Rule 2: a vault that does not answer holds nothing up; the next commit tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from app.ledger.checkpoint import Checkpoint
from app.ledger.errors import LedgerRollback
from app.ledger.remembered import pack, unpack
from app.ledger.sqlite.store import Ledger
from app.vault.base import Vault, VaultUnavailable

log = logging.getLogger(__name__)
NAME = "ledger-newest"
EVERY_S = 3.0
"""Commits of so long a time are remembered at once: a vault is no place for a write a request."""


def text_name(number: int) -> str:
    """The name in the vault of the text with that number, from 0."""
    return f"{NAME}-{number}"


class Newest:
    """Read it with `load`, let it `follow` a ledger, and close it after that ledger."""

    def __init__(self, vault: Vault, texts: list[str]) -> None:
        self._vault = vault
        self._texts = texts
        self._ledger: Ledger | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._told = False

    @classmethod
    async def load(cls, vault: Vault) -> Newest:
        """What the vault remembers. Raises VaultUnavailable."""
        texts: list[str] = []
        while (text := await vault.get(text_name(len(texts)))) is not None:
            texts.append(text)
        return cls(vault, texts)

    @property
    def claims(self) -> tuple[Checkpoint, ...]:
        """What was remembered when this was loaded, or written since. Raises LedgerRollback where it is illegible."""
        try:
            return unpack(self._texts)
        except ValueError:
            raise LedgerRollback(
                "ROLLBACK: what the vault remembers of the ledger is damaged, so nobody can say whether the ledger is"
                " the newest: put back a copy of the vault, or go on with `mortdecai-gateway ledger accept-rollback`."
            ) from None

    @property
    def names(self) -> list[str]:
        """What its texts are called in the vault."""
        return [text_name(number) for number in range(len(self._texts))]

    def follow(self, ledger: Ledger) -> None:
        """Remember what `ledger` holds from now on."""
        self._ledger = ledger
        ledger.on_committed(lambda grown: self._soon())
        self._soon()

    def _soon(self) -> None:
        if self._timer is None and (self._writing is None or self._writing.done()):
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._writing = asyncio.get_running_loop().create_task(self._write())
        self._writing.add_done_callback(lambda task: self._again())

    def _again(self) -> None:
        """Commits that came while it was written are remembered with the next round."""
        if self._ledger is not None and not self._told and pack(self._ledger.newest()) != self._texts:
            self._soon()

    async def _write(self) -> None:
        if self._ledger is None:
            return
        try:
            await self._keep(pack(self._ledger.newest()))
            self._told = False
        except VaultUnavailable as error:
            if not self._told:
                log.warning("The newest checkpoints of the ledger are not remembered for now. %s", error)
            self._told = True

    async def _keep(self, texts: Sequence[str]) -> None:
        for number, text in enumerate(texts):
            if number >= len(self._texts):
                await self._vault.set(text_name(number), text)
                self._texts.append(text)
            elif self._texts[number] != text:
                await self._vault.set(text_name(number), text)
                self._texts[number] = text

    async def replace(self, claims: Sequence[Checkpoint]) -> None:
        """Remember exactly these. Raises VaultUnavailable."""
        texts = pack(claims)
        while len(self._texts) > len(texts):  # the last first, for reading ends at the first that is missing
            await self._vault.delete(text_name(len(self._texts) - 1))
            self._texts.pop()
        await self._keep(texts)

    async def close(self) -> None:
        """Remember what the ledger held when it was closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._write()
        self._ledger = None
