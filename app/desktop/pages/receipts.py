"""What clients' receivers have acknowledged, in a line above the records; its mark is the records' own.

Rule: hidden where nobody keeps a copy; there is nothing to say then.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QWidget

from app.desktop.receipt_wording import MARKS, summary, worst
from app.desktop.text import Mark, Text
from app.desktop.theme import INNER_GAP, Tone
from app.face import ReceiptState, ReceiptsView


class ReceiptSummary(QWidget):
    """The gravest state's mark, and a sentence."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        first = MARKS[ReceiptState.WAITING]
        self._mark = Mark(first.icon, tone=first.tone)
        self._text = Text(wrap=True, selectable=True)
        self._text.setAccessibleName("Receipts")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(INNER_GAP)
        row.addWidget(self._mark, 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(self._text, 1)

    @property
    def text(self) -> str:
        """What is said."""
        return self._text.text()

    @property
    def tone(self) -> Tone:
        """What the mark is coloured by."""
        return self._mark.tone

    def show_receipts(self, receipts: Sequence[ReceiptsView], now_us: int) -> None:
        """Say how it stands with them at `now_us` (wall)."""
        state = worst(receipts)
        if state is not None:
            mark = MARKS[state]
            self._mark.show_mark(mark.icon, mark.tone)
            self._text.say(summary(receipts, now_us))
        if self.isHidden() == (state is not None):
            self.setVisible(state is not None)
