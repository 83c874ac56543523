"""Icons from our own SVG files, in the colour asked for.

Rule 1: the files say `currentColor`; the colour is put in here, so one file serves light, dark and every state.
Rule 2: the tray's states differ in shape: a bolt in a disc, an hourglass, bars in a ring, a triangle, dots, a switch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from app.basics.resources import resource
from app.desktop.theme import TRAY_COLOURS
from app.face import Serving

# What panels, task bars and toolbars ask for, up to a doubled resolution.
_SIZES: Final = (16, 20, 22, 24, 32, 44, 48, 64)
_APP_SIZES: Final = (*_SIZES, 128, 256)


@lru_cache(maxsize=64)
def _source(name: str) -> str:
    return resource(f"icons/{name}.svg").read_text(encoding="utf-8")


def render(name: str, colour: QColor, size: int, ratio: float = 1.0) -> QPixmap:
    """One icon as a square of `size` logical pixels."""
    side = round(size * ratio)
    pixmap = QPixmap(QSize(side, side))
    pixmap.fill(Qt.GlobalColor.transparent)
    source = _source(name).replace("currentColor", colour.name())
    painter = QPainter(pixmap)
    QSvgRenderer(QByteArray(source.encode())).render(painter, QRectF(0, 0, side, side))
    painter.end()
    pixmap.setDevicePixelRatio(ratio)
    return pixmap


@lru_cache(maxsize=128)
def _icon(name: str, colour: str, sizes: tuple[int, ...], selected: str = "") -> QIcon:
    icon = QIcon()
    for size in sizes:
        icon.addPixmap(render(name, QColor(colour), size))
        if selected:
            icon.addPixmap(render(name, QColor(selected), size), QIcon.Mode.Selected)
    return icon


def icon(name: str, colour: QColor, selected: QColor | None = None) -> QIcon:
    """An icon for buttons and labels, in one colour; `selected` is that in a chosen row of a table."""
    return _icon(name, colour.name(), (16, 24, 32, 48), "" if selected is None else selected.name())


def app_icon() -> QIcon:
    """The application's own icon, in its own colours."""
    return _icon("app", "", _APP_SIZES)


def state_name(serving: Serving) -> str:
    """File name of the mark that stands for a state."""
    return f"tray-{serving.value}"


def tray_icon(serving: Serving) -> QIcon:
    """The tray's icon for a state, readable on light and on dark panels."""
    return _icon(state_name(serving), TRAY_COLOURS[serving.value], _SIZES)
