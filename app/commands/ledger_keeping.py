"""`ledger rotate-key`: what keeps a ledger in good hands. The gateway of the profile must not run meanwhile."""

from __future__ import annotations

import argparse
import asyncio

from app.commands.books import open_books
from app.commands.common import CommandError, Ground, ground


def rotate_key(options: argparse.Namespace) -> int:
    """`ledger rotate-key`."""
    return asyncio.run(_rotate_key(_at_rest(options)))


def _at_rest(options: argparse.Namespace) -> Ground:
    base = ground(options)
    if base.running_url() is not None:
        raise CommandError(f"The gateway of this profile runs: stop it before `ledger {options.action}`.")
    return base


async def _rotate_key(base: Ground) -> int:
    async with open_books(base) as (ledger, identity, vault):
        before = ledger.vkey
        await identity.rotate(vault, ledger)
        logs = len(ledger.newest())
        print(
            f"The ledger ({logs} logs) is signed with a new key from now on; each log says so in a record that both"
        )
        print("keys have signed. What the old key signs after it is worth nothing.")
        print(f"  old: {before}")
        print(f"  new: {ledger.vkey}")
    return 0
