"""`demo`: the whole thing on a machine without a GPU, with the simulator and three real requests over HTTP.

Everything it keeps (settings, ledger, keys) lies in a folder of its own that goes away when it ends; the contributor's
own profile is not touched.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from app.basics.door import port_is_free
from app.basics.figures import plain_digits
from app.commands.common import CommandError, Ground
from app.commands.operator import pinned
from app.commands.run import Ready, logs, run
from app.commands.sentences import for_people
from app.gateway.gateway import Gateway
from app.settings.folders import Folders
from app.settings.store import SettingsStore

MODEL = "qwen2.5:3b"
PORT = 8434
_SHOWN = ("duration_seconds", "marginal_watts", "energy_wh", "energy_source", "estimated_cost", "total_cost")


class DemoFailed(CommandError):
    """One of the three requests did not go as it should."""


def demo(options: argparse.Namespace) -> int:
    """`mortdecai-gateway demo`."""
    with tempfile.TemporaryDirectory(prefix="mortdecai-demo-") as root:
        port = options.port
        if port is None:
            port = PORT if port_is_free("127.0.0.1", PORT) else 0
        folders = Folders.for_profile("demo", Path(root))
        store = SettingsStore.load(
            cli={"vault": "memory", "port": port, "log_level": "WARNING"}, env={}, file=folders.settings_file
        )
        base = Ground(folders, store, "demo")
        with logs(base):
            ready = _show(base, once=options.once)
            if not options.headless and has_display():
                from app.desktop.main import run_desktop

                return run_desktop(
                    lambda face: run(base, True, contribute=True, ready=face), after=ready, told=for_people()
                )
            return asyncio.run(run(base, True, contribute=True, ready=ready))


def has_display() -> bool:
    """Whether a tray could be shown at all."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def _show(base: Ground, *, once: bool) -> Ready:
    async def ready(gateway: Gateway, stop: asyncio.Event) -> None:
        key = await gateway.keys.plain()
        print("This is a simulation: no GPU does any work, and its watts are made up.\n", flush=True)
        timeout = aiohttp.ClientTimeout(total=60)
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(
            gateway.address, timeout=timeout, connector=pinned(base, gateway.address)
        ) as session:
            _print("1. Ollama, streamed", *await _ollama(session, headers))
            _print("2. OpenAI, streamed", *await _openai(session, headers))
            print(f"3. A wrong key\n   {await _refused(session)}\n")
        print(f"Ledger: {(await gateway.ledger.verify()).sentence}\n")
        print(f"Address     {gateway.address}\nKey         {key}\nDashboard   {gateway.address}/dashboard\n")
        print(
            "To paste:\n\n" + "\n".join(curls(gateway.address, key, gateway.identity.operator_token)) + "\n"
        )
        if once:
            stop.set()
        else:
            print("Serving on. Press Ctrl-C to stop.")
        sys.stdout.flush()

    return ready


def _print(title: str, text: str, figures: dict[str, Any]) -> None:
    if not text or not figures:
        raise DemoFailed(f"{title}: the answer came without its text or without its figures.")
    told = ((name, figures[name]) for name in _SHOWN)
    shown = ", ".join(
        f"{name} {plain_digits(value) if isinstance(value, float) else value}" for name, value in told
    )
    print(f"{title}\n   {text}\n   _gateway: {shown}\n", flush=True)


async def _ollama(session: aiohttp.ClientSession, headers: dict[str, str]) -> tuple[str, dict[str, Any]]:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Who are you?"}],
        "options": {"num_predict": 40},
    }
    text = ""
    figures: dict[str, Any] = {}
    async with session.post("/api/chat", json=body, headers=headers) as reply:
        async for line in reply.content:
            frame = json.loads(line)
            text += frame.get("message", {}).get("content", "")
            figures = frame.get("_gateway", figures)
    return text, figures


async def _openai(session: aiohttp.ClientSession, headers: dict[str, str]) -> tuple[str, dict[str, Any]]:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "And what does this cost?"}],
        "max_tokens": 40,
        "stream": True,
    }
    text = ""
    figures: dict[str, Any] = {}
    async with session.post("/v1/chat/completions", json=body, headers=headers) as reply:
        async for line in reply.content:
            data = line.strip().removeprefix(b"data: ")
            if data and data != b"[DONE]":
                frame = json.loads(data)
                text += frame["choices"][0]["delta"].get("content", "") if frame.get("choices") else ""
                figures = frame.get("_gateway", figures)
    return text, figures


async def _refused(session: aiohttp.ClientSession) -> str:
    async with session.post("/api/chat", json={}, headers={"Authorization": "Bearer mg_wrong"}) as reply:
        answer = await reply.json(content_type=None)
    if reply.status != 401:
        raise DemoFailed(f"A wrong key was answered with status {reply.status} instead of 401.")
    return f"{reply.status}: {answer['error']}"


def curls(address: str, key: str, operator: str) -> Sequence[str]:
    """Five commands to paste: both dialects, the figures, the ledger's verdict, and a change of the cap."""
    chat = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]})
    streamed = json.dumps(
        {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    )
    client, owner = f"-H 'Authorization: Bearer {key}'", f"-H 'Authorization: Bearer {operator}'"
    return (
        f"curl -sN {address}/api/chat {client} -d '{chat}'",
        f"curl -sN {address}/v1/chat/completions {client} -d '{streamed}'",
        f"curl -s {address}/stats {client}",
        f"curl -s {address}/reconcile {client}",
        f"curl -s {address}/config {owner} -d '{{\"SPENDING_CAP\": 5}}'",
    )
