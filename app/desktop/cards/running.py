"""The card «Running now»: a row for each request, with what it does, what it costs, and a way to stop it.

Rule 1: rows are kept and filled anew, so a second of 64 streams costs a few changed labels. Rule 2: a request
keeps its row as long as it runs; the [stop] under the pointer never becomes another request's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from app.billing.money import format_money
from app.desktop import format as fmt
from app.desktop.cards.card import Card
from app.desktop.text import ElidedText, IconButton, Text
from app.desktop.theme import CARD_GAP, SPACE, Tone
from app.face import GatewayFace, RunningRequest, Snapshot

MOST_ROWS: Final = 20

_HEADS: Final = ("Key", "Model", "Tokens/s", "Watts", "Cost so far", "")
_NUMBERS: Final = frozenset({2, 3, 4})


class RunningCard(Card):
    """The requests between hold and settlement."""

    def __init__(self, face: GatewayFace, parent: QWidget | None = None) -> None:
        super().__init__("Running now", parent)
        self._face = face
        self._rows: dict[str, _Row] = {}
        self._spare: list[_Row] = []
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(CARD_GAP)
        self._grid.setVerticalSpacing(SPACE)
        for column, stretch in enumerate((3, 4, 0, 0, 0, 0)):
            self._grid.setColumnStretch(column, stretch)
            self._grid.setColumnMinimumWidth(column, 18 * SPACE if column in _NUMBERS else 0)
        self._heads = [Text(text, tone=Tone.MUTED) for text in _HEADS]
        for column, head in enumerate(self._heads):
            self._grid.addWidget(head, 0, column, _alignment(column))
            head.hide()
        self._empty = Text(tone=Tone.MUTED, wrap=True)
        self._more = Text(tone=Tone.MUTED)
        self._more.hide()
        self.body.addLayout(self._grid)
        self.body.addWidget(self._empty)
        self.body.addWidget(self._more)
        self.body.addStretch(1)

    @property
    def shown(self) -> tuple[str, ...]:
        """Ids of the requests that have a row, from top to bottom."""
        return tuple(sorted(self._rows, key=lambda request_id: self._rows[request_id].line))

    def stop_button(self, request_id: str) -> IconButton:
        """The button that cuts one request."""
        return self._rows[request_id].stop

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Fit to the present moment."""
        present = {request.id: request for request in snapshot.running}
        for gone in [request_id for request_id in self._rows if request_id not in present]:
            row = self._rows.pop(gone)
            row.hide()
            self._spare.append(row)
        for request in sorted(snapshot.running, key=lambda request: request.queued):
            row_of = self._rows.get(request.id)
            if row_of is None:
                if len(self._rows) >= MOST_ROWS:
                    continue
                row_of = self._rows[request.id] = self._take_row()
            row_of.fill(request, snapshot.money.currency)
        for head in self._heads:
            head.setVisible(bool(self._rows))
        hidden = len(present) - len(self._rows)
        self._more.say(f"and {hidden} more")
        self._more.setVisible(hidden > 0)
        self._empty.say("" if present else f"Requests to {snapshot.address} show up here while they run.")
        self._empty.setVisible(not present)

    def _take_row(self) -> _Row:
        if self._spare:
            self._spare.sort(key=lambda row: -row.line)
            return self._spare.pop()
        row = _Row(len(self._rows) + 1, self._face.duty.stop_request)
        for column, widget in enumerate(row.cells):
            place = _alignment(column) if column in _NUMBERS else Qt.AlignmentFlag.AlignVCenter
            self._grid.addWidget(widget, row.line, column, place)
        return row


class _Row:
    """The labels of one line; which request they show changes over time."""

    def __init__(self, line: int, stop_request: Callable[[str], None]) -> None:
        self.line = line
        self._id = ""
        self._key = ElidedText()
        self._model = ElidedText()
        self._rate = Text()
        self._watts = Text()
        self._cost = Text()
        self.stop = IconButton("stop", "Stop", text=True)
        self.stop.clicked.connect(lambda: stop_request(self._id))
        self.cells: tuple[QWidget, ...] = (
            self._key, self._model, self._rate, self._watts, self._cost, self.stop,
        )  # fmt: skip

    def fill(self, request: RunningRequest, currency: str) -> None:
        if request.id != self._id:
            self._id = request.id
            self.stop.setEnabled(True)
            self.stop.setAccessibleName(f"Stop the request of {request.key_label}")
            self.stop.setToolTip("Stop this request; what it used is billed")
        self._key.say(request.key_label)
        self._model.say(request.model)
        self._rate.say("waiting" if request.queued else fmt.rate(request.tokens_per_s))
        self._watts.say(fmt.NOTHING if request.queued else fmt.watts(request.watts))
        self._cost.say(format_money(request.cost_pico, currency) if request.cost_pico else fmt.NOTHING)
        for cell in self.cells:
            cell.setVisible(True)

    def hide(self) -> None:
        for cell in self.cells:
            cell.hide()


def _alignment(column: int) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column in _NUMBERS else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
