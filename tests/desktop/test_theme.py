"""Colours: readable everywhere, told apart by shape, and named in one place."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PySide6.QtGui import QColor, QPalette

import app.desktop
from app.desktop.icons import render, state_name, tray_icon
from app.desktop.text import Mark, Text
from app.desktop.theme import TRAY_COLOURS, Tone, contrast, luminance, theme_for
from app.face import Serving
from tests.desktop.playing import PALETTES, desktop_colours, palette

ROLES = QPalette.ColorRole


def grounds(of: QPalette) -> list[QColor]:
    return [theme_for(of).surface, of.color(ROLES.Window), of.color(ROLES.Base)]


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast(QColor("white"), QColor("black")) == pytest.approx(21)
    assert contrast(QColor("#777777"), QColor("white")) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("name", PALETTES)
@pytest.mark.parametrize("tone", Tone)
def test_every_tone_of_text_is_readable_on_every_desktop(qapp: object, name: str, tone: Tone) -> None:
    colours = palette(name)
    for ground in grounds(colours):
        assert contrast(theme_for(colours).tone(tone), ground) >= 4.5


@pytest.mark.parametrize("name", PALETTES)
def test_the_two_parts_of_the_graph_stand_apart_from_the_card_and_from_each_other(
    qapp: object, name: str
) -> None:
    theme = theme_for(palette(name))
    assert contrast(theme.clients, theme.surface) >= 3
    assert contrast(theme.clients, theme.idle) >= 1.6


def colours(low: int, high: int) -> st.SearchStrategy[QColor]:
    return st.tuples(*[st.integers(low, high)] * 3).map(lambda rgb: QColor(*rgb))


DARK, LIGHT = colours(0, 80), colours(170, 255)
DESKTOPS = st.tuples(DARK, DARK, LIGHT) | st.tuples(LIGHT, LIGHT, DARK)


@given(DESKTOPS)
def test_tones_are_readable_wherever_the_desktop_s_own_text_is(
    desktop: tuple[QColor, QColor, QColor],
) -> None:
    window, base, text = desktop
    made = QPalette(window)
    made.setColor(ROLES.Window, window)
    made.setColor(ROLES.Base, base)
    made.setColor(ROLES.WindowText, text)
    assume(all(contrast(text, ground) >= 4.5 for ground in grounds(made)))
    theme = theme_for(made)
    for tone in Tone:
        assert all(contrast(theme.tone(tone), ground) >= 4.5 for ground in grounds(made))


@pytest.mark.parametrize("serving", Serving)
@pytest.mark.parametrize("panel", ["#ffffff", "#f0f0f0", "#2b2b2b", "#31363b", "#000000"])
def test_the_tray_s_icons_are_visible_on_light_and_on_dark_panels(serving: Serving, panel: str) -> None:
    assert contrast(QColor(TRAY_COLOURS[serving.value]), QColor(panel)) >= 3


def shape(serving: Serving, size: int) -> list[bool]:
    image = render(state_name(serving), QColor("black"), size).toImage()
    return [image.pixelColor(x, y).alpha() > 127 for y in range(size) for x in range(size)]


@pytest.mark.parametrize("size", [16, 22])
def test_the_tray_s_states_differ_in_shape(qapp: object, size: int) -> None:
    for one, other in combinations(Serving, 2):
        a, b = shape(one, size), shape(other, size)
        ink = min(sum(a), sum(b))
        assert ink >= size, f"{one} and {other} are hardly drawn"
        assert sum(x != y for x, y in zip(a, b, strict=True)) >= ink * 0.5, f"{one} and {other} look alike"


@pytest.mark.parametrize("serving", Serving)
def test_every_state_has_an_icon_for_every_panel_size(qapp: object, serving: Serving) -> None:
    sizes = {size.width() for size in tray_icon(serving).availableSizes()}
    assert {16, 20, 22, 24, 32, 48} <= sizes


def test_labels_follow_light_and_dark_live(qtbot) -> None:
    label = Text("61 °C", tone=Tone.MUTED)
    mark = Mark("warning", tone=Tone.WARN)
    qtbot.addWidget(label)
    qtbot.addWidget(mark)
    label.show()
    light = label.palette().color(ROLES.WindowText)
    with desktop_colours("Fusion, dark"):
        dark = label.palette().color(ROLES.WindowText)
        seen = mark.grab().toImage().pixelColor(8, 13)
    assert luminance(dark) > 0.3 > luminance(light)
    assert luminance(seen) > 0.3
    assert label.palette().color(ROLES.WindowText) == light


def test_no_module_but_the_theme_names_a_colour() -> None:
    folder = Path(app.desktop.__file__).parent
    named = [
        f"{path.name}: {match}"
        for path in folder.rglob("*.py")
        if path.name != "theme.py"
        for match in re.findall(
            r"#[0-9a-fA-F]{6}\b|GlobalColor\.(?!transparent)\w+|setStyleSheet", path.read_text()
        )
    ]
    assert named == []
