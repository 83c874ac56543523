"""A ledger page in front of a gateway with records, for the tests of the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from PySide6.QtWidgets import QAbstractButton, QApplication

from app.desktop.pages.ledger import LedgerPage
from app.desktop.pages.ledger_model import Column, LedgerModel
from app.desktop.tasks import FaceTasks
from app.face import ReceiptsView
from tests.desktop.fake_gateway import FakeGateway, a_snapshot
from tests.desktop.playing import play, settled


class Bench:
    """A ledger page in front of a gateway with records."""

    def __init__(self, records: int) -> None:
        self.face = FakeGateway(records=records)
        self.failures: list[str] = []
        self.receipts: tuple[ReceiptsView, ...] = ()
        self.tasks = FaceTasks(self.failures.append)
        self.page = LedgerPage(self.face, self.tasks)
        self.page.resize(900, 500)
        self.model: LedgerModel = self.page.model

    def play(self, story: Callable[[], Awaitable[object]] | None = None) -> None:
        async def whole() -> None:
            if not self.page.isVisible():
                self.page.show()
                self.page.appear()
                self.look()
                await settled(self.tasks)
            if story is not None:
                await story()
                await settled(self.tasks)

        play(whole)

    def look(self) -> None:
        """What the window does once a second."""
        snapshot = a_snapshot()
        usage = replace(snapshot.usage, requests=self.face.records)
        self.page.show_snapshot(replace(snapshot, usage=usage, receipts=self.receipts))

    async def come(self, records: int) -> None:
        """New records are committed, and a second passes."""
        self.face.records += records
        self.look()
        await settled(self.tasks)

    def cell(self, row: int, column: Column) -> str:
        text: str = self.model.data(self.model.index(row, column))
        return text

    def press(self, name: str) -> None:
        next(b for b in self.page.findChildren(QAbstractButton) if b.accessibleName() == name).click()

    def number(self, row: int) -> int:
        """Which record stands in a row."""
        record = self.model.row_at(self.model.index(row, 0))
        assert record is not None
        return record.n


@contextmanager
def benches() -> Iterator[Callable[[int], Bench]]:
    """Makes benches with so many records, and clears them away."""
    made: list[Bench] = []

    def make(records: int) -> Bench:
        made.append(Bench(records))
        return made[-1]

    yield make
    for one in made:
        one.page.hide()
        one.page.deleteLater()
    QApplication.processEvents()
