"""The slider of the spending cap: what is spent, what is held and the cap itself on one scale.

Rule 1: the scale is round and grows with the cap, so that there is always room to drag to.
Rule 2: only a drag, a click or a key moves it; the wheel scrolls the page, because this is money.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPainterPath, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QSlider, QStyle, QStyleOptionSlider, QWidget

from app.billing.money import PICO
from app.desktop.text import current_theme
from app.desktop.theme import Tone, mix

STEPS: Final = 100
_LEAST_PICO: Final = PICO
_NEARLY: Final = 0.9
"""From this share of the cap on, what is spent is coloured as a warning."""
_GROOVE: Final = 8


@dataclass(frozen=True, slots=True)
class Scale:
    """From zero to `top_pico` in `STEPS` equal steps."""

    top_pico: int

    @property
    def step_pico(self) -> int:
        """What one step is worth."""
        return self.top_pico // STEPS

    def nearest(self, pico: int) -> int:
        """The step nearest to an amount, within the scale."""
        return min(STEPS, max(0, round(pico / self.step_pico)))


def scale_for(cap_pico: int, spent_pico: int) -> Scale:
    """1, 2 or 5 times a power of ten: at least half as much again as the cap and as what is spent."""
    wanted = max(_LEAST_PICO, cap_pico * 3 // 2, spent_pico * 3 // 2)
    magnitude = PICO
    while magnitude * 5 < wanted:
        magnitude *= 10
    return Scale(next(magnitude * factor for factor in (1, 2, 5) if magnitude * factor >= wanted))


class CapSlider(QSlider):
    """A horizontal slider over a `Scale`, with the platform's own handle on a groove that shows the money."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setRange(0, STEPS)
        self.setPageStep(STEPS // 10)
        self.setAccessibleName("Spending cap")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.scale = Scale(10 * PICO)
        self._spent = 0
        self._held = 0
        self._cap = 0

    def show_money(self, cap_pico: int, spent_pico: int, held_pico: int) -> None:
        """Put handle and groove where the money is, without a signal; never while the handle is being dragged."""
        if self.isSliderDown():
            return
        self.scale = scale_for(cap_pico, spent_pico)
        self._cap, self._spent, self._held = cap_pico, spent_pico, held_pico
        self.blockSignals(True)
        self.setValue(self.scale.nearest(cap_pico))
        self.blockSignals(False)
        self.update()

    def chosen_pico(self) -> int:
        """The amount under the handle."""
        return self.sliderPosition() * self.scale.step_pico

    def sizeHint(self) -> QSize:
        return super().sizeHint().expandedTo(QSize(160, 24))

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:
        option = QStyleOptionSlider()
        self.initStyleOption(option)
        style = self.style()
        handle = style.subControlRect(
            QStyle.ComplexControl.CC_Slider, option, QStyle.SubControl.SC_SliderHandle, self
        )
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_groove(painter, handle.width(), handle.center().x() + 0.5)
        option.subControls = QStyle.SubControl.SC_SliderHandle
        style.drawComplexControl(QStyle.ComplexControl.CC_Slider, option, painter, self)

    def _paint_groove(self, painter: QPainter, handle_width: int, cap_x: float) -> None:
        theme = current_theme()
        groove = QRectF(0, (self.height() - _GROOVE) / 2, self.width(), _GROOVE)
        shape = QPainterPath()
        shape.addRoundedRect(groove, _GROOVE / 2, _GROOVE / 2)
        painter.setClipPath(shape)
        painter.fillRect(groove, theme.groove)
        colour = theme.tone(self.tone())
        parts = (
            (cap_x, mix(theme.groove, colour, 0.22)),
            (self._x(self._spent + self._held, cap_x, handle_width), mix(theme.groove, colour, 0.55)),
            (self._x(self._spent, cap_x, handle_width), colour),
        )
        for right, fill in parts:
            painter.fillRect(QRectF(0, groove.y(), right, _GROOVE), fill)
        painter.setClipping(False)

    def tone(self) -> Tone:
        """What the part that is spent means, seen from the cap."""
        if self._spent >= self._cap:
            return Tone.BAD
        return Tone.WARN if self._spent >= self._cap * _NEARLY else Tone.ACCENT

    def _x(self, pico: int, cap_x: float, handle_width: int) -> float:
        if pico <= self._cap:
            # In proportion to the cap, so that next to nothing is drawn as next to nothing.
            return cap_x * pico / self._cap if self._cap else 0.0
        # The handle's middle runs from half its width to the same distance from the right end.
        share = min(1.0, pico / self.scale.top_pico)
        return handle_width / 2 + (self.width() - handle_width) * share
