"""The tray on a real panel: an X server, a window manager and tint2, started for these tests and ended after them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import asyncio, sys
from PySide6.QtWidgets import QApplication
from app.desktop.loop import run
from app.desktop.theme import TRAY_COLOURS
from app.desktop.tray import Tray
from app.snapshot import Serving
from tests.desktop.fake_gateway import PAUSED, FakeGateway, a_snapshot

async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    sys.exit("it did not come true in time")

def seen(app, tray, colour):
    image = app.primaryScreen().grabWindow(0).toImage()
    place = tray.icon.geometry()
    pixels = [image.pixelColor(x, y).name() for x in range(place.left(), place.right())
              for y in range(place.top(), place.bottom())]
    return pixels.count(colour)

async def story():
    await until(Tray.is_available)
    face = FakeGateway()
    tray = Tray(face, lambda: None, lambda: None)
    tray.show()
    await until(lambda: tray.icon.geometry().width() >= 16)
    await until(lambda: seen(app, tray, TRAY_COLOURS["contributing"]) > 40)
    face.change(a_snapshot(serving=Serving.PAUSED, blocker=PAUSED))
    await until(lambda: seen(app, tray, TRAY_COLOURS["paused"]) > 20)
    assert seen(app, tray, TRAY_COLOURS["contributing"]) == 0
    tray.icon.contextMenu().popup(tray.icon.geometry().center())
    await until(tray.menu.isVisible)
    tray.menu.close()
    tray.close()
    print("seen")

app = QApplication([])
run(story, app)
"""


@pytest.fixture
def display(tmp_path: Path, program: Callable[[str, str], str]) -> Iterator[str]:
    panel = [program(name, name) for name in ("openbox", "tint2")]
    server = program("Xvfb", "xvfb")
    read, write = os.pipe()
    started = [
        subprocess.Popen(
            [server, "-displayfd", str(write), "-screen", "0", "1024x768x24", "-nolisten", "tcp"],
            pass_fds=[write],
            stderr=subprocess.DEVNULL,
        )
    ]
    os.close(write)
    try:
        with os.fdopen(read) as number:
            name = f":{int(number.readline())}"
        environment = {**os.environ, "DISPLAY": name, "HOME": str(tmp_path)}
        for path in panel:
            started.append(subprocess.Popen([path], env=environment, stderr=subprocess.DEVNULL))
        yield name
    finally:
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            process.wait(10)


def test_the_icon_appears_in_a_panel_and_changes_with_the_state(display: str) -> None:
    environment = {**os.environ, "DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "seen"
