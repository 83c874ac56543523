"""Every colour that is not the platform's own, and the measure that keeps them readable.

Rule 1: widgets take colours from the palette or from here, nowhere else; what can be mixed from the palette is.
Rule 2: text is at least 4.5:1 against whatever it stands on, in light and in dark (tests walk over all of them);
the tray's colours are at least 3:1 on light and on dark panels alike, because nothing tells us the panel's colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from PySide6.QtGui import QColor, QPalette

SPACE = 4
"""The grid: every distance is a multiple of it."""
PAGE_MARGIN = 16
CARD_GAP = 12
CARD_PADDING = 12
INNER_GAP = 8

TEXT_CONTRAST = 4.5
"""WCAG 2.2, criterion 1.4.3, for text; 1.4.11 asks 3:1 of icons."""


class Tone(StrEnum):
    """What a piece of text or an icon means; the theme knows its colour."""

    PLAIN = "plain"
    MUTED = "muted"
    ACCENT = "accent"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours for one palette; `theme_for` makes it."""

    dark: bool
    plain: QColor
    muted: QColor
    accent: QColor
    good: QColor
    warn: QColor
    bad: QColor
    surface: QColor
    """What a card is filled with."""
    outline: QColor
    """A card's edge and the graph's grid; decoration, so without a contrast of its own."""
    groove: QColor
    """The empty part of a bar."""
    idle: QColor
    """The idle part of the graph."""
    clients: QColor
    """The clients' part of the graph."""

    def tone(self, tone: Tone) -> QColor:
        """The colour of text or an icon with that meaning."""
        colour: QColor = getattr(self, tone.value)
        return colour


TRAY_COLOURS = {
    "starting": "#858585",
    "contributing": "#3a83dc",
    "finishing": "#3a83dc",
    "paused": "#858585",
    "blocked": "#b87a14",
    "stopping": "#858585",
}

_LIGHT = {"accent": "#1a62c4", "good": "#1c7038", "warn": "#8a5300", "bad": "#b3261e"}
_DARK = {"accent": "#7ab4f5", "good": "#7ccf94", "warn": "#e8b04f", "bad": "#ff9d94"}


def mix(a: QColor, b: QColor, share: float) -> QColor:
    """`share` of `b` in `a`, in sRGB, opaque."""
    return QColor.fromRgbF(
        a.redF() + (b.redF() - a.redF()) * share,
        a.greenF() + (b.greenF() - a.greenF()) * share,
        a.blueF() + (b.blueF() - a.blueF()) * share,
    )


def luminance(colour: QColor) -> float:
    """Relative luminance, 0 to 1 (WCAG 2.2, definition of that name)."""

    def linear(channel: float) -> float:
        return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4

    return 0.2126 * linear(colour.redF()) + 0.7152 * linear(colour.greenF()) + 0.0722 * linear(colour.blueF())


def contrast(a: QColor, b: QColor) -> float:
    """Contrast ratio of two opaque colours, 1 to 21 (WCAG 2.2)."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def theme_for(palette: QPalette) -> Theme:
    """The theme that goes with a palette; dark where its windows are darker than their text."""
    window = palette.color(QPalette.ColorRole.Window)
    text = palette.color(QPalette.ColorRole.WindowText)
    base = palette.color(QPalette.ColorRole.Base)
    dark = luminance(window) < luminance(text)
    # In the light a card is a sheet of paper on the desk; in the dark what is nearer is lighter.
    surface = mix(window, text, 0.05) if dark else base
    grounds = (surface, window, base)
    named = {
        name: _readable(QColor(value), text, grounds) for name, value in (_DARK if dark else _LIGHT).items()
    }
    return Theme(
        dark=dark,
        plain=text,
        muted=_readable(mix(text, surface, 0.36), text, grounds),
        surface=surface,
        outline=mix(surface, text, 0.14),
        groove=mix(surface, text, 0.13),
        idle=mix(surface, text, 0.24),
        clients=mix(surface, named["accent"], 0.72),
        **named,
    )


def _readable(colour: QColor, text: QColor, grounds: tuple[QColor, ...]) -> QColor:
    """The colour, moved towards the text's as far as its contrast on every ground needs."""
    for share in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        moved = mix(colour, text, share)
        if all(contrast(moved, ground) >= TEXT_CONTRAST for ground in grounds):
            return moved
    return text
