"""The models as rows in two cards: those on this machine, then those of the catalogue that are not.

Rule 1: rows are keyed by the model's name and filled anew in place; nothing is moved that stays in its card.
Rule 2: the list shows and passes on; what a press means, the page knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtWidgets import QFrame, QPushButton, QScrollArea, QVBoxLayout, QWidget

from app.desktop import model_wording as wording
from app.desktop.cards.card import Card
from app.desktop.pages.model_row import ModelRow
from app.desktop.text import ElidedText, Text
from app.desktop.theme import CARD_GAP, PAGE_MARGIN, Tone
from app.engine.models.base import Entry, Operation


class Rows(Card):
    """A card with a row for each model, a sum beside the title, and a sentence where there are none."""

    pressed = Signal(str)
    wanted = Signal(str, QPoint)

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(title, parent)
        self._rows: dict[str, ModelRow] = {}
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
        self, entries: Sequence[Entry], running: Mapping[str, Operation], *, able: bool, alone: bool = False
    ) -> None:
        """Fit to these models. `able`: the engine can be asked; `alone`: it manages its models itself."""
        wanted = {entry.name for entry in entries}
        for gone in [name for name in self._rows if name not in wanted]:
            row = self._rows.pop(gone)
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        for place, entry in enumerate(entries):
            row_of = self._rows.get(entry.name)
            if row_of is None:
                row_of = self._rows[entry.name] = self._make(entry.name)
                self._column.insertWidget(place, row_of)
            elif self._column.indexOf(row_of) != place:
                self._column.removeWidget(row_of)
                self._column.insertWidget(place, row_of)
            row_of.fill(entry, running.get(entry.name), able=able)
            if alone:
                row_of.show_alone()

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
        self.here.show_entries(here, running, able=able, alone=bool(own_ways))
        self.here.sum.say(wording.sum_line(here))
        self.here.say(absence or own_ways or ("" if here else wording.EMPTY))
        self.start.setText(step)
        self.start.setVisible(bool(step))
        self.catalogue.show_entries(offered, running, able=able)
        self.catalogue.setVisible(bool(offered))
