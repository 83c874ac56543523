"""`models`: what the running gateway's engine has, and pulling, loading, updating and removing it.

Rule 1: the gateway does the work; this only asks it and shows what it tells. Ctrl-C cancels what is being shown; any
other end of this command ends nothing. Rule 2: on a terminal one line moves; elsewhere each change is a line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, TextIO

import aiohttp

from app.commands.common import CommandError, Ground, ask_running, ground
from app.identity import OPERATOR_TOKEN

_PLAIN_EVERY_S = 5.0
_LINE_B = 256 * 1024


def models(options: argparse.Namespace) -> int:
    """0 when it worked. Raises CommandError."""
    action, names = options.action, list(options.names)
    wanted = 0 if action == "list" else 2 if action == "update" else 1
    if len(names) != wanted:
        raise CommandError(f"models {action} wants {_WANTED[wanted]}.")
    base = ground(options)
    url = base.running_url()
    if url is None:
        raise CommandError(
            "No gateway of this profile runs: start it with «mortdecai-gateway serve», then try again."
        )
    return asyncio.run(_do(options, base, url, action, names))


_WANTED = {0: "no name", 1: "the name of one model", 2: "an address and the name of a model"}


async def _do(options: argparse.Namespace, base: Ground, url: str, action: str, names: list[str]) -> int:
    if action == "list":
        listed = await ask_running(base, url, "GET", "/admin/models")
        return _list(listed["models"], everything=options.all, as_json=options.json)
    if action == "cancel":
        return await _cancel(base, url, names[0])
    if action == "update":
        body = {"url": names[0], "name": names[1]} | ({"sha256": options.sha256} if options.sha256 else {})
        return await _follow(base, url, "/admin/update-model", body)
    if action in ("pull", "load"):
        return await _follow(base, url, f"/admin/models/{action}", {"model": names[0]})
    if action == "show":
        told = await ask_running(base, url, "POST", "/admin/models/show", {"model": names[0]})
        print(json.dumps(told, ensure_ascii=False, indent=2) if options.json else _shown(told))
        return 0
    if action == "rm":
        await ask_running(base, url, "DELETE", "/admin/models", {"model": names[0]})
        print(f"The model {names[0]} was removed.")
        return 0
    await ask_running(base, url, "POST", "/admin/models/unload", {"model": names[0]})
    print(f"The model {names[0]} was unloaded.")
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
    rows = [("MODEL", "SIZE", "STATE", "FITS", "")]
    for entry in shown:
        state = "loaded" if entry["loaded"] else "here" if entry["installed"] else "to pull"
        size = f"{entry['size_b'] / 1e9:.1f} GB"
        rows.append((entry["name"], size, state, entry["estimate"]["fit"], entry["estimate"]["sentence"]))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False))
        print(f"{line}  {row[4]}".rstrip())
    return 0


def _shown(told: Mapping[str, Any]) -> str:
    details = told.get("details")
    facts = dict(details) if isinstance(details, dict) else {}
    facts["capabilities"] = ", ".join(str(one) for one in told.get("capabilities") or [])
    lines = [f"{name}: {value}" for name, value in facts.items() if value and isinstance(value, str)]
    if isinstance(parameters := told.get("parameters"), str) and parameters.strip():
        lines += ["", parameters.rstrip()]
    return "\n".join(lines)


async def _cancel(base: Ground, url: str, name: str) -> int:
    listed = await ask_running(base, url, "GET", "/admin/models/operations")
    running = [
        one
        for one in listed["operations"]
        if one["outcome"] == "running" and name in (one["model"], one["model"].removesuffix(":latest"))
    ]
    if not running:
        raise CommandError(f"Nothing is being done with {name}.")
    for one in running:
        await ask_running(base, url, "POST", "/admin/models/cancel", {"operation": one["operation"]})
    print(f"Cancelled: {', '.join(one['doing'] for one in running)}. What has come is kept.")
    return 0


async def _follow(base: Ground, url: str, path: str, body: Mapping[str, Any]) -> int:
    """Begin or join an operation and show how far it is; Ctrl-C cancels it."""
    show = Shown(sys.stderr, moving=sys.stderr.isatty())
    operation = ""
    try:
        async with aclosing(_lines(base, url, path, body)) as lines:
            async for line in lines:
                operation = str(line.get("operation", operation))
                if "error" in line:
                    show.end()
                    raise CommandError(str(line["error"]))
                if line.get("status") == "success":
                    show.end()
                    print(line.get("message", "Done."))
                    return 0
                show.progress(line)
    except asyncio.CancelledError:
        if operation:
            await ask_running(base, url, "POST", "/admin/models/cancel", {"operation": operation})
        show.end()
        raise
    show.end()
    raise CommandError("The gateway broke off in the middle: see that it runs, then try again.")


async def _lines(
    base: Ground, url: str, path: str, body: Mapping[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    """The lines of an NDJSON answer of the running gateway's. Raises CommandError."""
    token = await (await base.vault()).get(OPERATOR_TOKEN)
    if token is None:
        raise CommandError(
            f"A gateway runs at {url}, and its operator's token is not in the {base.store.current.vault} vault. "
            "Name the vault it was started with: --vault."
        )
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers, read_bufsize=_LINE_B) as session,
            session.post(url + path, json=body) as reply,
        ):
            if reply.status >= 400:
                answer = await reply.json(content_type=None)
                raise CommandError(str(answer.get("error", f"The gateway answered with {reply.status}.")))
            while raw := await reply.content.readline():
                line = json.loads(raw)
                if isinstance(line, dict):
                    yield line
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise CommandError(f"The gateway at {url} did not answer as it should: {error}.") from None


class Shown:
    """Progress for a person: one moving line, or plain lines where something else reads along."""

    def __init__(self, out: TextIO, *, moving: bool) -> None:
        self._out = out
        self._moving = moving
        self._width = 0
        self._last = ("", -_PLAIN_EVERY_S)

    def progress(self, line: Mapping[str, Any]) -> None:
        """Show one line of progress."""
        text = in_words(line)
        if self._moving:
            print(f"\r{text.ljust(self._width)}", end="", file=self._out, flush=True)
            self._width = len(text)
            return
        status, now_s = str(line.get("status", "")), time.monotonic()
        if status != self._last[0] or now_s - self._last[1] >= _PLAIN_EVERY_S:
            self._last = (status, now_s)
            print(text, file=self._out, flush=True)

    def end(self) -> None:
        """The moving line is over."""
        if self._moving and self._width:
            print(file=self._out, flush=True)
            self._width = 0


def in_words(line: Mapping[str, Any]) -> str:
    """«Downloading: 1.2 of 4.9 GB (24 %), 48.0 MB/s, 1 min 17 s left»."""
    text = str(line.get("status", ""))
    done, total = line.get("completed") or 0, line.get("total") or 0
    if total:
        text += f": {done / 1e9:.1f} of {total / 1e9:.1f} GB ({100 * done // total} %)"
    elif done:
        text += f": {done / 1e9:.1f} GB"
    if rate := line.get("bytes_per_second"):
        text += f", {rate / 1e6:.1f} MB/s"
    if (left := line.get("seconds_left")) is not None:
        text += f", {duration(left)} left"
    return text


def duration(seconds: float) -> str:
    """«17 s», «1 min 17 s», «2 h 5 min»."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
