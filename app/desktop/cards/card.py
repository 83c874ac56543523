"""The frame that every card shares, the bar inside some of them, and the column that becomes two.

Rule: these know sizes and colours only; what a card says is the card's own business.
"""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app.desktop.text import Text, current_theme
from app.desktop.theme import CARD_GAP, CARD_PADDING, INNER_GAP, Tone

_RADIUS: Final = 6.0


class Card(QWidget):
    """A titled sheet: `head` is its first row (the title, then what a card adds), `body` the rest."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(title)
        self.title = Text(title, semibold=True)
        self.head = QHBoxLayout()
        self.head.setSpacing(INNER_GAP)
        self.head.addWidget(self.title)
        self.body = QVBoxLayout()
        self.body.setSpacing(INNER_GAP)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(CARD_PADDING, CARD_PADDING, CARD_PADDING, CARD_PADDING)
        outer.setSpacing(INNER_GAP)
        outer.addLayout(self.head)
        outer.addLayout(self.body, 1)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.outline, 1))
        painter.setBrush(theme.surface)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), _RADIUS, _RADIUS)


class Bar(QWidget):
    """A thin bar: `share` of it is filled."""

    def __init__(self, accessible_name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(accessible_name)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._share = 0.0
        self._tone = Tone.ACCENT

    def set_share(self, share: float, tone: Tone = Tone.ACCENT) -> None:
        """Fill `share` (0 to 1, clamped) in `tone`."""
        share = min(1.0, max(0.0, share))
        if (share, tone) != (self._share, self._tone):
            self._share, self._tone = share, tone
            self.update()

    @property
    def share(self) -> float:
        """How much of it is filled, 0 to 1."""
        return self._share

    def sizeHint(self) -> QSize:
        return QSize(96, 6)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        whole = QRectF(self.rect())
        painter.setBrush(theme.groove)
        painter.drawRoundedRect(whole, 3, 3)
        if self._share > 0:
            painter.setBrush(theme.tone(self._tone))
            painter.setClipRect(QRectF(0, 0, max(3.0, whole.width() * self._share), whole.height()))
            painter.drawRoundedRect(whole, 3, 3)


class Reflow(QWidget):
    """Cards in one column, or side by side from `wide` pixels on."""

    def __init__(self, cards: tuple[QWidget, ...], wide: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cards = cards
        self._wide = wide
        self._columns = 0
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(CARD_GAP)
        self._arrange(1)

    @property
    def columns(self) -> int:
        """1, or as many as there are cards."""
        return self._columns

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange(len(self._cards) if event.size().width() >= self._wide else 1)

    def _arrange(self, columns: int) -> None:
        if columns == self._columns:
            return
        self._columns = columns
        for index, card in enumerate(self._cards):
            self._grid.removeWidget(card)
            self._grid.addWidget(card, index // columns, index % columns)
            self._grid.setColumnStretch(index, 1 if index < columns else 0)
