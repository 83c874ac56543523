"""The line about the engine's container: how it is, what is amiss, and the one button that helps.

Rule 1: it takes no room where the engine is not ours. Rule 2: the button is the state's next step; every other verb is
in the menu. Rule 3: a verb that would end running requests asks first.
"""

from __future__ import annotations

import logging

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QDialog, QGridLayout, QMenu, QPushButton, QWidget

from app.desktop import engine_wording as wording
from app.desktop.cards.card import Bar
from app.desktop.cards.headline import Strip
from app.desktop.dialogs import LogDialog, ask
from app.desktop.engine_wording import Step
from app.desktop.model_wording import share
from app.desktop.tasks import FaceTasks
from app.desktop.text import IconButton, Mark, Text
from app.desktop.theme import INNER_GAP, SPACE, Tone
from app.engine.host import HostPhase
from app.face import GatewayFace, Snapshot

log = logging.getLogger(__name__)


class EngineStrip(QWidget):
    """The container as last heard of."""

    def __init__(self, face: GatewayFace, tasks: FaceTasks, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Engine")
        self._face = face
        self._tasks = tasks
        self._snapshot: Snapshot | None = None
        self._step: Step | None = None
        self._busy: set[str] = set()
        self._told_in = HostPhase.NONE
        """Where the container was when its last verb was done: what that said is old news elsewhere."""
        self.dialog: QDialog | None = None

        self._mark = Mark("engine", 16, Tone.MUTED)
        self._line = Text(wrap=True)
        self._trouble = Text(wrap=True)
        self.bar = Bar("Progress of the engine")
        self.button = QPushButton()
        self.button.clicked.connect(self._take_step)
        self.log = QPushButton("Show log")
        self.log.clicked.connect(self._show_log)
        self.menu = QMenu(self)
        self._actions = []
        for step, phases in wording.VERBS:
            action = self.menu.addAction(step.label)
            action.triggered.connect(lambda _=False, step=step: self.request(step))
            self._actions.append((action, step.verb, phases))
        self.more = IconButton("more", "Start, stop or update the engine")
        self.more.clicked.connect(
            # To the left, as far as it is wide: the button stands at the window's edge.
            lambda: self.menu.popup(
                self.more.mapToGlobal(self.more.rect().bottomRight())
                - QPoint(self.menu.sizeHint().width(), 0)
            )
        )
        self.told = Strip("info", Tone.MUTED, closable=True)

        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(INNER_GAP)
        grid.setVerticalSpacing(SPACE)
        grid.setColumnStretch(1, 1)
        middle = Qt.AlignmentFlag.AlignVCenter
        grid.addWidget(self._mark, 0, 0, middle)
        grid.addWidget(self._line, 0, 1, middle)
        grid.addWidget(self.log, 0, 2, middle)
        grid.addWidget(self.button, 0, 3, middle)
        grid.addWidget(self.more, 0, 4, middle)
        grid.addWidget(self.bar, 1, 1, 1, 4)
        grid.addWidget(self._trouble, 2, 1, 1, 4)
        grid.addWidget(self.told, 3, 0, 1, 5)
        self.hide()

    @property
    def line(self) -> str:
        """What it says of the container."""
        return self._line.text()

    @property
    def trouble(self) -> str:
        """What is amiss, and what to do."""
        return self._trouble.text()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Fit to the present moment."""
        host = snapshot.host
        self._snapshot = snapshot
        self.setVisible(wording.is_ours(host))
        if not wording.is_ours(host):
            return
        if self.told.sentence and host.phase is not self._told_in:
            self.told.say("")
        tone = wording.engine_tone(snapshot)
        self._mark.show_mark("engine" if tone is Tone.MUTED else "warning", tone)
        self._line.say(wording.engine_line(snapshot))
        self._line.set_tone(Tone.BAD if wording.fell_back(host) else Tone.PLAIN)
        trouble = wording.engine_trouble(snapshot)
        self._trouble.say(trouble)
        self._trouble.setVisible(bool(trouble))
        self.bar.setVisible(host.progress is not None and host.progress.total > 0)
        if host.progress is not None:
            self.bar.set_share(share(host.progress))
        self._step = wording.next_step(host)
        if self._step is not None:
            self.button.setText(self._step.label)
        self.button.setVisible(self._step is not None)
        self.button.setEnabled(not self._busy)
        self.log.setVisible(bool(host.log_tail) and host.phase is not HostPhase.RUNNING)
        for action, verb, phases in self._actions:
            action.setEnabled(host.phase in phases and self._free_for(verb))

    def request(self, step: Step) -> None:
        """Do what a button or the menu says, asking first where running requests would end."""
        if self._snapshot is None or not self._free_for(step.verb):
            return
        question = wording.interruption(step, self._snapshot)
        if question is None:
            self._begin(step)
        else:
            self._keep(ask(self.window(), *question, step.label, lambda: self._begin(step)))

    def _begin(self, step: Step) -> None:
        if not self._free_for(step.verb):
            return
        self._busy.add(step.verb)
        self.told.say("")
        self._look()
        self._tasks.start(self._do(step.verb), wording.FAILING[step.verb])

    async def _do(self, verb: str) -> None:
        said = ""
        try:
            said = await self._face.upstream.verb(verb)
        except Exception as error:
            # What the container's own state says already is not said a second time.
            problem = (self._face.snapshot().host.problem or "").rstrip(".")
            if not problem or problem not in str(error):
                raise
            log.info("%s: %s", wording.FAILING[verb], error)
        finally:
            self._busy.discard(verb)
            self._told_in = self._face.snapshot().host.phase
            self.told.say(said)
            self._look()

    def _free_for(self, verb: str) -> bool:
        # A start may download for an hour: stopping must be possible all the while.
        return verb not in self._busy if verb == "stop" else not self._busy

    def _look(self) -> None:
        self.show_snapshot(self._face.snapshot())

    def _take_step(self) -> None:
        if self._step is not None:
            self.request(self._step)

    def _show_log(self) -> None:
        if self._snapshot is not None:
            name = self._snapshot.engine.name
            dialog = LogDialog(f"What {name} said last", self._snapshot.host.log_tail, self.window())
            self._keep(dialog)
            dialog.open()

    def _keep(self, dialog: QDialog) -> None:
        self.dialog = dialog
        dialog.finished.connect(self._forget)

    def _forget(self) -> None:
        self.dialog = None
