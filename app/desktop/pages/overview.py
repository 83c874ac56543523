"""The overview: am I lending, what does it cost, is anything wrong.

Rule: this page only arranges; every card is shown the same snapshot and minds its own business.
"""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QPushButton, QScrollArea, QVBoxLayout, QWidget

from app.desktop.cards.cap import CapCard
from app.desktop.cards.card import Reflow
from app.desktop.cards.engine import EngineStrip
from app.desktop.cards.gpu import GpuCard
from app.desktop.cards.graph import GraphCard
from app.desktop.cards.headline import Headline, Strip
from app.desktop.cards.public import PublicDialog, PublicStrip
from app.desktop.cards.running import RunningCard
from app.desktop.pages.page import PageWidget
from app.desktop.tasks import FaceTasks
from app.desktop.theme import CARD_GAP, PAGE_MARGIN, Tone
from app.desktop.wording import SIMULATION
from app.face import GatewayFace, Snapshot

_TWO_COLUMNS: Final = 760


class OverviewPage(PageWidget):
    """State, graph, cap, GPU and running requests in one scrolling column."""

    def __init__(self, face: GatewayFace, tasks: FaceTasks, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._face = face
        self._tasks = tasks
        self.dialog: PublicDialog | None = None
        self.graph = GraphCard(face, tasks)
        self.cap = CapCard(face, tasks)
        self.gpu = GpuCard()
        self.running = RunningCard(face)
        self.headline = Headline(face, self._edit_cap, self.ask_public)
        self.engine = EngineStrip(face, tasks)
        self.public = PublicStrip(face, tasks)
        self.public.wanted.connect(self.ask_public)
        self.simulation = Strip("flask", Tone.WARN)
        self.unload = QPushButton("Unload that as well")
        self.unload.setToolTip("Unload the models that were loaded without this gateway")
        self.unload.clicked.connect(lambda: face.duty.unload_others())
        self.notice = Strip("warning", Tone.WARN, button=self.unload)

        column = QWidget()
        layout = QVBoxLayout(column)
        layout.setContentsMargins(PAGE_MARGIN, PAGE_MARGIN, PAGE_MARGIN, PAGE_MARGIN)
        layout.setSpacing(CARD_GAP)
        layout.addWidget(self.headline)
        layout.addWidget(self.simulation)
        layout.addWidget(self.notice)
        layout.addWidget(self.engine)
        layout.addWidget(self.public)
        layout.addWidget(self.graph, 1)
        layout.addWidget(Reflow((self.cap, self.gpu), _TWO_COLUMNS))
        layout.addWidget(self.running)

        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._scroll.setWidget(column)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._scroll)

    def appear(self) -> None:
        self.graph.appear()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        self.headline.show_snapshot(snapshot)
        self.simulation.say(SIMULATION if snapshot.simulated else "")
        self.notice.say(snapshot.notice or "")
        self.unload.setVisible(bool(snapshot.others))
        self.engine.show_snapshot(snapshot)
        self.public.show_snapshot(snapshot)
        self.graph.show_snapshot(snapshot)
        self.cap.show_snapshot(snapshot)
        self.gpu.show_snapshot(snapshot)
        self.running.show_snapshot(snapshot)

    def ask_public(self) -> None:
        """Explain the public address, and open one if that is wished."""
        if self.dialog is not None:
            self.dialog.raise_()
            return
        self.dialog = PublicDialog(self._face, self._tasks, self.window())
        self.dialog.chosen.connect(self._open_public)
        self.dialog.finished.connect(self._forget)
        self.dialog.open()

    def _open_public(self, mode: str) -> None:
        self._tasks.start(self._face.public.set_mode(mode), "The public address could not be opened")

    def _forget(self) -> None:
        self.dialog = None

    def _edit_cap(self) -> None:
        self._scroll.ensureWidgetVisible(self.cap)
        self.cap.edit()
