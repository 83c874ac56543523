"""The plug at the wall that the settings name, for the commands: its token, and asking it."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys

from app.commands.common import CommandError, Ground, ground
from app.commands.trace import leave_trace
from app.power.plug import Plug, PlugError, PlugKind, WallPlug
from app.vault.base import check_secret

TOKEN_NAME = "power/plug-token"  # noqa: S105 - the name of a secret
_LONGEST = 2048


def keep_token(options: argparse.Namespace) -> int:
    """`mortdecai-gateway power plug-token`: keep the plug's password or token in the vault, once the plug takes it."""
    return asyncio.run(_keep(ground(options)))


async def plug_of(base: Ground) -> Plug | None:
    """The plug that the settings name; None where there is none. Opens the vault for nothing else."""
    settings = base.store.current
    if settings.plug == "off":
        return None
    kind = PlugKind(settings.plug)
    if kind is PlugKind.HOME_ASSISTANT and not settings.plug_entity:
        raise CommandError(
            "Home Assistant has many entities: name the one that tells the power with --set plug_entity=sensor.…"
        )
    token = await (await base.vault()).get(TOKEN_NAME)
    return Plug(kind, settings.plug_url, settings.plug_entity, token)


async def wall_watts(plug: Plug) -> float:
    """What the socket gives now. Raises PlugError."""
    wall = WallPlug(plug)
    try:
        return await wall.watts()
    finally:
        await wall.close()


async def _keep(base: Ground) -> int:
    if base.store.current.vault == "memory":
        raise CommandError("The memory vault forgets everything at the end. Name another one: --vault file.")
    plug = await plug_of(base)
    if plug is None:
        raise CommandError(
            "No plug is set: name one, as in --set plug=shelly --set plug_url=http://192.168.1.40"
        )
    token = (await asyncio.to_thread(_typed)).strip()
    try:
        check_secret(token)
    except ValueError as error:
        raise CommandError(f"This is no token: {error}.") from None
    try:
        watts = await wall_watts(Plug(plug.kind, plug.url, plug.entity, token))
    except PlugError as error:
        raise CommandError(f"Nothing was kept. {error}") from None
    vault = await base.vault()
    await vault.set(TOKEN_NAME, token)
    leave_trace(base, "power plug-token")
    print(f"The token is kept in the {vault.name} vault. The socket gives {watts:.0f} W now.")
    return 0


def _typed() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("Password or token of the plug (it is not shown): ")
    return sys.stdin.readline(_LONGEST)
