"""What the tray process costs while nobody uses it, and how long it takes to start.

Runs on a virtual screen with a panel where Xvfb, openbox and tint2 are installed, so that there is a tray and the
window stays closed; elsewhere on Qt's offscreen platform, where the window is open because there is no tray.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.tools import cpu_s, gateway, rss_mb
from tests.real.screen import screen_with_panel


def measure(seconds: float = 30.0) -> dict[str, Any]:
    """`cpu_percent` of one core over `seconds` of idling, `rss_mb`, and `start_s` from the command to the connection
    line, which comes when `/health` answers and the tray shows; both of a second start."""
    with tempfile.TemporaryDirectory() as name, screen_with_panel() as display:
        screen = {"DISPLAY": display, "QT_QPA_PLATFORM": "xcb"}
        # As on a machine where it is installed: its bytecode lies there. Compiling adds a fifth of a second and, of
        # pynvml alone, more than 10 MB.
        screen |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(Path(name, "bytecode"))}
        with gateway(Path(name, "first"), "--simulate", command="tray", environment=screen):
            time.sleep(5)
        began = time.monotonic()
        with gateway(Path(name), "--simulate", command="tray", environment=screen) as (process, _):
            start_s = time.monotonic() - began
            time.sleep(5)  # what a start leaves behind (the first look at the engine, lazy imports) is over
            before = cpu_s(process.pid)
            time.sleep(seconds)
            return {
                "cpu_percent": (cpu_s(process.pid) - before) / seconds * 100,
                "rss_mb": rss_mb(process.pid),
                "start_s": start_s,
            }


if __name__ == "__main__":
    print(measure())
