"""The tray process on a real panel in front of a real Docker Engine: what a hand does, and what then is so in Docker.

What the window shows is read from its own labels, by a reporter beside the program that touches nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.bench.tools import ROOT, first_line, started
from tests.real.docker_engine import Engine
from tests.real.docker_images import Images
from tests.real.screen import PROGRAMS, click_icon, press, screen_with_panel, type_text, wait_for

pytestmark = pytest.mark.real

CONTAINER = "mortdecai-ollama"
MODEL = "qwen3:0.6b"

REPORTING = """
import json, sys
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QLabel
import app.cli
from app.desktop.pages.model_list import ModelList

application = QApplication(["gateway"])
told = [None]

def tell():
    shown = [widget for widget in application.allWidgets() if widget.isVisible()]
    state = [one.text() for one in shown if isinstance(one, QLabel) and one.accessibleName() == "State"]
    here = [list(one.here.names) for one in shown if isinstance(one, ModelList)]
    menus = [widget.metaObject().className() for widget in shown if widget.inherits("QMenu")]
    now = {"state": state[0] if state else "", "here": here[0] if here else None, "menu": bool(menus)}
    if now != told[0]:
        told[0] = now
        print(json.dumps(now), flush=True)

timer = QTimer()
timer.timeout.connect(tell)
timer.start(50)
sys.exit(app.cli.main(sys.argv[1:]))
"""


@dataclass
class Seen:
    """The tray process as a person at the screen sees it."""

    display: str
    connection: dict[str, Any]
    moments: list[dict[str, Any]] = field(default_factory=list)

    @property
    def now(self) -> dict[str, Any]:
        return self.moments[-1] if self.moments else {"state": "", "here": None, "menu": False}

    @property
    def states(self) -> list[str]:
        """Headlines in the order in which they came."""
        states = [moment["state"] for moment in self.moments if moment["state"]]
        return [state for n, state in enumerate(states) if n == 0 or states[n - 1] != state]

    def choose_first(self) -> None:
        """Open the tray's menu and take the first verb in it."""
        click_icon(self.display, 3)
        wait_for(lambda: self.now["menu"], "the menu")
        press(self.display, "Down", "Return")
        wait_for(lambda: not self.now["menu"], "the menu's end")

    def models(self) -> set[str]:
        """What a client is told of models."""
        headers = {"Authorization": f"Bearer {self.connection['api_key']}"}
        with urlopen(Request(f"{self.connection['url']}/api/tags", headers=headers), timeout=10) as reply:
            return {model["name"] for model in json.load(reply)["models"]}


@pytest.fixture
def seen(
    program: Callable[[str, str], str], tmp_path: Path, dockerd: Engine, images: Images
) -> Iterator[Seen]:
    for name, package in PROGRAMS.items():
        program(name, package)
    # What other tests made belongs to other homes, and has the name.
    dockerd.clean()
    with screen_with_panel() as display:
        environment = {
            "DISPLAY": display,
            "QT_QPA_PLATFORM": "xcb",
            "MORTDECAI_HOME": os.fspath(tmp_path),
            "DOCKER_HOST": dockerd.socket,
            "PYTHONPATH": os.fspath(ROOT),
        }
        command = [
            sys.executable, "-c", REPORTING, "tray", "--port", "0", "--vault", "memory", "--print-connection",
            "--set", "engine=container", "--set", f"engine_image={images.simulator}", "--set", "engine_gpu=cpu",
        ]  # fmt: skip
        try:
            with started(command, environment) as process:
                connection: dict[str, Any] = {}
                seen = Seen(display, connection)
                while "url" not in connection:
                    said = json.loads(first_line(process))
                    connection.update(said) if "url" in said else seen.moments.append(said)
                reader = threading.Thread(target=_read, args=(process, seen.moments), daemon=True)
                reader.start()
                yield seen
                process.terminate()
                assert process.wait(20) == 0
                reader.join(10)
        finally:
            dockerd.clean()


def _read(process: subprocess.Popen[str], moments: list[dict[str, Any]]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        moments.append(json.loads(line))


def _running(dockerd: Engine) -> bool:
    found = dockerd.client.containers.list(filters={"name": CONTAINER})
    return [container.status for container in found] == ["running"]


def test_contribute_in_the_tray_s_menu_brings_the_container_up_and_the_headline_follows(
    seen: Seen, dockerd: Engine
) -> None:
    click_icon(seen.display)
    wait_for(lambda: seen.now["state"] == "Paused", "the window")
    assert not _running(dockerd), "nobody has asked for it"
    seen.choose_first()
    wait_for(lambda: seen.now["state"] == "Contributing", "serving")
    assert "Getting ready" in seen.states
    assert _running(dockerd)
    seen.choose_first()
    wait_for(lambda: seen.now["state"] == "Paused", "the pause")


def test_a_model_that_is_typed_on_the_models_page_comes_into_the_container(
    seen: Seen, dockerd: Engine
) -> None:
    click_icon(seen.display)
    wait_for(lambda: seen.now["state"] == "Paused", "the window")
    seen.choose_first()
    wait_for(lambda: seen.now["state"] == "Contributing", "serving")
    assert seen.models() == set()
    press(seen.display, "ctrl+3")
    wait_for(lambda: seen.now["here"] == [], "the models page")
    press(seen.display, "ctrl+f")
    type_text(seen.display, MODEL)
    press(seen.display, "Return")
    wait_for(lambda: seen.now["here"] == [MODEL], "the model's row")
    assert seen.models() == {MODEL}
