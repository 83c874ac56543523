"""`ledger deliver`: which client's log goes to which receiver of its own, and how far each is.

Asks the running gateway where there is one; where not, it is written down for the next start.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from app.billing.money import format_money
from app.commands.books import open_books
from app.commands.common import CommandError, Ground, ground
from app.commands.operator import ask_running
from app.commands.tables import TableColumn, show
from app.commands.trace import leave_trace
from app.gateway.delivery.ahead import receivers_of
from app.gateway.delivery.enrolling import forget_receiver, keep_receiver, require_allowed
from app.gateway.delivery.outgoing import Outgoing
from app.ledger.delivery import DeliveryRow, DeliveryWay
from app.ledger.invitation import Invitation, NoInvitation, parse_invitation
from app.ledger.parties import Client
from app.ledger.sqlite.store import Ledger

_COLUMNS = (
    TableColumn("CLIENT", whole=False),
    TableColumn("RECEIVER", whole=False),
    TableColumn("STATE"),
    TableColumn("ACKNOWLEDGED", right=True),
    TableColumn("WAITING", right=True),
    TableColumn("COST WAITING", right=True),
    TableColumn("NEXT TRY"),
    TableColumn("SAID", whole=False),
)


def deliver(options: argparse.Namespace) -> int:
    """`ledger deliver [CLIENT [LINE]] [--stop]`."""
    base = ground(options)
    if options.client is None:
        return asyncio.run(_list(base, options))
    if options.stop:
        return asyncio.run(_stop(base, options.client))
    line = options.line
    if line in (None, "-"):
        if sys.stdin.isatty():
            print("Paste the line that `receiver enrol` printed:", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
    return asyncio.run(_enrol(base, options.client, line))


async def _list(base: Ground, options: argparse.Namespace) -> int:
    url = base.running_url()
    if url is not None:
        told = (await ask_running(base, url, "GET", "/admin/receivers"))["receivers"]
    else:
        async with open_books(base) as (ledger, _, _):
            told = await _kept(ledger)
    if options.json:
        for one in told:
            print(json.dumps(one))
    else:
        show(_COLUMNS, (_row(one, base.store.current.currency) for one in told))
    return 0


async def _kept(ledger: Ledger) -> list[dict[str, Any]]:
    """As far as a gateway that does not run has written it down."""
    names = {client.log: client.name for client in ledger.clients()}
    sizes = {claim.origin: claim.size for claim in ledger.newest()}
    return [
        {
            "client": names[row.log],
            "log": row.log,
            "receiver": row.url or "CALLBACK_URL",
            "state": "stopped",
            "acknowledged": row.standing.acked,
            "waiting": sizes[row.log] - row.standing.acked,
            "sentence": row.standing.said or None,
            "next_try": None,
        }
        for row in await ledger.deliveries()
        if row.log in names
    ]


def _row(one: Mapping[str, Any], currency: str) -> tuple[object, ...]:
    pico, next_try = one.get("unacknowledged_cost_pico"), one["next_try"]
    return (
        one["client"],
        one["receiver"],
        one["state"],
        one["acknowledged"],
        one["waiting"],
        None if pico is None else format_money(int(pico), currency),
        None if next_try is None else f"{datetime.fromtimestamp(next_try).astimezone():%Y-%m-%d %H:%M:%S}",
        one["sentence"],
    )


async def _enrol(base: Ground, name: str, line: str) -> int:
    try:
        invitation = parse_invitation(line)
        url = base.running_url()
        if url is not None:
            body = {"client": name, "line": invitation.line}
            name = (await ask_running(base, url, "POST", "/admin/receivers", body))["client"]
        else:
            name = await _write_down(base, name, invitation)
    except NoInvitation as error:
        raise CommandError(str(error)) from None
    print(f"The log of {name} goes to {invitation.url} from now on.")
    return 0


@contextlib.asynccontextmanager
async def outgoing(base: Ground) -> AsyncIterator[Outgoing]:
    """Who asks clients' receivers in place of the gateway, by the same rules."""
    asking = receivers_of(lambda: base.store.current)
    try:
        yield asking
    finally:
        await asking.close()


async def _write_down(base: Ground, name: str, invitation: Invitation) -> str:
    async with outgoing(base) as asking:
        await require_allowed(asking, invitation)
    async with open_books(base) as (ledger, _, vault):
        client = _client(ledger, name)
        await keep_receiver(ledger, vault, client, invitation, await _known(ledger, client))
        leave_trace(base, "ledger deliver", [client.log])
        return client.name


async def _stop(base: Ground, name: str) -> int:
    url = base.running_url()
    if url is not None:
        name = (await ask_running(base, url, "DELETE", "/admin/receivers", {"client": name}))["client"]
    else:
        async with open_books(base) as (ledger, _, vault):
            client = _client(ledger, name)
            if await _known(ledger, client) is None:
                raise CommandError(f"{client.name} has no receiver of its own.")
            await forget_receiver(ledger, vault, client)
            leave_trace(base, "ledger deliver --stop", [client.log])
            name = client.name
    print(f"The log of {name} goes to no receiver of its own any more.")
    return 0


async def _known(ledger: Ledger, client: Client) -> DeliveryRow | None:
    rows = await ledger.deliveries()
    return next((row for row in rows if (row.log, row.way) == (client.log, DeliveryWay.LEDGER)), None)


def _client(ledger: Ledger, name: str) -> Client:
    for client in ledger.clients():
        if name in (client.id, client.name, client.log):
            return client
    raise CommandError(f"There is no client {name!r:.80}: create a key for it first.")
