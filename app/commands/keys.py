"""`keys`: who may come in. Asks the running gateway where there is one, and opens the ledger itself where not."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.access.client_keys import ClientKeys
from app.access.identify import Access
from app.basics.clock import mono_us
from app.commands.books import open_books
from app.commands.common import CommandError, Ground, ask_running, ground


def keys(options: argparse.Namespace) -> int:
    """`mortdecai-gateway keys list|create|revoke`."""
    if options.action != "list" and not options.name:
        what = "a label for the key" if options.action == "create" else "the key's id or label"
        raise CommandError(f"keys {options.action} wants {what}.")
    return asyncio.run(_keys(ground(options), options))


async def _keys(base: Ground, options: argparse.Namespace) -> int:
    url = base.running_url()
    if url is not None:
        return _show(options, await _over_http(base, url, options))
    async with open_books(base) as (ledger, identity, vault):
        access = Access(mono_us, remote_admin=lambda: False)
        kept = ClientKeys(ledger, vault, access, identity.operator_token)
        await kept.load()
        answer: Mapping[str, Any]
        if options.action == "list":
            answer = {"keys": kept.all()}
        elif options.action == "create":
            answer = await kept.create(options.name, options.client)
        else:
            try:
                answer = await kept.revoke(options.name)
            except LookupError as error:
                raise CommandError(str(error)) from None
        return _show(options, answer)


async def _over_http(base: Ground, url: str, options: argparse.Namespace) -> dict[str, Any]:
    if options.action == "list":
        return await ask_running(base, url, "GET", "/admin/keys")
    if options.action == "create":
        body = {"label": options.name, "client": options.client}
        return await ask_running(base, url, "POST", "/admin/keys", body)
    return await ask_running(base, url, "DELETE", "/admin/keys", {"key": options.name})


def _show(options: argparse.Namespace, answer: Mapping[str, Any]) -> int:
    if options.action == "list":
        print(f"{'ID':<20} {'LABEL':<24} {'CLIENT':<20} {'CREATED':<17} STATE")
        for key in answer["keys"]:
            created = datetime.fromtimestamp(key["created"]).astimezone().strftime("%Y-%m-%d %H:%M")
            state = "active" if key["revoked"] is None else "revoked"
            print(f"{key['id']:<20} {key['label']:<24} {key['client']:<20} {created:<17} {state}")
    elif options.action == "create":
        print(answer["key"])
    else:
        print(f"Revoked {answer['label']} ({answer['id']}).")
    return 0
