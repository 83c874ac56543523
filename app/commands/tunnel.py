"""`public-address`: whether clients can reach this gateway from the internet, and how.

Rule: the token is read without being shown, checked, and kept in the vault; it is never an argument, which every user
of the machine could read.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
import time
from typing import Any

from app.commands.common import CommandError, Ground, ground
from app.commands.operator import ask_running
from app.commands.trace import leave_trace
from app.tunnel.token import TOKEN_NAME, read_token
from app.tunnel.words import TunnelError

PATH = "/admin/public-address"
_PATIENCE_S = 600.0
"""An image may have to be pulled first."""
_LONGEST = 8192


def public(options: argparse.Namespace) -> int:
    """`mortdecai-gateway public-address status|token|quick|named|off`; 1 where the address is wanted and not open."""
    base = ground(options)
    if options.action == "token":
        return asyncio.run(_keep_token(base))
    return asyncio.run(_ask(base, options.action))


async def _keep_token(base: Ground) -> int:
    if base.store.current.vault == "memory":
        raise CommandError("The memory vault forgets everything at the end. Name another one: --vault file.")
    vault = await base.vault()
    try:
        token = read_token(await asyncio.to_thread(_typed))
    except TunnelError as error:
        raise CommandError(f"{error} {error.fix}") from None
    await vault.set(TOKEN_NAME, token)
    leave_trace(base, "public-address token")
    print(
        f"The token is kept in the {vault.name} vault. Open the address with: mortdecai-gateway public-address named"
    )
    return 0


def _typed() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("Token of the tunnel (it is not shown): ")
    return sys.stdin.readline(_LONGEST)


async def _ask(base: Ground, action: str) -> int:
    url = base.running_url()
    if url is None:
        if action != "status":
            raise CommandError("No gateway of this profile runs. Start it first: mortdecai-gateway serve.")
        print(f"No gateway of this profile runs. Its setting is: {base.store.current.public_address}.")
        return 0
    if action == "status":
        return show(await ask_running(base, url, "GET", PATH))
    # It answers when the address is open, closed, or has failed.
    await ask_running(base, url, "POST", PATH, {"mode": action}, answer_s=_PATIENCE_S)
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        state = await ask_running(base, url, "GET", PATH)
        if state.get("phase") != "opening" or time.monotonic() > deadline_s:
            return show(state)
        await asyncio.sleep(0.5)


def show(state: dict[str, Any]) -> int:
    """Print what `/admin/public-address` answers: `phase`, `url`, `problem`, `fix`."""
    phase, url = state.get("phase"), state.get("url")
    if phase == "open":
        print(
            f"Open: {url}" if url else "Open. Its address is the one that you gave the tunnel at Cloudflare."
        )
    elif phase == "off":
        print("Off: no address of this gateway is public.")
    elif phase == "opening":
        print("Opening: it is not there yet.")
    else:
        print("Failed.")
    for name in ("problem", "fix"):
        if state.get(name):
            print(state[name])
    return 0 if phase in ("open", "off", "opening") else 1
