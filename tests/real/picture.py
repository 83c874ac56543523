"""Pictures of the window, taken of the real tray process on a virtual screen with a real panel.

python -m tests.real.picture                 docs/window.png and docs/window-dark.png, after a minute of requests
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
from tests.real.screen import ICON, click, screen_with_panel, tree

_WINDOW = re.compile(r'(0x[0-9a-f]+) "Mortdecai Gateway".*\s\d{3,}x\d{3,}\+')
PROMPTS = ("Why is the sky blue?", "[simulate: 700 tokens]", "[simulate: 300 tokens]", "Write a short poem.")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--seconds", type=float, default=170)
    options = parser.parse_args()
    for dark, name in ((False, "window.png"), (True, "window-dark.png")):
        take(dark, options.out / name, options.seconds)
        print(options.out / name)


def take(dark: bool, picture: Path, seconds: float) -> None:
    """Run the tray process in one colour scheme, send it requests for a while, and keep a picture of its window."""
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
            _open_window(display)
            asyncio.run(_use(connection, seconds, lambda: _shoot(display, picture)))


def _shoot(display: str, picture: Path) -> None:
    window = _WINDOW.search(tree(display))
    assert window is not None, "the window did not open"
    command = ["import", "-window", window[1], str(picture)]
    subprocess.run(command, env={**os.environ, "DISPLAY": display}, check=True)


def _open_window(display: str) -> None:
    """Click the icon in the panel."""
    deadline = time.monotonic() + 20
    while (icon := ICON.search(tree(display))) is None:
        assert time.monotonic() < deadline, "the icon did not come"
        time.sleep(0.1)
    width, height, x, y = (int(part) for part in icon.groups())
    click(display, x + width // 2, y + height // 2)


async def _use(connection: dict[str, Any], seconds: float, shoot: Callable[[], None]) -> None:
    """Requests as two clients would send them, and a picture while some of them run."""
    headers = {"Authorization": f"Bearer {connection['api_key']}"}
    async with aiohttp.ClientSession(connection["url"], headers=headers) as session:

        async def one(number: int) -> None:
            await asyncio.sleep(number * 6)
            while True:
                for prompt in PROMPTS[number:] + PROMPTS[:number]:
                    body = {"model": "qwen2.5:3b", "messages": [{"role": "user", "content": prompt}]}
                    async with session.post("/api/chat", json=body) as reply:
                        await reply.read()
                    await asyncio.sleep(4)

        tasks = [asyncio.create_task(one(number)) for number in range(2)]
        await asyncio.sleep(seconds)
        await asyncio.to_thread(shoot)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)


if __name__ == "__main__":
    main()
