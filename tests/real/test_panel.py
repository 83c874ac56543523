"""The tray on a real panel: an X server, a window manager and tint2, started for these tests and ended after them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench.tools import gateway
from tests.real.screen import ICON, PROGRAMS, click_icon, screen_with_panel, tree, wait_for

pytestmark = pytest.mark.real

_WINDOW = re.compile(r'"Mortdecai Gateway".*\s(\d{3,})x(\d{3,})\+')

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import asyncio, sys
from PySide6.QtWidgets import QApplication
from app.desktop.loop import run
from app.desktop.theme import TRAY_COLOURS
from app.desktop.tray import Tray
from app.face import Serving
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
def display(program: Callable[[str, str], str]) -> Iterator[str]:
    for name, package in PROGRAMS.items():
        program(name, package)
    with screen_with_panel() as display:
        yield display


def test_the_icon_appears_in_a_panel_and_changes_with_the_state(display: str) -> None:
    environment = {**os.environ, "DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "seen"


def test_the_icon_is_in_the_panel_and_a_click_opens_the_window(tmp_path: Path, display: str) -> None:
    screen = {"DISPLAY": display, "QT_QPA_PLATFORM": "xcb"}
    with gateway(tmp_path, "--simulate", command="tray", environment=screen) as (process, _):
        wait_for(lambda: ICON.search(tree(display)), "the icon")
        assert not _WINDOW.search(tree(display)), "the window opens when somebody asks for it"
        click_icon(display)
        wait_for(lambda: _WINDOW.search(tree(display)), "the window")
        assert process.poll() is None
        process.terminate()
        assert process.wait(20) == 0
