"""What is being done to models: a shelf at the page's foot, a row for each piece of work.

Rule 1: it stands below the list, so that a pull that begins or ends moves no row under the pointer. Rule 2: one row
for each model and kind of work; its latest state is what it shows, whatever came before. Rule 3: what ended well
before the page was looked at is no news; what failed stays until it is continued or put away.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app.desktop import model_wording as wording
from app.desktop.cards.card import Bar, Card
from app.desktop.text import ElidedText, IconButton, Mark, Text
from app.desktop.theme import CARD_GAP, INNER_GAP, SPACE, Tone
from app.models.base import Doing, Operation, Outcome

Key = tuple[Doing, str]


def key_of(operation: Operation) -> Key:
    """What a row stands for."""
    return operation.doing, operation.model


class OperationRow(QWidget):
    """One piece of work: title and figures, a bar, and its buttons."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: Operation | None = None
        self._mark = Mark("download", 16, Tone.ACCENT)
        self._title = ElidedText()
        self._title.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        self._figures = ElidedText(tone=Tone.MUTED)
        self._sentence = Text(tone=Tone.MUTED, wrap=True)
        self.bar = Bar("Progress")
        self.cancel = QPushButton("Cancel")
        self.again = QPushButton("Continue")
        self.close_button = IconButton("close", "Put away")
        words = QHBoxLayout()
        words.setSpacing(INNER_GAP)
        words.addWidget(self._title)
        words.addWidget(self._figures, 1)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(INNER_GAP)
        grid.setVerticalSpacing(SPACE)
        grid.setColumnStretch(1, 1)
        grid.addWidget(self._mark, 0, 0, Qt.AlignmentFlag.AlignVCenter)
        grid.addLayout(words, 0, 1)
        grid.addWidget(self.bar, 1, 1)
        grid.addWidget(self._sentence, 2, 1)
        for column, button in ((2, self.cancel), (2, self.again), (3, self.close_button)):
            grid.addWidget(button, 0, column, 3, 1, Qt.AlignmentFlag.AlignVCenter)
        keeping = self.close_button.sizePolicy()
        keeping.setRetainSizeWhenHidden(True)
        self.close_button.setSizePolicy(keeping)
        wide = max(self.cancel.sizeHint().width(), self.again.sizeHint().width())
        self.cancel.setFixedWidth(wide)
        self.again.setFixedWidth(wide)

    @property
    def operation(self) -> Operation:
        """The work as last shown."""
        assert self._shown is not None
        return self._shown

    @property
    def detail(self) -> str:
        """How far it is, or what came of it."""
        return self._figures.text() or self._sentence.text()

    def fill(self, operation: Operation, *, resumable: bool) -> None:
        """Show how far it is."""
        if operation == self._shown:
            return
        self._shown = operation
        running = operation.outcome is Outcome.RUNNING
        self._mark.show_mark(*wording.operation_mark(operation))
        self._title.say(wording.operation_title(operation))
        detail = wording.operation_detail(operation)
        self._figures.say(detail if running else "")
        self._sentence.say("" if running else detail)
        self._sentence.setVisible(not running)
        self.bar.setVisible(running)
        self.bar.set_share(wording.share(operation.progress))
        broken = operation.outcome in (Outcome.FAILED, Outcome.CANCELLED)
        focused = any(button.hasFocus() for button in (self.cancel, self.again, self.close_button))
        self.cancel.setVisible(running)
        self.again.setVisible(broken and resumable)
        self.close_button.setVisible(not running)
        for button in (self.cancel, self.again, self.close_button):
            verb = button.text() or "Put away"
            button.setAccessibleName(f"{verb}: {operation.model}")
            if focused and not button.isHidden():
                button.setFocus()
                focused = False

    def focus(self) -> None:
        """Put the cursor onto its first button."""
        for button in (self.cancel, self.again, self.close_button):
            if not button.isHidden():
                button.setFocus(Qt.FocusReason.OtherFocusReason)
                return


class ShelfCard(Card):
    """The rows; it takes no room while there are none. `cancel` and `resume` are given the operation."""

    def __init__(
        self,
        cancel: Callable[[Operation], None],
        resume: Callable[[Operation], None],
        resumable: Callable[[Operation], bool],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__("Under way", parent)
        self._cancel, self._resume, self._resumable = cancel, resume, resumable
        self._rows: dict[Key, OperationRow] = {}
        self._away: set[str] = set()
        self._seen_running: set[str] = set()
        self._scroll = _Low()
        self._column = self._scroll.column
        self.body.addWidget(self._scroll)
        self.hide()

    @property
    def shown(self) -> tuple[str, ...]:
        """Ids of the operations in sight, from top to bottom."""
        ordered = sorted(self._rows.values(), key=self._column.indexOf)
        return tuple(row.operation.id for row in ordered)

    def row(self, model: str, doing: Doing = Doing.PULL) -> OperationRow | None:
        """The row of a model's work, if there is one."""
        return self._rows.get((doing, model))

    def show_operations(self, operations: tuple[Operation, ...]) -> dict[str, Operation]:
        """Fit to what is under way; what runs, by the model's name."""
        latest: dict[Key, Operation] = {}
        for operation in operations:
            latest.setdefault(key_of(operation), operation)
        running = {op.model: op for op in latest.values() if op.outcome is Outcome.RUNNING}
        self._seen_running |= {op.id for op in running.values()}
        wanted = {key: op for key, op in latest.items() if self._is_news(op)}
        for gone in [key for key in self._rows if key not in wanted]:
            row = self._rows.pop(gone)
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        # The newest comes first in what is told, and last on the shelf: what is there already keeps its place.
        for key in reversed(wanted):
            if key not in self._rows:
                self._rows[key] = self._make()
            self._rows[key].fill(wanted[key], resumable=self._resumable(wanted[key]))
        self.setVisible(bool(self._rows))
        self._scroll.fit()
        return running

    def allow(self, height: int) -> None:
        """How high the rows may be together; what is more scrolls."""
        self._scroll.allow(height)

    def focus(self, operation: Operation) -> None:
        """Show where one is."""
        row = self._rows.get(key_of(operation))
        if row is not None:
            self._scroll.ensureWidgetVisible(row)
            row.focus()

    def _is_news(self, operation: Operation) -> bool:
        if operation.id in self._away:
            return False
        if operation.outcome is Outcome.DONE:
            # A loaded model says so in its own row.
            return operation.id in self._seen_running and operation.doing is not Doing.LOAD
        return not (operation.outcome is Outcome.CANCELLED and operation.doing is Doing.LOAD)

    def _make(self) -> OperationRow:
        row = OperationRow()
        row.cancel.clicked.connect(lambda: self._cancel(row.operation))
        row.again.clicked.connect(lambda: self._resume(row.operation))
        row.close_button.clicked.connect(lambda: self._put_away(row))
        self._column.addWidget(row)
        return row

    def _put_away(self, row: OperationRow) -> None:
        self._away.add(row.operation.id)
        self._rows.pop(key_of(row.operation))
        self._column.removeWidget(row)
        row.hide()
        row.deleteLater()
        self.setVisible(bool(self._rows))
        self._scroll.fit()


class _Low(QScrollArea):
    """As high as its rows, and never higher than it is allowed to be."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        inner = QWidget()
        self.column = QVBoxLayout(inner)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(CARD_GAP)
        self.setWidget(inner)
        # The card's own surface shows through.
        inner.setAutoFillBackground(False)
        self.viewport().setAutoFillBackground(False)
        self._most = 50 * SPACE
        self._height = 0

    def allow(self, height: int) -> None:
        self._most = height
        self.fit()

    def fit(self) -> None:
        """Take the height that the rows need at the present width, as far as it is allowed."""
        wanted = self.column.totalHeightForWidth(self.viewport().width())
        height = min(self._most, self.column.totalSizeHint().height() if wanted < 0 else wanted)
        if height != self._height:
            self._height = height
            self.setFixedHeight(height)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.fit()
