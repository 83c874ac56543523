"""`engine`: the Ollama in Docker, from a terminal: start, stop, restart, update, recreate, remove, status, log.

Rule: while the profile's gateway runs it does the work, because it looks after the container; otherwise the command
does it itself and leaves the container as the verb says.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

from app.commands.common import CommandError, Ground, ground
from app.commands.operator import ask_running
from app.commands.parts import contained
from app.commands.progress import Shown
from app.commands.tables import TableColumn, show
from app.commands.trace import leave_trace
from app.containers.base import ContainerError
from app.engine.base import Engine
from app.engine.host import EngineHost, HostCare

_COLUMNS = (TableColumn("WHAT"), TableColumn("IS", whole=False))


def engine(options: argparse.Namespace) -> int:
    """`mortdecai-gateway engine VERB`."""
    return asyncio.run(_do(ground(options), options))


async def _do(base: Ground, options: argparse.Namespace) -> int:
    if base.store.current.engine != "container":
        raise CommandError(
            f"This profile uses the engine at {base.store.current.upstream_url}, which is not ours to manage. "
            "For one in Docker run: mortdecai-gateway setup --engine container"
        )
    url = base.running_url()
    if url is None:
        try:
            return await _alone(base, options)
        except ContainerError as error:
            raise CommandError(str(error)) from None
    if options.verb == "log":
        answer = await ask_running(base, url, "GET", "/admin/engine/log")
        print("\n".join(answer["log"]))
    elif options.verb == "status":
        answer = await ask_running(base, url, "GET", "/admin/engine")
        told = answer["container"].items()
        show(_COLUMNS, ((name, value if value not in (None, "", []) else "–") for name, value in told))
    elif options.verb == "remove":
        raise CommandError("Quit the gateway first: it looks after the container.")
    else:
        if options.image:
            raise CommandError("Quit the gateway first, or set engine_image: it looks after the container.")
        answer = await ask_running(base, url, "POST", "/admin/engine", {"verb": options.verb}, answer_s=1800)
        print(answer["said"])
    return 0


async def _alone(base: Ground, options: argparse.Namespace) -> int:
    async with alone(base) as (host, _):
        match options.verb:
            case "status":
                raise CommandError(
                    "No gateway of this profile runs, so nobody looks after its container. Ask the doctor instead: "
                    "mortdecai-gateway doctor"
                )
            case "start":
                await host.start()
                print("The engine runs.")
            case "stop":
                await host.stop()
                print("The engine is stopped; its models are kept.")
            case "restart":
                await host.stop()
                await host.start()
                print("The engine was restarted.")
            case "update":
                print(await host.update(options.image))
            case "recreate":
                await host.recreate()
                print("The engine's container was made anew; its models are kept.")
            case "remove":
                if options.models and not options.yes and not _sure():
                    return 1
                await host.remove(models=options.models)
                kept = "its models too" if options.models else "its models are kept"
                print(f"The engine's container is removed; {kept}.")
            case "log":
                print(await host.log_tail(200))
    if options.verb != "log":
        leave_trace(base, f"engine {options.verb}")
    return 0


def _sure() -> bool:
    if not sys.stdin.isatty():
        raise CommandError("Removing the models cannot be undone: say --yes to do it without being asked.")
    return input("Remove the container and every model in it? [y/N] ").strip().lower() in ("y", "yes")


@contextlib.asynccontextmanager
async def alone(base: Ground) -> AsyncIterator[tuple[EngineHost, Engine]]:
    """The host of the profile's container, and the engine in it, without a gateway around them; its progress goes to
    the terminal."""
    made = contained(base)
    shown = Shown()

    def changed() -> None:
        progress = host.state.progress
        shown.tell(progress) if progress is not None else shown.end()

    host = made.host(HostCare(changed, busy=lambda: False, quietly=contextlib.nullcontext))
    try:
        yield host, made.engine
    finally:
        await host.close()
        await made.engine.close()
        shown.end()
