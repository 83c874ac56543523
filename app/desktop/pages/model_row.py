"""One model as two lines: name, size, fit and memory with what can be done; below, what it is and what it needs.

Rule 1: a row is one model's for as long as the model is listed; only what changed is written anew, so that focus and
place stay. Rule 2: columns are as wide as their longest words, so that rows stand under each other in every card.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QContextMenuEvent, QFontMetrics
from PySide6.QtWidgets import QApplication, QGridLayout, QHBoxLayout, QPushButton, QWidget

from app.desktop import format as fmt
from app.desktop import model_wording as wording
from app.desktop.text import ElidedText, IconButton, Mark, Text, sized
from app.desktop.theme import CARD_GAP, INNER_GAP, SPACE, Tone
from app.models.base import Entry, Fit, Operation, Outcome

_FACTS: Final = "999.9B · Q4_K_M"
_SIZE: Final = "999.9 GB"
_MEMORY: Final = "On the processor"


class ModelRow(QWidget):
    """`pressed` says that the button was, `wanted` that the menu is asked for, at which point of the screen."""

    pressed = Signal()
    wanted = Signal(QPoint)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self._shown: tuple[Entry, Operation | None, bool] | None = None
        self._name = ElidedText(name)
        self._facts = ElidedText(tone=Tone.MUTED)
        self._size = Text(tone=Tone.MUTED)
        self._mark = Mark("fit-unknown", 16, Tone.MUTED)
        self._fit = Text()
        self._memory = Text()
        self._about = Text(tone=Tone.MUTED, wrap=True)
        self.button = QPushButton()
        self.button.clicked.connect(lambda: self.pressed.emit())
        self.more = IconButton("more", f"More about {name}")
        self.more.clicked.connect(
            lambda: self.wanted.emit(self.more.mapToGlobal(self.more.rect().bottomLeft()))
        )

        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        self._size.setAlignment(right)
        self._memory.setAlignment(right)
        fit = QHBoxLayout()
        fit.setSpacing(INNER_GAP - SPACE // 2)
        fit.addWidget(self._mark)
        fit.addWidget(self._fit, 1)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(CARD_GAP)
        grid.setVerticalSpacing(0)
        grid.setColumnStretch(0, 1)
        grid.addWidget(self._name, 0, 0)
        grid.addWidget(self._facts, 0, 1)
        grid.addWidget(self._size, 0, 2)
        grid.addLayout(fit, 0, 3)
        grid.addWidget(self._memory, 0, 4)
        for column, button in ((5, self.button), (6, self.more)):
            keeping = button.sizePolicy()
            keeping.setRetainSizeWhenHidden(True)
            button.setSizePolicy(keeping)
            grid.addWidget(button, 0, column, 2, 1, Qt.AlignmentFlag.AlignVCenter)
        grid.addWidget(self._about, 1, 0, 1, 5)
        self._measure(grid)

    @property
    def entry(self) -> Entry | None:
        """The model as last shown."""
        return self._shown[0] if self._shown else None

    @property
    def operation(self) -> Operation | None:
        """What is being done to it, as last shown."""
        return self._shown[1] if self._shown else None

    def fill(self, entry: Entry, operation: Operation | None, *, able: bool) -> None:
        """Show the model, what runs on it, and whether anything can be asked of the engine at all."""
        if self._shown == (entry, operation, able):
            return
        self._shown = (entry, operation, able)
        look = wording.fit(entry)
        unfit = not entry.installed and entry.estimate.fit is Fit.NO
        self._name.set_tone(Tone.MUTED if unfit else Tone.PLAIN)
        self._facts.say(wording.facts(entry))
        self._size.say(fmt.size(entry.size_b) if entry.size_b else fmt.NOTHING)
        self._mark.show_mark(look.mark, look.tone)
        self._fit.say(look.word)
        self._fit.set_tone(Tone.MUTED if unfit else Tone.PLAIN)
        self._fit.setToolTip(entry.estimate.sentence)
        self._memory.say(wording.memory(entry))
        about = wording.about(entry)
        self._about.say(about)
        self._about.setVisible(bool(about))
        self._offer(entry, operation, able)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        if not self.more.isHidden():
            self.wanted.emit(event.globalPos())

    def _offer(self, entry: Entry, operation: Operation | None, able: bool) -> None:
        if operation is not None and operation.outcome is Outcome.RUNNING:
            verb = wording.doing(operation)
            self.button.setToolTip("Show how far it is")
        else:
            verb = "Get" if not entry.installed else "Unload" if entry.loaded else "Load"
            self.button.setToolTip(_TIPS[verb])
        self.button.setText(verb)
        self.button.setAccessibleName(f"{verb} {entry.name}")
        self.button.setEnabled(able)
        self.more.setVisible(entry.installed)

    def show_alone(self) -> None:
        """Nothing can be done here: no button, no menu."""
        self.button.hide()
        self.more.hide()

    def _measure(self, grid: QGridLayout) -> None:
        metrics = QFontMetrics(sized(QApplication.font(), 0))
        grid.setColumnMinimumWidth(2, metrics.horizontalAdvance(_SIZE))
        grid.setColumnMinimumWidth(3, max(map(metrics.horizontalAdvance, wording.FIT_WORDS)) + 16 + INNER_GAP)
        grid.setColumnMinimumWidth(4, metrics.horizontalAdvance(_MEMORY))
        self.button.setFixedWidth(_button_width(QApplication.font().key()))
        grid.setColumnMinimumWidth(1, metrics.horizontalAdvance(_FACTS))


_TIPS: Final = {
    "Get": "Download it onto this machine's disk",
    "Load": "Put it into the GPU's memory, so that the first answer comes sooner",
    "Unload": "Give its part of the GPU's memory back",
}


@lru_cache(maxsize=4)
def _button_width(font: str) -> int:
    """The room of the longest verb, in the font with that key."""
    button = QPushButton()
    widths = []
    for verb in ("Unload", "Loading", "Getting", "Updating"):
        button.setText(verb)
        widths.append(button.sizeHint().width())
    return max(widths)
