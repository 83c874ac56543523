"""`receiver`: keep the client's side of the ledger, and say who may send to it.

The commands beside `run` work on the store itself, whether the receiver runs or not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from datetime import datetime
from typing import Any

from app.commands.common import CommandError
from app.commands.receiver_ground import ReceiverGround, receiver_ground
from app.commands.receiver_pull import pull_records
from app.commands.receiver_reconcile import reconcile_copy
from app.commands.receiver_verify import verify_copy
from app.commands.run import signals
from app.commands.tables import TableColumn, show
from app.ledger.invitation import Invitation
from app.receiver.assembly import Receiver, now_s, running
from app.receiver.enrolling import enrol, remove
from app.receiver.identity import ReceiverIdentity
from app.settings.logs import Logs

_COLUMNS = (
    TableColumn("NAME", whole=False),
    TableColumn("ENROLLED"),
    TableColumn("STATE"),
    TableColumn("LOGS", right=True),
    TableColumn("RECORDS", right=True),
    TableColumn("HEARD"),
)


def receiver(options: argparse.Namespace) -> int:
    """`mortdecai-gateway receiver [run|enrol|list|remove|verify|pull|reconcile]`."""
    place = receiver_ground(options)
    if options.action == "run":
        place.folders.prepare()
        with Logs(place.folders.logs, place.settings.log_level):
            return asyncio.run(_run(place, options))
    asyncio.run(place.require_same_store())
    match options.action:
        case "enrol":
            return asyncio.run(_enrol(place, options))
        case "list":
            return _list(place, options)
        case "remove":
            return _remove(place, options)
        case "pull":
            return asyncio.run(pull_records(place, options))
        case "reconcile":
            return asyncio.run(reconcile_copy(place, options))
        case _:
            return verify_copy(place, options)


async def _run(place: ReceiverGround, options: argparse.Namespace) -> int:
    stop = asyncio.Event()
    vault = await place.vault()
    with signals(stop):
        async with running(place.settings, place.folders, vault) as made:
            _announce(place, options, made)
            await stop.wait()
    return 0


def _announce(place: ReceiverGround, options: argparse.Namespace, made: Receiver) -> None:
    if options.print_connection:
        line = {
            "url": made.url,
            "owner_key": made.identity.owner_key,
            "vkey": made.identity.cosigner.vkey,
            "profile": place.profile,
            "pid": os.getpid(),
        }
        print(json.dumps(line), flush=True)
    else:
        print(f"Receiving at {made.url}. Press Ctrl-C to stop.", file=sys.stderr, flush=True)


async def _enrol(place: ReceiverGround, options: argparse.Namespace) -> int:
    name = _named(options)
    address, vkey = await _who(place)
    with place.store() as store:
        _, secret = enrol(store, name, options.vkey, now_s(), renew=options.renew)
    said = Invitation(address, secret, vkey)
    if options.json:
        told = {"name": name, "address": address, "secret": secret, "vkey": vkey, "line": said.line}
        print(json.dumps(told))
        return 0
    print(f"Address  {address}\nSecret   {secret}\nKey      {vkey}\n")
    print("All three in one line, for the gateway's owner. It is shown this once:\n")
    print(said.line)
    if place.settings.host != "127.0.0.1" and not place.settings.public_url:
        print(
            "\nGateways on other machines need an address that they can reach: name it with --public-url.",
            file=sys.stderr,
        )
    return 0


async def _who(place: ReceiverGround) -> tuple[str, str]:
    """The address and the verifier key to print: the running receiver's own, or what it will have."""
    url = place.url()
    if url is not None:
        return place.settings.public_url.rstrip("/") or url, await place.vkey_at(url)
    if place.settings.vault == "memory":
        raise CommandError(
            "The memory vault keeps no key: start the receiver first, or name another --vault."
        )
    address = place.settings.public_url.rstrip("/")
    if not address:
        if not place.settings.port:
            raise CommandError("A receiver on any free port has no address yet: start it first.")
        host = place.settings.host
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
        address = f"http://{shown}:{place.settings.port}"
    place.folders.prepare()
    identity = await ReceiverIdentity.load(await place.vault())
    return address, identity.cosigner.vkey


def _named(options: argparse.Namespace) -> str:
    if not options.name:
        raise CommandError(f"receiver {options.action} wants the gateway's name, as you call it.")
    return str(options.name)


def _list(place: ReceiverGround, options: argparse.Namespace) -> int:
    with place.store() as store:
        everybody, logs = store.enrolments(), store.logs(None)
    rows: list[dict[str, Any]] = []
    for each in everybody:
        own = [listed for listed in logs if listed.log.enrolment == each.id]
        heard = max((listed.heard_s for listed in own), default=None)
        rows.append(
            {
                "name": each.name,
                "enrolled": each.created_s,
                "removed": each.removed_s,
                "vkey": each.vkey,
                "logs": len(own),
                "records": sum(listed.log.size for listed in own),
                "heard": heard,
            }
        )
    if options.json:
        for row in rows:
            print(json.dumps(row))
        return 0
    show(
        _COLUMNS,
        (
            (
                row["name"],
                _when(row["enrolled"]),
                "active" if row["removed"] is None else "removed",
                row["logs"],
                row["records"],
                _when(row["heard"]),
            )
            for row in rows
        ),
    )
    return 0


def _remove(place: ReceiverGround, options: argparse.Namespace) -> int:
    with place.store() as store:
        gone = remove(store, _named(options), now_s())
    print(f"Removed {gone.name}: its secret opens nothing any more, and what it sent stays.")
    return 0


def _when(at_s: int | None) -> str:
    return "" if at_s is None else datetime.fromtimestamp(at_s).astimezone().strftime("%Y-%m-%d %H:%M")
