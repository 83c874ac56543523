"""`profiles`: gateways that live beside each other, each with folders, settings, a ledger and secrets of its own."""

from __future__ import annotations

import argparse
import sys

from app.commands.common import CommandError
from app.settings.folders import Folders, create_profile, delete_profile, list_profiles
from app.settings.instance import running


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
    delete_profile(options.name)
    print(f"Deleted {options.name}.")
    return 0
