"""`models`: what the profile's engine has, and pulling, loading, updating and removing it.

Rule 1: the running gateway does the work and this only asks it; where none runs it is done here (see `direct`). Ctrl-C
cancels what is being shown; any other end of this command ends nothing of a gateway's. Rule 2: see `progress`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from app.commands.common import CommandError, Ground, ground
from app.commands.operator import Operator, operator
from app.commands.progress import Shown, from_line
from app.commands.tables import TableColumn, show
from app.commands.trace import leave_trace

_COLUMNS = (
    TableColumn("MODEL", whole=False),
    TableColumn("SIZE", right=True),
    TableColumn("STATE"),
    TableColumn("FITS"),
    TableColumn("", whole=False),
)


class Way(Protocol):
    """How the models are reached: through the running gateway, or directly. Everything raises CommandError."""

    async def entries(self) -> list[dict[str, Any]]:
        """The engine's models, then the catalogue's that are not there."""

    async def show(self, name: str) -> dict[str, Any]:
        """What the engine tells of a model."""

    async def remove(self, name: str) -> None:
        """Remove a model from the disk."""

    async def unload(self, name: str) -> None:
        """Give a model's memory back."""

    def begin(self, action: str, *names: str, sha256: str = "") -> AsyncGenerator[dict[str, Any], None]:
        """Begin or join `pull`, `load` or `update`, and tell how far it is, a line at a time."""

    async def cancel(self, operation: str) -> None:
        """Stop an operation by its id; what has come is kept."""


class Running:
    """Asks the running gateway (see `Way`)."""

    def __init__(self, owner: Operator) -> None:
        self._owner = owner

    async def entries(self) -> list[dict[str, Any]]:
        """See `Way`, as are the others."""
        return list((await self._owner.ask("GET", "/admin/models"))["models"])

    async def operations(self) -> list[dict[str, Any]]:
        """What runs and what has ended lately."""
        return list((await self._owner.ask("GET", "/admin/models/operations"))["operations"])

    async def show(self, name: str) -> dict[str, Any]:
        """What the engine tells of it."""
        return await self._owner.ask("POST", "/admin/models/show", {"model": name})

    async def remove(self, name: str) -> None:
        """From the disk."""
        await self._owner.ask("DELETE", "/admin/models", {"model": name})

    async def unload(self, name: str) -> None:
        """From memory."""
        await self._owner.ask("POST", "/admin/models/unload", {"model": name})

    def begin(self, action: str, *names: str, sha256: str = "") -> AsyncGenerator[dict[str, Any], None]:
        """The lines of the gateway's answer."""
        if action == "update":
            body = {"url": names[0], "name": names[1]} | ({"sha256": sha256} if sha256 else {})
            return self._owner.follow("/admin/update-model", body)
        return self._owner.follow(f"/admin/models/{action}", {"model": names[0]})

    async def cancel(self, operation: str) -> None:
        """By its id."""
        await self._owner.ask("POST", "/admin/models/cancel", {"operation": operation})


def models(options: argparse.Namespace) -> int:
    """0 when it worked. Raises CommandError."""
    action, names = options.action, list(options.names)
    wanted = 0 if action == "list" else 2 if action == "update" else 1
    if len(names) != wanted:
        raise CommandError(f"models {action} wants {_WANTED[wanted]}.")
    base = ground(options)
    url = base.running_url()
    if action == "cancel":
        return asyncio.run(_cancel(base, url, names[0]))
    return asyncio.run(_do(options, base, url, action, names))


_WANTED = {0: "no name", 1: "the name of one model", 2: "an address and the name of a model"}


_DEEDS = frozenset({"pull", "update", "load", "unload", "rm"})


@contextlib.asynccontextmanager
async def _way(base: Ground, url: str | None, action: str, names: Sequence[str]) -> AsyncIterator[Way]:
    if url is not None:
        async with operator(base, url) as owner:
            yield Running(owner)
        return
    from app.commands.direct import direct

    async with direct(base, action) as way:
        yield way
        if action in _DEEDS:
            leave_trace(base, f"models {action}", names[-1:])


async def _do(
    options: argparse.Namespace, base: Ground, url: str | None, action: str, names: list[str]
) -> int:
    async with _way(base, url, action, names) as way:
        if action == "list":
            return _list(await way.entries(), everything=options.all, as_json=options.json)
        if action == "show":
            told = await way.show(names[0])
            print(json.dumps(told, ensure_ascii=False, indent=2) if options.json else _shown(told))
        elif action == "rm":
            await way.remove(names[0])
            print(f"The model {names[0]} was removed.")
        elif action == "unload":
            await way.unload(names[0])
            print(f"The model {names[0]} was unloaded.")
        else:
            print(await _follow(way, way.begin(action, *names, sha256=options.sha256)))
    return 0


def _list(entries: list[dict[str, Any]], *, everything: bool, as_json: bool) -> int:
    shown = [entry for entry in entries if everything or entry["installed"]]
    if as_json:
        for entry in shown:
            print(json.dumps(entry, ensure_ascii=False))
        return 0
    if not shown:
        print("The engine has no model yet. See what there is: mortdecai-gateway models list --all")
        return 0
    rows = []
    for entry in shown:
        state = "loaded" if entry["loaded"] else "here" if entry["installed"] else "to pull"
        size = f"{entry['size_b'] / 1e9:.1f} GB"
        rows.append((entry["name"], size, state, entry["estimate"]["fit"], entry["estimate"]["sentence"]))
    show(_COLUMNS, rows)
    return 0


def _shown(told: Mapping[str, Any]) -> str:
    details = told.get("details")
    facts = dict(details) if isinstance(details, dict) else {}
    facts["capabilities"] = ", ".join(str(one) for one in told.get("capabilities") or [])
    lines = [f"{name}: {value}" for name, value in facts.items() if value and isinstance(value, str)]
    if isinstance(parameters := told.get("parameters"), str) and parameters.strip():
        lines += ["", parameters.rstrip()]
    return "\n".join(lines)


async def _cancel(base: Ground, url: str | None, name: str) -> int:
    if url is None:
        raise CommandError(
            "No gateway of this profile runs: start it with «mortdecai-gateway serve», then try again."
        )
    async with operator(base, url) as owner:
        way = Running(owner)
        running = [
            one
            for one in await way.operations()
            if one["outcome"] == "running" and name in (one["model"], one["model"].removesuffix(":latest"))
        ]
        if not running:
            raise CommandError(f"Nothing is being done with {name}.")
        for one in running:
            await way.cancel(one["operation"])
    print(f"Cancelled: {', '.join(one['doing'] for one in running)}. What has come is kept.")
    return 0


async def _follow(way: Way, begun: AsyncGenerator[dict[str, Any], None]) -> str:
    """Show how far an operation is, and say what came of it; Ctrl-C cancels it."""
    shown = Shown()
    operation = ""
    try:
        async with aclosing(begun) as lines:
            async for line in lines:
                operation = str(line.get("operation", operation))
                if line.get("status") == "success":
                    return str(line.get("message", "Done."))
                shown.tell(from_line(line))
    except asyncio.CancelledError:
        if operation:
            await way.cancel(operation)
        raise
    finally:
        shown.end()
    raise CommandError("The gateway broke off in the middle: see that it runs, then try again.")
