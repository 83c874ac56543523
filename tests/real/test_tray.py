"""The tray process on a real panel, with a real mouse."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench.tools import gateway
from tests.real.screen import PROGRAMS, click, screen_with_panel, tree, wait_for

pytestmark = pytest.mark.real
# The panel embeds the icon as a small square child window of ours.
_ICON = re.compile(r'"Mortdecai Gateway": \(.* (\d\d)x(\d\d)\+-?\d+\+-?\d+ +\+(\d+)\+(\d+)')
_WINDOW = re.compile(r'"Mortdecai Gateway".*\s(\d{3,})x(\d{3,})\+')


@pytest.fixture
def display(program: Callable[[str, str], str]) -> Iterator[str]:
    for name, package in PROGRAMS.items():
        program(name, package)
    with screen_with_panel() as display:
        yield display


def test_the_icon_is_in_the_panel_and_a_click_opens_the_window(tmp_path: Path, display: str) -> None:
    screen = {"DISPLAY": display, "QT_QPA_PLATFORM": "xcb"}
    with gateway(tmp_path, "--simulate", command="tray", environment=screen) as (process, _):
        wait_for(lambda: _ICON.search(tree(display)), "the icon")
        assert not _WINDOW.search(tree(display)), "the window opens when somebody asks for it"
        icon = _ICON.search(tree(display))
        assert icon is not None
        width, height, x, y = (int(part) for part in icon.groups())
        click(display, x + width // 2, y + height // 2)
        wait_for(lambda: _WINDOW.search(tree(display)), "the window")
        assert process.poll() is None
        process.terminate()
        assert process.wait(20) == 0
