"""The models page in front of scripted models, for its tests."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QApplication, QMessageBox

from app.desktop.pages.model_dialogs import UpdateDialog
from app.desktop.pages.model_row import ModelRow
from app.desktop.pages.model_shelf import OperationRow
from app.desktop.pages.models import ModelsPage
from app.desktop.tasks import FaceTasks
from app.face import Snapshot
from app.models.base import Doing
from tests.desktop.fake_gateway import FakeGateway
from tests.desktop.fake_models import FakeModels
from tests.desktop.playing import play, settle, settled

Story = Callable[[], Awaitable[object]]


class Bench:
    """The page in front of scripted models."""

    def __init__(self) -> None:
        self.face = FakeGateway()
        self.models: FakeModels = self.face.models
        self.failures: list[str] = []
        self.tasks = FaceTasks(self.failures.append)
        self.page = ModelsPage(self.face, self.tasks)
        self.page.resize(900, 560)

    def open(self, present: Snapshot | None = None) -> None:
        self.face.present = present or self.face.present
        self.page.show()
        self.page.appear()
        self.look()

    def look(self) -> None:
        """What the window does once a second."""
        self.page.show_snapshot(self.face.snapshot())
        settle()
        deadline = time.monotonic() + 10
        while self.page.list.making:
            assert time.monotonic() < deadline, "the rows are not being made"
            QApplication.processEvents()
        settle()

    def play(self, story: Story) -> None:
        async def whole() -> None:
            await story()
            await settled(self.tasks)

        play(whole)

    def row(self, name: str) -> ModelRow:
        row = self.page.list.row(name)
        assert row is not None, f"{name} has no row"
        return row

    def work(self, model: str, doing: Doing = Doing.PULL) -> OperationRow:
        row = self.page.shelf.row(model, doing)
        assert row is not None, f"nothing is done to {model}"
        return row

    def choose(self, name: str, text: str) -> None:
        """Choose from a model's menu."""
        self.action(name, text).trigger()

    def action(self, name: str, text: str) -> QAction:
        menu = self.page.menu_of(name)
        return next(action for action in menu.actions() if action.text() == text)

    def answer(self, text: str) -> None:
        box = self.page.dialog
        assert isinstance(box, QMessageBox)
        next(button for button in box.buttons() if button.text().replace("&", "") == text).click()

    def updating(self) -> UpdateDialog:
        """The form for an update from a web address, opened."""
        self.page.update_button.click()
        dialog = self.page.dialog
        assert isinstance(dialog, UpdateDialog)
        return dialog

    @property
    def said(self) -> str:
        return self.page.problem.sentence


@contextmanager
def a_bench() -> Iterator[Bench]:
    """Makes a bench, and clears it away."""
    bench = Bench()
    yield bench
    if bench.page.dialog is not None:
        bench.page.dialog.close()
    bench.page.hide()
    bench.page.deleteLater()
    QApplication.processEvents()
