"""The ledger page: search, what receivers acknowledged, the table, one record in full, and the verdict over all.

Rule 1: looking changes nothing; the only button that works verifies. Rule 2: new records move in on top while the
top is in sight, and are announced otherwise, so that no row slips away under the pointer.
"""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QEvent, QSize, Qt, QTimer
from PySide6.QtGui import QAction, QFontMetrics, QKeyEvent, QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QSplitter,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from app.desktop import format as fmt
from app.desktop.icons import icon
from app.desktop.pages.ledger_model import Column, LedgerModel
from app.desktop.pages.page import PageWidget
from app.desktop.pages.receipts import ReceiptSummary
from app.desktop.pages.record import RecordPanel
from app.desktop.receipt_wording import record_line
from app.desktop.tasks import FaceTasks
from app.desktop.text import IconButton, Text, current_theme, sized
from app.desktop.theme import CARD_GAP, INNER_GAP, PAGE_MARGIN, SPACE, Tone
from app.face import GatewayFace, ReceiptsView, Snapshot
from app.ledger.listing import LedgerRow

MARK_SIZE: Final = 16
_PAUSE_MS: Final = 250
"""A search begins when typing pauses this long."""

_SAMPLES: Final = {
    Column.TIME: fmt.stamp(1_796_306_551_000_000),
    Column.KEY: "laptop of Ada",
    Column.MODEL: "mortdecai:0.5.0",
    Column.OUTCOME: "engine failed",
    Column.TOKENS: "1,234 + 1,234",
    Column.DURATION: "12 min 34 s",
    Column.ENERGY: "0.0561 mWh",
    Column.COST: "0.0000084 ¢",
    Column.TOTAL: "0.0000084 ¢",
}
"""What the columns are made wide enough for; on a card that takes little, a first request costs next to nothing."""


class LedgerPage(PageWidget):
    """Every record, newest first."""

    def __init__(self, face: GatewayFace, tasks: FaceTasks, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._face = face
        self._tasks = tasks
        self._address = ""
        self._sums: tuple[int, int] | None = None
        self._begun = False
        self._busy = False
        self._chosen: LedgerRow | None = None
        self._at_us = 0
        self._receipts: tuple[ReceiptsView, ...] = ()

        self.model = LedgerModel(face, tasks, self)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search key, model or outcome")
        self.search.setAccessibleName("Search the ledger")
        self.search.setClearButtonEnabled(True)
        self._glass = QAction(self.search)
        self.search.addAction(self._glass, QLineEdit.ActionPosition.LeadingPosition)
        self.verify = QPushButton("Verify")
        self.verify.setToolTip("Hash every record again, and compare with what was signed")
        self.verify.clicked.connect(self._start_verifying)
        self.newest = IconButton("newest", "Newer records", text=True)
        self.newest.clicked.connect(self._show_newest)
        self.newest.hide()
        self.verdict = Text(wrap=True, selectable=True)
        self.verdict.setAccessibleName("Verdict")
        self.verdict.hide()
        self.receipts = ReceiptSummary()
        self.receipts.hide()

        self.table = _make_table(self.model)
        self._message = Text(tone=Tone.MUTED, wrap=True)
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._message.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        over = QGridLayout(self.table.viewport())
        over.setContentsMargins(PAGE_MARGIN, PAGE_MARGIN, PAGE_MARGIN, PAGE_MARGIN)
        over.addWidget(self._message, 0, 0)
        self.record = RecordPanel()
        self.record.hide()
        self.record.closed.connect(self.table.clearSelection)
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.addWidget(self.table)
        split.addWidget(self.record)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 1)

        row = QHBoxLayout()
        row.setSpacing(INNER_GAP)
        row.addWidget(self.search, 1)
        row.addWidget(self.newest)
        row.addWidget(self.verify)
        column = QVBoxLayout(self)
        column.setContentsMargins(PAGE_MARGIN, PAGE_MARGIN, PAGE_MARGIN, PAGE_MARGIN)
        column.setSpacing(CARD_GAP)
        column.addLayout(row)
        column.addWidget(self.receipts)
        column.addWidget(self.verdict)
        column.addWidget(split, 1)

        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._search)
        self.search.textChanged.connect(lambda: self._pause.start())
        self.search.returnPressed.connect(self._search)
        self.model.busy.connect(self._on_busy)
        self.model.behind.connect(self.newest.setVisible)
        self.model.modelReset.connect(self._say_what_is_missing)
        self.model.rowsInserted.connect(self._say_what_is_missing)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._choose())
        QShortcut(QKeySequence.StandardKey.Find, self, self._focus_search)
        self._restyle()

    @property
    def message(self) -> str:
        """What stands in place of rows, empty while there are some."""
        return "" if self._message.isHidden() else self._message.text()

    def appear(self) -> None:
        if not self._begun:
            self._begun = True
            self.model.restart("")
        else:
            self._sums = None

    def vanish(self) -> None:
        if self._pause.isActive():
            self._search()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        self._address = snapshot.address
        self.model.set_currency(snapshot.money.currency)
        self._show_receipts(snapshot)
        sums = (snapshot.usage.requests, snapshot.money.spent_pico)
        if self._sums != sums:
            if self._begun and not self._busy:
                self.model.refresh(self._at_top)
            self._sums = sums

    def _show_receipts(self, snapshot: Snapshot) -> None:
        self._at_us, self._receipts = snapshot.at_us, snapshot.receipts
        self.receipts.show_receipts(snapshot.receipts, snapshot.at_us)
        marked = self.model.marked
        self.model.set_receipts(snapshot.receipts)
        if self.model.marked != marked:
            self.table.fit()
        if self._chosen is not None:
            self._say_receipt(self._chosen)

    def _say_receipt(self, row: LedgerRow) -> None:
        self.record.show_receipt(record_line(self._receipts, row.log, row.seq, self._at_us))

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "_glass"):
            self._restyle()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self._chosen is not None:
            self.table.clearSelection()
            return
        super().keyPressEvent(event)

    def _restyle(self) -> None:
        self._glass.setIcon(icon("search", current_theme().muted))

    def _focus_search(self) -> None:
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()

    def _at_top(self) -> bool:
        return self.table.verticalScrollBar().value() == 0

    def _show_newest(self) -> None:
        self.table.scrollToTop()
        self.model.restart(self.model.search)

    def _search(self) -> None:
        self._pause.stop()
        wanted = self.search.text().strip()
        if wanted != self.model.search:
            self.model.restart(wanted)

    def _on_busy(self, busy: bool) -> None:
        self._busy = busy
        self._say_what_is_missing()

    def _say_what_is_missing(self) -> None:
        if self.model.rowCount():
            text = ""
        elif self._busy:
            text = "Reading the ledger …"
        elif self.model.search:
            text = f"No record matches “{self.model.search}”."
        else:
            text = f"Every request leaves a record here. Send one to {self._address} with your key."
        self._message.say(text)
        self._message.setVisible(bool(text))

    def _choose(self) -> None:
        rows = self.table.selectionModel().selectedRows()
        self._chosen = self.model.row_at(rows[0]) if rows else None
        self.record.setVisible(self._chosen is not None)
        if self._chosen is not None:
            self.record.show_title(self._chosen)
            self._say_receipt(self._chosen)
            self._tasks.start(self._read_body(self._chosen), "The record could not be read")

    async def _read_body(self, row: LedgerRow) -> None:
        (body,) = await self._face.ledger.entries(row.log, row.seq, 1)
        if self._chosen is not None and self._chosen.n == row.n:
            self.record.show_body(body)

    def _start_verifying(self) -> None:
        self.verify.setEnabled(False)
        self.verdict.say("Hashing every record again …")
        self.verdict.set_tone(Tone.MUTED)
        self.verdict.show()
        self._tasks.start(self._verify(), "The ledger could not be verified")

    async def _verify(self) -> None:
        verdict = ""
        try:
            verdict = (await self._face.ledger.verify()).sentence
        finally:
            self.verify.setEnabled(True)
            self.verdict.set_tone(Tone.PLAIN)
            self.verdict.say(verdict)
            self.verdict.setVisible(bool(verdict))


class _Table(QTableView):
    """The table with a height of its own that lets the window be small."""

    def __init__(self, model: LedgerModel) -> None:
        super().__init__()
        self._model = model
        self.setModel(model)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, 160)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.fit()

    def fit(self) -> None:
        """Give the times room for their marks, and the model's column what the others leave, and never less than a
        model's name needs."""
        mark = self.iconSize().width() + SPACE if self._model.marked else 0
        self.setColumnWidth(Column.TIME, _width(self, Column.TIME) + mark)
        others = sum(self.columnWidth(column) for column in Column if column is not Column.MODEL)
        self.setColumnWidth(Column.MODEL, max(_width(self, Column.MODEL), self.viewport().width() - others))


def _width(table: QTableView, column: Column) -> int:
    metrics = QFontMetrics(sized(QApplication.font(), 0))
    return metrics.horizontalAdvance(_SAMPLES[column]) + 3 * SPACE


def _make_table(model: LedgerModel) -> _Table:
    table = _Table(model)
    table.setIconSize(QSize(MARK_SIZE, MARK_SIZE))
    table.setAccessibleName("Ledger")
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    table.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    table.setAlternatingRowColors(True)
    table.setShowGrid(False)
    table.setWordWrap(False)
    table.setTabKeyNavigation(False)
    table.setCornerButtonEnabled(False)
    metrics = QFontMetrics(sized(QApplication.font(), 0))
    rows = table.verticalHeader()
    rows.hide()
    # One height for all: a million rows must not be measured one by one.
    rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    rows.setDefaultSectionSize(metrics.height() + INNER_GAP)
    header = table.horizontalHeader()
    header.setHighlightSections(False)
    header.setMinimumSectionSize(12 * SPACE)
    for column in Column:
        table.setColumnWidth(column, _width(table, column))
    return table
