"""`profiles`: gateways that live beside each other, each with folders, settings, a ledger and secrets of its own."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from app.access.identity import GATEWAY_ID, NEXT_KEY, OPERATOR_TOKEN, SIGNING_KEY
from app.access.kept import kept_name, next_name
from app.commands.books import open_books
from app.commands.common import CommandError, Ground
from app.gateway.newest import Newest
from app.ledger.errors import LedgerError
from app.settings.folders import Folders, create_profile, delete_profile, list_profiles
from app.settings.instance import running
from app.settings.store import SettingsStore
from app.vault.base import VaultUnavailable


async def _forget_secrets(profile: str) -> None:
    """Take the profile's secrets out of the system's keyring; a secrets file goes with its folder anyway."""
    folders = Folders.for_profile(profile)
    store = SettingsStore.load(env=os.environ, file=folders.settings_file)
    if store.current.vault != "keyring":
        return
    async with open_books(Ground(folders, store, profile)) as (ledger, _, vault):
        keys = [name(key.id) for key in ledger.keys() for name in (kept_name, next_name)]
    names = [SIGNING_KEY, NEXT_KEY, GATEWAY_ID, OPERATOR_TOKEN, *keys]
    names += (await Newest.load(vault)).names
    for name in names:
        await vault.delete(name)


def profiles(options: argparse.Namespace) -> int:
    """`mortdecai-gateway profiles [list|create|delete]`."""
    if options.action == "list":
        for name in list_profiles():
            instance = running(Folders.for_profile(name).state)
            state = (
                "" if instance is None else f"running at {instance.url or 'an address it has not told yet'}"
            )
            print(f"{name:<24} {state}".rstrip())
        return 0
    if not options.name:
        raise CommandError(f"profiles {options.action} wants the profile's name.")
    if options.action == "create":
        create_profile(options.name)
        print(f"Created. Start it with: mortdecai-gateway --profile {options.name}")
        return 0
    if not options.yes:
        if not sys.stdin.isatty():
            raise CommandError("Deleting a profile deletes its ledger too. Say --yes if that is meant.")
        answer = input(f"Delete the profile {options.name} with its settings and its ledger? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            print("Nothing was deleted.")
            return 1
    if options.name in list_profiles():
        try:
            asyncio.run(_forget_secrets(options.name))
        except (VaultUnavailable, LedgerError) as error:
            print(f"Its secrets could not be taken out of the keyring: {error}", file=sys.stderr)
    delete_profile(options.name)
    print(f"Deleted {options.name}.")
    return 0
