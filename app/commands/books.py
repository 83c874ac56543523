"""The ledger of a profile whose gateway does not run, opened by a command."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from app.access.identity import Identity
from app.basics.clock import wall_us
from app.commands.common import CommandError, Ground
from app.ledger.checkpoint import Signer
from app.ledger.sqlite.schema import LEDGER_FILE
from app.ledger.sqlite.store import Ledger
from app.settings.instance import InstanceLock
from app.vault.base import Vault


@contextlib.asynccontextmanager
async def open_books(base: Ground) -> AsyncIterator[tuple[Ledger, Identity, Vault]]:
    """The ledger, with the profile locked so that no gateway starts meanwhile."""
    if base.store.current.vault == "memory":
        raise CommandError(
            "The memory vault keeps nothing once its gateway ends. Name another one with --vault."
        )
    base.folders.prepare()
    vault = await base.vault()
    with InstanceLock.acquire(base.folders.state):
        identity = await Identity.load(vault)
        ledger = await Ledger.open(
            base.folders.data / LEDGER_FILE,
            signer=Signer(identity.seed, identity.signer_name),
            gateway_id=identity.gateway_id,
            clock_us=wall_us,
        )
        try:
            yield ledger, identity, vault
        finally:
            await ledger.close()
