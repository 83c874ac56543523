"""Pictures of the window, taken of the real tray process on a virtual screen with a real panel.

python -m tests.real.picture                 docs/window.png, docs/models.png and their dark twins, after some minutes
python -m tests.real.picture --out DIR --seconds 20
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.tools import ROOT, first_line, started
from tests.real.screen import click_icon, press, screen_with_panel, tree, type_text

_WINDOW = re.compile(r'(0x[0-9a-f]+) "Mortdecai Gateway".*\s\d{3,}x\d{3,}\+')
LONG = "[simulate: 900 tokens]"
UNDER_WAY_S = 4.0
PULLED = "gemma3:12b"
PULLING_S = 12.0
PROMPTS = ("Why is the sky blue?", "[simulate: 700 tokens]", "[simulate: 300 tokens]", "Write a short poem.")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--seconds", type=float, default=170)
    options = parser.parse_args()
    for dark in (False, True):
        for picture in take(dark, options.out, options.seconds):
            print(picture)


def take(dark: bool, folder: Path, seconds: float) -> tuple[Path, Path]:
    """Run the tray process in one colour scheme, send it requests for a while, and keep pictures of its window."""
    twin = "-dark" if dark else ""
    overview, models = folder / f"window{twin}.png", folder / f"models{twin}.png"

    def shoot() -> None:
        _shoot(display, overview)
        press(display, "ctrl+3")
        time.sleep(2)
        press(display, "ctrl+f")
        type_text(display, PULLED)
        press(display, "Return")
        time.sleep(PULLING_S)
        _shoot(display, models)

    script = (
        "from PySide6.QtWidgets import QApplication; import app.cli; from tests.desktop.look import dark_palette;"
        f"window = QApplication(['gateway']); {dark} and window.setPalette(dark_palette());"
        "app.cli.main(['tray', '--simulate', '--port', '0', '--vault', 'memory', '--contribute',"
        " '--print-connection', '--set', 'spending_cap=0.05', '--set', 'engine_parallel=2'])"
    )
    with tempfile.TemporaryDirectory() as home, screen_with_panel() as display:
        environment = {
            "DISPLAY": display,
            "QT_QPA_PLATFORM": "xcb",
            "MORTDECAI_HOME": home,
            "PYTHONPATH": str(ROOT),
        }
        with started([sys.executable, "-c", script], environment) as process:
            connection = json.loads(first_line(process))
            click_icon(display)
            asyncio.run(_use(connection, seconds, shoot))
    return overview, models


def _shoot(display: str, picture: Path) -> None:
    window = _WINDOW.search(tree(display))
    assert window is not None, "the window did not open"
    command = ["import", "-window", window[1], str(picture)]
    subprocess.run(command, env={**os.environ, "DISPLAY": display}, check=True)


async def _use(connection: dict[str, Any], seconds: float, shoot: Callable[[], None]) -> None:
    """Requests as two clients would send them, and a picture while some of them run."""
    headers = {"Authorization": f"Bearer {connection['api_key']}"}
    async with aiohttp.ClientSession(connection["url"], headers=headers) as session:

        async def ask(prompt: str) -> None:
            body = {"model": "qwen2.5:3b", "messages": [{"role": "user", "content": prompt}]}
            async with session.post("/api/chat", json=body) as reply:
                await reply.read()

        async def one(number: int) -> None:
            await asyncio.sleep(number * 6)
            ends_s = time.monotonic() + seconds - number * 6
            while time.monotonic() < ends_s:
                for prompt in PROMPTS[number:] + PROMPTS[:number]:
                    await ask(prompt)
                    await asyncio.sleep(4)

        await asyncio.gather(*(one(number) for number in range(2)))
        # Both well under way when the picture is taken.
        tasks = [asyncio.create_task(ask(LONG)) for _ in range(2)]
        await asyncio.sleep(UNDER_WAY_S)
        await asyncio.to_thread(shoot)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)


if __name__ == "__main__":
    main()
