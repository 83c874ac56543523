"""The models page: what is on this machine, what could be, and what is being done about it.

Rule 1: it asks once a second while it is seen, and rows change in place. Rule 2: whatever is refused is one sentence on
this page. Rule 3: only deleting asks first; everything else can be undone by its opposite.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLineEdit, QMenu, QPushButton, QVBoxLayout, QWidget

from app.desktop import model_wording as wording
from app.desktop.cards.headline import Strip
from app.desktop.dialogs import ask
from app.desktop.engine_wording import FAILING, next_step
from app.desktop.pages.model_dialogs import DetailsDialog, UpdateDialog
from app.desktop.pages.model_list import ModelList
from app.desktop.pages.model_shelf import ShelfCard
from app.desktop.pages.page import PageWidget
from app.desktop.tasks import FaceTasks
from app.desktop.theme import CARD_GAP, INNER_GAP, PAGE_MARGIN, SPACE, Tone
from app.face import GatewayFace, Snapshot
from app.models.base import Doing, Entry, ModelError, Operation, Outcome

_SHELF_LEAST: Final = 24 * SPACE


class ModelsPage(PageWidget):
    """Models, the catalogue, and the work under way."""

    def __init__(self, face: GatewayFace, tasks: FaceTasks, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._face = face
        self._tasks = tasks
        self._seen = False
        self._starting = False
        self.dialog: QDialog | None = None

        self.name = QLineEdit()
        self.name.setPlaceholderText("Name of a model, for example llama3.1:8b")
        self.name.setAccessibleName("Name of a model to get")
        self.name.setClearButtonEnabled(True)
        self.name.returnPressed.connect(self._get_typed)
        self.name.textChanged.connect(lambda: self._fit_buttons())
        self.get = QPushButton("Get")
        self.get.setToolTip("Download the model with this name from Ollama's library")
        self.get.clicked.connect(self._get_typed)
        self.update_button = QPushButton("Update from a web address…")
        self.update_button.clicked.connect(self._ask_for_address)
        self.problem = Strip("warning", Tone.BAD, closable=True)
        self.list = ModelList()
        self.list.started.connect(self._start_engine)
        for card in (self.list.here, self.list.catalogue):
            card.pressed.connect(self._press)
            card.wanted.connect(self._open_menu)
        self.shelf = ShelfCard(self._cancel, self._resume, self._resumable)

        self._top = QWidget()
        row = QHBoxLayout(self._top)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(INNER_GAP)
        row.addWidget(self.name, 1)
        row.addWidget(self.get)
        row.addWidget(self.update_button)
        margins = (PAGE_MARGIN, 0, PAGE_MARGIN, 0)
        above, below = QVBoxLayout(), QVBoxLayout()
        for part in (above, below):
            part.setContentsMargins(*margins)
            part.setSpacing(CARD_GAP)
        above.addWidget(self._top)
        above.addWidget(self.problem)
        below.addWidget(self.shelf)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, PAGE_MARGIN, 0, PAGE_MARGIN)
        column.setSpacing(CARD_GAP)
        column.addLayout(above)
        column.addWidget(self.list, 1)
        column.addLayout(below)
        QShortcut(QKeySequence.StandardKey.Find, self, self.name.setFocus)
        self._able = False
        self._fit_buttons()

    def appear(self) -> None:
        self._seen = True

    def vanish(self) -> None:
        self._seen = False

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.shelf.allow(max(_SHELF_LEAST, self.height() // 4))

    def show_snapshot(self, snapshot: Snapshot) -> None:
        models = self._face.models
        running = self.shelf.show_operations(models.operations())
        absence = wording.absence(snapshot)
        own_ways = wording.ways_of_its_own(snapshot.engine)
        step = next_step(snapshot.host) if absence and not self._starting else None
        self.list.show_models(
            models.entries(),
            running,
            absence=absence,
            own_ways="" if absence else own_ways,
            step=step.label if step is not None else "",
        )
        self._able = not absence
        self._top.setVisible(not own_ways)
        self._fit_buttons()

    def menu_of(self, name: str) -> QMenu:
        """What can be done to a model besides loading and unloading it."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        entry = self._entry(name)
        if entry is None:
            return menu
        menu.addAction("Show details").triggered.connect(lambda: self._show_details(entry))
        if self._able:
            menu.addAction("Get the newest version").triggered.connect(lambda: self._pull(name))
            menu.addSeparator()
            menu.addAction("Delete…").triggered.connect(lambda: self._ask_to_delete(entry))
        return menu

    def _fit_buttons(self) -> None:
        self.get.setEnabled(self._able and bool(self.name.text().strip()))
        self.update_button.setEnabled(self._able)

    def _look(self) -> None:
        if self._seen:
            self.show_snapshot(self._face.snapshot())

    def _entry(self, name: str) -> Entry | None:
        row = self.list.row(name)
        return row.entry if row is not None else None

    def _press(self, name: str) -> None:
        row = self.list.row(name)
        entry = row.entry if row is not None else None
        if row is None or entry is None:
            return
        if row.operation is not None and row.operation.outcome is Outcome.RUNNING:
            self.shelf.focus(row.operation)
        elif not entry.installed:
            self._pull(name)
        elif entry.loaded:
            self._do(self._face.models.unload(name), f"{name} could not be unloaded")
        else:
            self._try(lambda: self._face.models.load(name))

    def _open_menu(self, name: str, point: QPoint) -> None:
        self.menu_of(name).popup(point)

    def _get_typed(self) -> None:
        name = self.name.text().strip()
        if name and self._able and self._pull(name):
            self.name.clear()

    def _pull(self, name: str) -> bool:
        return self._try(lambda: self._face.models.pull(name))

    def _cancel(self, operation: Operation) -> None:
        self._try(lambda: self._face.models.cancel(operation.id))

    def _resumable(self, operation: Operation) -> bool:
        return operation.doing is not Doing.UPDATE or bool(operation.source)

    def _resume(self, operation: Operation) -> None:
        match operation.doing:
            case Doing.PULL:
                self._pull(operation.model)
            case Doing.LOAD:
                self._try(lambda: self._face.models.load(operation.model))
            case Doing.UPDATE:
                update = self._face.models.update
                self._try(lambda: update(operation.source, operation.model, operation.sha256))

    def _ask_for_address(self) -> None:
        def begin(url: str, name: str, sha256: str) -> None:
            self._face.models.update(url, name, sha256)
            self._look()

        self._open(UpdateDialog(begin, self.window()))

    def _show_details(self, entry: Entry) -> None:
        async def show() -> None:
            told = await self._face.models.show(entry.name)
            if self._seen:
                self._open(DetailsDialog(entry, told, self.window()))

        self._do(show(), f"{entry.name} could not be looked up")

    def _ask_to_delete(self, entry: Entry) -> None:
        async def delete() -> None:
            await self._face.models.delete(entry.name)

        question, meaning = wording.delete_question(entry)
        failing = f"{entry.name} could not be deleted"
        self._keep(ask(self.window(), question, meaning, "Delete", lambda: self._do(delete(), failing)))

    def _start_engine(self) -> None:
        async def start() -> None:
            try:
                await self._face.upstream.verb("start")
            finally:
                self._starting = False
                self._look()

        if not self._starting:
            self._starting = True
            self._look()
            self._tasks.start(start(), FAILING["start"])

    def _try(self, verb: Callable[[], object]) -> bool:
        """Call a verb, and show what came of it at once; False where it was refused."""
        self.problem.say("")
        try:
            verb()
        except ModelError as error:
            self.problem.say(str(error))
            return False
        finally:
            self._look()
        return True

    def _do(self, work: Coroutine[Any, Any, None], failing: str) -> None:
        async def whole() -> None:
            try:
                await work
            except ModelError as error:
                self.problem.say(str(error))
            finally:
                self._look()

        self.problem.say("")
        self._tasks.start(whole(), failing)

    def _open(self, dialog: QDialog) -> None:
        self._keep(dialog)
        dialog.open()

    def _keep(self, dialog: QDialog) -> None:
        self.dialog = dialog
        dialog.finished.connect(self._forget)

    def _forget(self) -> None:
        self.dialog = None
