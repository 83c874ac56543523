"""The ledger of a profile whose gateway does not run, opened by a command."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.access.identity import Identity
from app.basics.clock import wall_us
from app.commands.common import CommandError, Ground
from app.gateway.delivery.ahead import ahead
from app.gateway.newest import Newest
from app.ledger.checkpoint import Checkpoint, Signer
from app.ledger.sqlite.schema import LEDGER_FILE
from app.ledger.sqlite.store import Ledger
from app.settings.instance import InstanceLock
from app.vault.base import Vault


@dataclass(frozen=True, slots=True)
class Shut:
    """A profile whose gateway does not run, and stays so: its vault, and where its ledger lies."""

    vault: Vault
    identity: Identity
    newest: Newest
    path: Path

    @property
    def signer(self) -> Signer:
        """Who signs its checkpoints."""
        return self.identity.signer

    async def open_ledger(self, *, remembered: Sequence[Checkpoint], refilling: bool = False) -> Ledger:
        """Its ledger, which must hold what is `remembered`. Raises LedgerError. For `refilling` see `Ledger.open`."""
        return await Ledger.open(
            self.path,
            signer=self.signer,
            gateway_id=self.identity.gateway_id,
            clock_us=wall_us,
            remembered=remembered,
            recover=not refilling,
            refilling=refilling,
        )


@contextlib.asynccontextmanager
async def shut(base: Ground) -> AsyncIterator[Shut]:
    """The profile, locked so that no gateway starts meanwhile."""
    if base.store.current.vault == "memory":
        raise CommandError(
            "The memory vault keeps nothing once its gateway ends. Name another one with --vault."
        )
    base.folders.prepare()
    vault = await base.vault()
    with InstanceLock.acquire(base.folders.state):
        path = base.folders.data / LEDGER_FILE
        identity = await (await Identity.load(vault)).settled(vault, path)
        yield Shut(vault, identity, await Newest.load(vault), path)


@contextlib.asynccontextmanager
async def open_books(base: Ground) -> AsyncIterator[tuple[Ledger, Identity, Vault]]:
    """The ledger of such a profile, opened; what is written to it is remembered as a gateway would. Raises CommandError
    where a client's receiver has newer records of it."""
    async with shut(base) as profile:
        for tail in await ahead(profile.path, profile.signer.vkey, profile.vault, lambda: base.store.current):
            also = "" if tail.outlived else ", or start the gateway, which does so too"
            raise CommandError(f"{tail}: {tail.remedy}{also}.")
        ledger = await profile.open_ledger(remembered=profile.newest.claims)
        profile.newest.follow(ledger)
        try:
            yield ledger, profile.identity, profile.vault
        finally:
            await ledger.close()
            await profile.newest.close()
