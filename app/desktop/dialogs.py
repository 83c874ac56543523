"""Questions and texts in a window of their own, opened so that nothing waits for them.

Rule 1: a dialog is opened, never executed: the loop goes on behind it. Rule 2: what cannot be taken back is not what
Enter chooses. Rule 3: each deletes itself when it closes, and says so through `finished`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics, QIcon, QShowEvent, QTextOption
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QMessageBox,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from app.desktop.clipboard import copy_text
from app.desktop.text import Text, monospace
from app.desktop.theme import CARD_GAP, PAGE_MARGIN, SPACE, Tone


def ask(
    parent: QWidget, question: str, meaning: str, accept: str, accepted: Callable[[], object]
) -> QMessageBox:
    """Ask once about something that cannot be taken back; `accepted` is called where the answer is `accept`."""
    box = QMessageBox(parent)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle(question)
    box.setText(question)
    box.setInformativeText(meaning)
    yes = box.addButton(accept, QMessageBox.ButtonRole.DestructiveRole)
    no = box.addButton(QMessageBox.StandardButton.Cancel)
    box.setDefaultButton(no)
    box.setEscapeButton(no)
    _plainly(box.buttons())
    for label in box.findChildren(QLabel, "qt_msgbox_informativelabel"):
        # As narrow as its question, a box breaks what stands below into a column of words.
        label.setMinimumWidth(min(70 * SPACE, label.fontMetrics().horizontalAdvance(meaning)))
    box.finished.connect(lambda _: accepted() if box.clickedButton() is yes else None)
    box.open()
    return box


class Dialog(QDialog):
    """The frame of ours: a title, `body`, and `buttons` below."""

    def __init__(self, title: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(title)
        self.setMinimumWidth(100 * SPACE)
        self.body = QVBoxLayout()
        self.body.setSpacing(CARD_GAP)
        self.buttons = QDialogButtonBox()
        self.buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setContentsMargins(PAGE_MARGIN, PAGE_MARGIN, PAGE_MARGIN, PAGE_MARGIN)
        column.setSpacing(PAGE_MARGIN)
        column.addWidget(Text(title, steps=1, semibold=True))
        column.addLayout(self.body, 1)
        column.addWidget(self.buttons)

    def showEvent(self, event: QShowEvent) -> None:
        _plainly(self.buttons.buttons())
        super().showEvent(event)

    def take_width(self, width: int) -> None:
        """Be as wide as that, and as high as the wrapped texts then need."""
        self.resize(width, self._needed(width))

    def grow(self) -> None:
        """Be as high as what it says now needs; never lower than it is."""
        self.resize(self.width(), max(self.height(), self._needed(self.width())))

    def _needed(self, width: int) -> int:
        layout = self.layout()
        assert layout is not None
        layout.activate()
        return max(layout.totalHeightForWidth(width), layout.totalMinimumSize().height())


def _plainly(buttons: Sequence[QAbstractButton]) -> None:
    # Some styles put a picture on «Cancel», and have none for a button with words of ours beside it.
    for button in buttons:
        button.setIcon(QIcon())


def reading(text: str, name: str) -> QPlainTextEdit:
    """A text to be read and copied, in figures of one width."""
    box = QPlainTextEdit(text)
    box.setReadOnly(True)
    box.setAccessibleName(name)
    box.setTabChangesFocus(True)
    box.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
    mono = monospace(QApplication.font())
    box.setFont(mono)
    box.setMinimumHeight(6 * QFontMetrics(mono).lineSpacing())
    return box


class LogDialog(Dialog):
    """The last lines of a log."""

    def __init__(self, title: str, lines: tuple[str, ...], parent: QWidget) -> None:
        super().__init__(title, parent)
        self.text = reading("\n".join(lines), "Log")
        self.text.moveCursor(self.text.textCursor().MoveOperation.End)
        self.body.addWidget(Text("The newest line is the last one.", tone=Tone.MUTED))
        self.body.addWidget(self.text, 1)
        copy = self.buttons.addButton("Copy", QDialogButtonBox.ButtonRole.ActionRole)
        copy.setAutoDefault(False)
        copy.clicked.connect(lambda: copy_text(self.text.toPlainText()))
        self.buttons.addButton(QDialogButtonBox.StandardButton.Close)
        self.resize(160 * SPACE, 100 * SPACE)
