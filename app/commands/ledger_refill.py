"""`ledger refill`: what an older copy of the ledger lacks, fetched back from the clients' own receivers.

Rule: until a log has all that is remembered of it, nothing is added to it but what it lacks. Records that a crash cut
off wait for that too: most of them are among what comes back.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from functools import partial

from app.commands.books import shut
from app.commands.common import CommandError, Ground, ground
from app.commands.ledger_deliver import outgoing
from app.commands.trace import leave_trace
from app.gateway.delivery.enrolling import receiver_secret
from app.gateway.delivery.holdings import KeyPassedOn
from app.gateway.delivery.outgoing import NoAnswer, Outgoing
from app.gateway.delivery.pushing import NoSecret
from app.gateway.delivery.refilling import TailFetch
from app.ledger.delivery import Contested, DeliveryWay, Failed, Refill
from app.ledger.errors import CheckpointError
from app.ledger.sqlite.store import Ledger
from app.vault.base import Vault


def refill(options: argparse.Namespace) -> int:
    """`ledger refill`; the exit status is 0 where nothing that is remembered is lacking any more."""
    return asyncio.run(_refill(ground(options)))


async def _refill(base: Ground) -> int:
    if base.running_url() is not None:
        raise CommandError("The gateway of this profile runs, and fetches by itself what it lacks.")
    async with shut(base) as profile:
        claims = profile.newest.claims
        if not (profile.path.exists() and profile.path.stat().st_size):
            raise CommandError(
                f"There is nothing at {profile.path}, and so nothing that says which receivers there are: put back a"
                " copy with `mortdecai-gateway ledger restore FILE` first."
            )
        ledger = await profile.open_ledger(remembered=(), refilling=True)
        try:
            async with outgoing(base) as asking:
                failed = await _fetch(ledger, asking, profile.vault)
        finally:
            await ledger.close()
        if failed:
            return 1
        ledger = await profile.open_ledger(remembered=claims)
        profile.newest.follow(ledger)
        await ledger.close()
        await profile.newest.close()
    leave_trace(base, "ledger refill")
    print("The ledger lacks nothing that this profile remembers.")
    return 0


async def _fetch(ledger: Ledger, asking: Outgoing, vault: Vault) -> bool:
    """Ask each client's receiver; whether one of them could not be asked, or has not given what we lack."""
    failed = False
    owners = {client.log: client.id for client in ledger.clients()}
    for row in await ledger.deliveries():
        if row.way is not DeliveryWay.LEDGER or row.log not in owners:
            continue
        fetch = TailFetch(ledger, asking, row.log, row.url, partial(_credentials, vault, owners[row.log]))
        try:
            print(f"{row.log}: {await _back(ledger, fetch, row.log)}")
        except (NoAnswer, NoSecret, CheckpointError, KeyPassedOn, CommandError) as error:
            failed = True
            print(f"{row.log}: {error}", file=sys.stderr)
    return failed


async def _credentials(vault: Vault, client_id: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {await receiver_secret(vault, client_id)}"}


async def _back(ledger: Ledger, fetch: TailFetch, log: str) -> str:
    """Fetch back what one log lacks; CommandError where that did not succeed."""
    have, there = ledger.frontier(log).size, await fetch.size()
    if there <= have:
        return f"the receiver has {there} records, and here are {have}."
    event = await fetch.refill(Refill(have, there))
    if isinstance(event, Failed | Contested):
        raise CommandError(event.sentence)
    return f"the records {have} to {ledger.frontier(log).size - 1} are back, each as it was signed."
