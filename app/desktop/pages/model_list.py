"""The models as rows in two cards: those on this machine, then those of the catalogue that are not.

Rule 1: rows are keyed by the model's name and filled anew in place; nothing is moved that stays in its card.
Rule 2: the list shows and passes on; what a press means, the page knows. Rule 3: new rows are made a few in a turn of
the loop, from the top: a row takes about a millisecond, and some people have hundreds of models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from PySide6.QtCore import QPoint, Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QPushButton, QScrollArea, QVBoxLayout, QWidget

from app.desktop import model_wording as wording
from app.desktop.cards.card import Card
from app.desktop.pages.model_row import ModelRow
from app.desktop.text import ElidedText, Text
from app.desktop.theme import CARD_GAP, PAGE_MARGIN, Tone
from app.models.base import Entry, Operation

_IN_A_TURN: Final = 1
"""So many new rows are made before the loop has its turn."""


class Rows(Card):
    """A card with a row for each model, a sum beside the title, and a sentence where there are none."""

    pressed = Signal(str)
    wanted = Signal(str, QPoint)

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(title, parent)
        self._rows: dict[str, ModelRow] = {}
        self.missing = 0
        """Rows that are still to be made."""
        self.sum = ElidedText(tone=Tone.MUTED)
        self.sum.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.head.addWidget(self.sum, 1)
        self.message = Text(tone=Tone.MUTED, wrap=True)
        self.message.hide()
        self._column = QVBoxLayout()
        self._column.setSpacing(CARD_GAP)
        self.body.addWidget(self.message)
        self.body.addLayout(self._column)

    @property
    def names(self) -> tuple[str, ...]:
        """The models that have a row, from top to bottom."""
        return tuple(sorted(self._rows, key=lambda name: self._column.indexOf(self._rows[name])))

    def row(self, name: str) -> ModelRow | None:
        """The row of a model."""
        return self._rows.get(name)

    def show_entries(
        self,
        entries: Sequence[Entry],
        running: Mapping[str, Operation],
        *,
        able: bool,
        most: int,
        alone: bool = False,
    ) -> int:
        """Fit to these models, making at most so many new rows; how many more could have been made. `able`: the engine
        can be asked; `alone`: it manages its models itself."""
        wanted = {entry.name for entry in entries}
        for gone in [name for name in self._rows if name not in wanted]:
            row = self._rows.pop(gone)
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        place = self.missing = 0
        for entry in entries:
            row_of = self._rows.get(entry.name)
            if row_of is None:
                if most <= 0:
                    self.missing += 1
                    continue
                most -= 1
                row_of = self._rows[entry.name] = self._make(entry.name)
                self._column.insertWidget(place, row_of)
            elif self._column.indexOf(row_of) != place:
                self._column.removeWidget(row_of)
                self._column.insertWidget(place, row_of)
            place += 1
            row_of.fill(entry, running.get(entry.name), able=able)
            if alone:
                row_of.show_alone()
        return most

    def say(self, sentence: str) -> None:
        """What stands where no rows do, or above them."""
        self.message.say(sentence)
        self.message.setVisible(bool(sentence))

    def _make(self, name: str) -> ModelRow:
        row = ModelRow(name)
        row.pressed.connect(lambda: self.pressed.emit(name))
        row.wanted.connect(lambda point: self.wanted.emit(name, point))
        return row


class ModelList(QScrollArea):
    """Both cards, scrolled together. `started` is emitted by the button that an engine of ours, at rest, offers."""

    started = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.here = Rows("On this machine")
        self.catalogue = Rows("To choose from")
        self.start = QPushButton("Start")
        self.start.clicked.connect(lambda: self.started.emit())
        self.start.hide()
        self._go_on: Callable[[], None] = lambda: None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(lambda: self._go_on())
        self.here.body.insertWidget(1, self.start, 0, Qt.AlignmentFlag.AlignLeft)
        column = QWidget()
        layout = QVBoxLayout(column)
        layout.setContentsMargins(PAGE_MARGIN, 0, PAGE_MARGIN, PAGE_MARGIN)
        layout.setSpacing(CARD_GAP)
        layout.addWidget(self.here)
        layout.addWidget(self.catalogue)
        layout.addStretch(1)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidget(column)

    @property
    def making(self) -> bool:
        """Whether rows are still being made."""
        return self._soon.isActive()

    def row(self, name: str) -> ModelRow | None:
        """The row of a model, in whichever card."""
        return self.here.row(name) or self.catalogue.row(name)

    def show_models(
        self,
        entries: Sequence[Entry],
        running: Mapping[str, Operation],
        *,
        absence: str,
        own_ways: str,
        step: str,
    ) -> None:
        """Fit to these models. `absence`: why none can be listed; `own_ways`: why nothing can be done to them; `step`:
        what the button says that could end the absence, or empty."""
        able = not absence
        here = [entry for entry in entries if entry.installed]
        offered = [] if own_ways else [entry for entry in entries if not entry.installed]
        self.here.sum.say(wording.sum_line(here))
        self.here.say(absence or own_ways or ("" if here else wording.EMPTY))
        self.start.setText(step)
        self.start.setVisible(bool(step))
        self.catalogue.setVisible(bool(offered))

        def fit() -> None:
            most = self.here.show_entries(here, running, able=able, most=_IN_A_TURN, alone=bool(own_ways))
            self.catalogue.show_entries(offered, running, able=able, most=most)
            if self.here.missing or self.catalogue.missing:
                self._soon.start(0)

        self._go_on = fit
        self._soon.stop()
        fit()
