"""`tray` and `serve`: the same gateway, with a desktop around it or without.

Nothing here imports Qt until `tray` is asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator

from app.commands import loops
from app.commands.common import Ground, ground, kept_or_not
from app.commands.parts import parts
from app.commands.sentences import for_people
from app.gateway.assembly import running
from app.gateway.gateway import Gateway
from app.settings.logs import Logs

log = logging.getLogger(__name__)

Ready = Callable[[Gateway, asyncio.Event], Awaitable[None]]
"""Called once the gateway listens; setting the event ends the run."""


def serve(options: argparse.Namespace) -> int:
    """`mortdecai-gateway serve`."""
    with kept_or_not(ground(options)) as base, logs(base):
        serving = run(base, options.simulate, contribute=True, ready=_announce(base, options))
        return loops.run(serving, fast=base.store.current.uvloop)


def tray(options: argparse.Namespace) -> int:
    """`mortdecai-gateway tray`."""
    from app.desktop.main import run_desktop

    with kept_or_not(ground(options)) as base, logs(base):
        contribute = options.contribute or base.store.current.start_contributing
        announce = _announce(base, options)
        return run_desktop(
            lambda ready: run(base, options.simulate, contribute=contribute, ready=ready),
            after=announce,
            told=for_people(),
        )


async def run(base: Ground, simulate: bool, *, contribute: bool, ready: Ready) -> int:
    """Run one gateway until it is told to stop; the exit status."""
    stop = asyncio.Event()
    async with parts(base, simulate) as made:
        vault = await base.vault()
        with signals(stop):
            async with running(
                base.store,
                base.folders,
                vault,
                made.engine,
                made.sensor,
                contribute=contribute,
                host=made.host,
                docker=made.docker,
            ) as gateway:
                await ready(gateway, stop)
                # What is there now stays; the collector need not look through it again with every full run.
                gc.collect()
                gc.freeze()
                await stop.wait()
    return 0


@contextlib.contextmanager
def signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the run in order; where the loop takes no signals (Windows) Python's own ways stay."""
    loop = asyncio.get_running_loop()
    taken = []
    for number in (signal.SIGTERM, signal.SIGINT):
        # NotImplementedError: a loop of Windows; RuntimeError: not the main thread, where no signal arrives.
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(number, stop.set)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


def _announce(base: Ground, options: argparse.Namespace) -> Ready:
    async def ready(gateway: Gateway, _: asyncio.Event) -> None:
        tls = gateway.snapshot().tls
        if options.print_connection:
            line = {
                "url": gateway.address,
                **({} if tls is None else {"fingerprint": tls.fingerprint, "certificate": tls.path}),
                "api_key": await gateway.keys.plain(),
                "operator_token": gateway.identity.operator_token,
                "profile": base.profile,
                "pid": os.getpid(),
            }
            print(json.dumps(line), flush=True)
        elif options.command == "serve":
            known = "" if tls is None else f" Its certificate's SHA-256 is {tls.fingerprint}."
            print(f"Serving at {gateway.address}.{known} Press Ctrl-C to stop.", file=sys.stderr, flush=True)

    return ready


def logs(base: Ground, *, stderr: bool = True) -> Logs:
    """The profile's log file, and stderr where a person does not read something else there; a context manager."""
    base.folders.prepare()
    kept = Logs(base.folders.logs, base.store.current.log_level, stderr=stderr)
    if base.store.ignored:
        log.info(
            "The environment file also names %s, which are no settings here.", ", ".join(base.store.ignored)
        )
    return kept
