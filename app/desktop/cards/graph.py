"""The card «Power and cost»: the present watts, the graph, and the reading under the crosshair.

Rule 1: the room for the graph is kept from the start; the graph itself is imported in a thread and comes when it
is there. Rule 2: it draws no more often than a picture of the chosen span can differ.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QGridLayout,
    QHBoxLayout,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from app.desktop import format as fmt
from app.desktop import wording
from app.desktop.cards.card import Card
from app.desktop.cards.graph_data import SPANS, Span
from app.desktop.tasks import FaceTasks
from app.desktop.text import ElidedText, Text, current_theme
from app.desktop.theme import CARD_GAP, INNER_GAP, SPACE, Tone
from app.face import GatewayFace, MoneyView, Snapshot
from app.power.history import MINUTE_US, PowerPoint

if TYPE_CHECKING:
    from app.desktop.cards.plot import PowerPlot

_HEIGHT: Final = 148


class GraphCard(Card):
    """Power over time, with what clients pay for it."""

    def __init__(self, face: GatewayFace, tasks: FaceTasks, parent: QWidget | None = None) -> None:
        super().__init__("Power and cost", parent)
        self._face = face
        self._tasks = tasks
        self._span = SPANS[0]
        self._drawn_us: int | None = None
        self._money: MoneyView | None = None
        self._now_us = 0
        self._plot: PowerPlot | None = None
        self._loading = False

        self._now = Text(fmt.NOTHING, steps=2, semibold=True)
        self._clients = Text(tone=Tone.MUTED)
        self._idle = Text(tone=Tone.MUTED)
        self._legend = QWidget()
        self._cost = Text()
        self._reading = ElidedText()
        self._reading.setAccessibleName("Reading")
        self._reading.hide()

        self.head.addStretch(1)
        self._spans = QButtonGroup(self)
        for span in SPANS:
            self._add_span(span)

        self._stage = QWidget()
        self._stage.setMinimumHeight(_HEIGHT)
        self._stage.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._layers = QGridLayout(self._stage)
        self._layers.setContentsMargins(0, 0, 0, 0)
        self._message = Text("Loading the graph …", tone=Tone.MUTED)
        self._layers.addWidget(self._message, 0, 0, Qt.AlignmentFlag.AlignCenter)

        self.body.addLayout(self._numbers())
        self.body.addWidget(self._stage, 1)

    @property
    def plot(self) -> PowerPlot | None:
        """The graph, once it is loaded."""
        return self._plot

    @property
    def reading(self) -> str:
        """What the line under the graph reads, empty while nothing is pointed at."""
        return "" if self._reading.isHidden() else self._reading.text()

    @property
    def message(self) -> str:
        """What stands in place of the graph, empty while there is one."""
        return "" if self._message.isHidden() else self._message.text()

    @property
    def span_buttons(self) -> list[QAbstractButton]:
        """The buttons that choose a span, shortest first."""
        return self._spans.buttons()

    def appear(self) -> None:
        """Load the graph if that was not done yet, and draw at once when next shown a snapshot."""
        self._drawn_us = None
        if self._plot is None and not self._loading:
            self._loading = True
            self._tasks.start(self._load(), "The graph could not be loaded")

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Fit numbers and graph to the present moment."""
        self._now_us = snapshot.at_us
        self._money = snapshot.money
        self._now.say(fmt.watts(snapshot.total_w))
        self._clients.say(f"{fmt.watts(snapshot.marginal_w)} for clients")
        self._idle.say(f"{fmt.watts(snapshot.total_w - snapshot.marginal_w)} idle")
        self._cost.say(wording.per_hour(snapshot.money))
        if self._drawn_us is None or not 0 <= self._now_us - self._drawn_us < self._span.refresh_us:
            self._draw()

    def choose(self, span: Span) -> None:
        """Show another span."""
        self._span = span
        self._draw()

    async def _load(self) -> None:
        try:
            module: Any = await asyncio.to_thread(importlib.import_module, "app.desktop.cards.plot")
        finally:
            self._loading = False
        self._plot = module.PowerPlot(self._read)
        self._layers.addWidget(self._plot, 0, 0)
        self._message.raise_()
        self._draw()

    def _draw(self) -> None:
        if self._plot is None or not self._now_us:
            return
        self._drawn_us = self._now_us
        points = self._face.history(self._span.span_us)
        self._plot.show_points(points, self._span, self._now_us)
        empty = all(point.is_gap for point in points)
        self._message.say("The graph begins with the first reading." if empty else "")
        self._message.setVisible(empty)

    def _read(self, point: PowerPoint | None) -> None:
        if point is not None and self._money is not None:
            self._reading.say(reading(point, self._span, self._money, self._now_us))
        self._reading.setVisible(point is not None)
        self._legend.setVisible(point is None)

    def _numbers(self) -> QHBoxLayout:
        # The legend carries the figures; under the crosshair the reading takes its place, so nothing moves.
        legend = QHBoxLayout(self._legend)
        legend.setContentsMargins(0, 0, 0, 0)
        legend.setSpacing(INNER_GAP)
        for colour, figure in (("clients", self._clients), ("idle", self._idle)):
            legend.addWidget(Swatch(colour))
            legend.addWidget(figure)
            legend.addSpacing(SPACE)
        legend.addStretch(1)
        legend.addWidget(self._cost)
        row = QHBoxLayout()
        row.setSpacing(CARD_GAP)
        row.addWidget(self._now)
        row.addWidget(self._legend, 1)
        row.addWidget(self._reading, 1)
        return row

    def _add_span(self, span: Span) -> None:
        button = QToolButton()
        button.setText(span.label)
        button.setCheckable(True)
        button.setAutoRaise(True)
        button.setChecked(span is self._span)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setAccessibleName(f"Show {span.label}")
        button.clicked.connect(lambda: self.choose(span))
        self._spans.addButton(button)
        self.head.addWidget(button)


class Swatch(QWidget):
    """A small square of one of the graph's colours."""

    def __init__(self, colour: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._colour = colour
        self.setFixedSize(10, 10)

    def paintEvent(self, event: QPaintEvent) -> None:
        QPainter(self).fillRect(self.rect(), getattr(current_theme(), self._colour))


def reading(point: PowerPoint, span: Span, money: MoneyView, now_us: int) -> str:
    """«14:02:31 · 171 W · 112 W for clients · $0.017/h · 2 requests»."""
    fine = span.step_us < MINUTE_US
    at = fmt.clock(point.at_us, seconds=True) if fine else fmt.when(point.at_us, now_us)
    if point.is_gap:
        return f"{at} · nothing measured"
    return " · ".join(
        (
            at,
            fmt.watts(point.total_w),
            f"{fmt.watts(max(0.0, point.marginal_w))} for clients",
            wording.per_hour(money, point.cost_pico_per_hour),
            fmt.counted(point.requests, "request", "requests"),
        )
    )
