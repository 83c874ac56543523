"""Labels and small parts that follow palette, size and tone by themselves.

Rule 1: fonts are the system's; only size, weight and figures vary, and always by the same steps.
Rule 2: a colour that is not the palette's comes from the theme, and is taken anew when the palette changes.
"""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QFont, QFontDatabase, QFontMetrics, QPainter, QPaintEvent, QPalette, QPixmap
from PySide6.QtWidgets import QApplication, QLabel, QSizePolicy, QToolButton, QWidget

from app.desktop.icons import icon, render
from app.desktop.theme import Theme, Tone, theme_for

_STEP: Final = 1.2
"""One size up; the scale of a minor third is what platforms use between body and title."""


def sized(font: QFont, steps: int, *, semibold: bool = False) -> QFont:
    """The same font, `steps` sizes up or down, with figures of one width."""
    result = QFont(font)
    if font.pointSizeF() > 0:
        result.setPointSizeF(font.pointSizeF() * _STEP**steps)
    else:
        result.setPixelSize(round(font.pixelSize() * _STEP**steps))
    if semibold:
        result.setWeight(QFont.Weight.DemiBold)
    result.setFeature(QFont.Tag("tnum"), 1)
    return result


def monospace(font: QFont) -> QFont:
    """The system's fixed font at the size of `font`."""
    result = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    result.setPointSizeF(font.pointSizeF())
    return result


_theme_of: tuple[int, Theme] | None = None


def current_theme() -> Theme:
    """The theme of the application's present palette, mixed once a palette: every paint event asks."""
    global _theme_of
    palette = QApplication.palette()
    key = palette.cacheKey()
    if _theme_of is None or _theme_of[0] != key:
        _theme_of = (key, theme_for(palette))
    return _theme_of[1]


class Text(QLabel):
    """A label of plain text with a size step, a weight and a tone. Changing it to the same text costs nothing."""

    def __init__(
        self,
        text: str = "",
        *,
        steps: int = 0,
        semibold: bool = False,
        tone: Tone = Tone.PLAIN,
        wrap: bool = False,
        selectable: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(text, parent)
        self._steps = steps
        self._semibold = semibold
        self._tone = tone
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(wrap)
        # Said outright, or a label over a table would inherit the role that tables draw their text with.
        self.setForegroundRole(QPalette.ColorRole.WindowText)
        if selectable:
            self.setTextInteractionFlags(
                Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
            )
        self._restyle()

    def say(self, text: str) -> None:
        """Show `text`, repainting only where it differs."""
        if text != self.text():
            self.setText(text)

    @property
    def tone(self) -> Tone:
        """What the text means at present."""
        return self._tone

    def set_tone(self, tone: Tone) -> None:
        """Change what the text means."""
        if tone is not self._tone:
            self._tone = tone
            self._restyle()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.ApplicationFontChange or event.type() == QEvent.Type.PaletteChange:
            self._restyle()

    def _restyle(self) -> None:
        self.setFont(sized(QApplication.font(), self._steps, semibold=self._semibold))
        wanted = current_theme().tone(self._tone)
        if self.palette().color(QPalette.ColorRole.WindowText) != wanted:
            palette = QPalette()
            palette.setColor(QPalette.ColorRole.WindowText, wanted)
            self.setPalette(palette)


class ElidedText(Text):
    """One line that ends in «…» where the room is short; the whole text is the tooltip then."""

    def __init__(self, text: str = "", **options: object) -> None:
        super().__init__(text, **options)  # type: ignore[arg-type]
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def minimumSizeHint(self) -> QSize:
        return QSize(QFontMetrics(self.font()).horizontalAdvance("…"), super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        metrics = QFontMetrics(self.font())
        shown = metrics.elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
        tip = self.text() if shown != self.text() else ""
        if tip != self.toolTip():
            self.setToolTip(tip)
        painter = QPainter(self)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(self.rect(), self.alignment() | Qt.AlignmentFlag.AlignVCenter, shown)


class Mark(QWidget):
    """One of our icons as a picture in a tone."""

    def __init__(
        self, name: str, size: int = 16, tone: Tone = Tone.PLAIN, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._name = name
        self._size = size
        self._tone = tone
        self._cached: tuple[object, QPixmap] | None = None
        self.setFixedSize(size, size)

    @property
    def tone(self) -> Tone:
        """What it is coloured by at present."""
        return self._tone

    def show_mark(self, name: str, tone: Tone) -> None:
        """Change picture and tone."""
        if (name, tone) != (self._name, self._tone):
            self._name, self._tone = name, tone
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        colour = current_theme().tone(self._tone)
        key = (self._name, colour.name(), self.devicePixelRatioF())
        if self._cached is None or self._cached[0] != key:
            self._cached = (key, render(self._name, colour, self._size, self.devicePixelRatioF()))
        QPainter(self).drawPixmap(0, 0, self._cached[1])


class IconButton(QToolButton):
    """A flat button with one of our icons; `label` is its tooltip, its name for screen readers, or its text."""

    def __init__(self, name: str, label: str, *, text: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name = name
        self.setAutoRaise(True)
        self.setAccessibleName(label)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        if text:
            self.setText(label)
            self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        else:
            self.setToolTip(label)
        self._restyle()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._restyle()

    def _restyle(self) -> None:
        self.setIcon(icon(self._name, self.palette().color(QPalette.ColorRole.ButtonText)))
