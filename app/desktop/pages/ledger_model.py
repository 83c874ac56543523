"""The ledger as a Qt table: pages are fetched as they come into sight.

Rule 1: `data` answers from memory, at once; what it lacks it asks for, and shows a dash meanwhile.
Rule 2: an answer to a question that is no longer asked (another search, an older list) is dropped.
Rule 3: whether a record was acknowledged is a mark before its time, where somebody keeps a copy of its log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QFont, QIcon, QPalette
from PySide6.QtWidgets import QApplication

from app.billing.money import format_money
from app.desktop import format as fmt
from app.desktop.icons import icon
from app.desktop.pages.ledger_rows import LedgerRows
from app.desktop.receipt_wording import MARKS, ReceiptMark, deciding, state_of
from app.desktop.record_wording import kind, outcome, searched
from app.desktop.tasks import FaceTasks
from app.desktop.text import current_theme, sized
from app.face import GatewayFace, ReceiptsView
from app.ledger.listing import LedgerRow, Page

PAGE_ROWS: Final = 200
_FAILING: Final = "The ledger could not be read"


class Column(IntEnum):
    """The table's columns from left to right."""

    TIME = 0
    KEY = 1
    MODEL = 2
    OUTCOME = 3
    TOKENS = 4
    DURATION = 5
    ENERGY = 6
    COST = 7
    TOTAL = 8


_HEADERS: Final = {
    Column.TIME: ("Time", "When it began, in your time zone"),
    Column.KEY: ("Key", "Whose key was used"),
    Column.MODEL: ("Model", "Which model answered, or the kind of the record"),
    Column.OUTCOME: ("Outcome", "How it ended"),
    Column.TOKENS: ("Tokens", "Tokens of the prompt, and of the answer"),
    Column.DURATION: ("Duration", "How long it took"),
    Column.ENERGY: ("Energy", "Energy billed to it"),
    Column.COST: ("Cost", "What it cost"),
    Column.TOTAL: ("Total", "All of this client's costs so far"),
}
_NUMBERS: Final = frozenset({Column.TOKENS, Column.DURATION, Column.ENERGY, Column.COST, Column.TOTAL})

_OF_ROWS: Final = frozenset(
    {
        Qt.ItemDataRole.DisplayRole,
        Qt.ItemDataRole.ToolTipRole,
        Qt.ItemDataRole.DecorationRole,
        Qt.ItemDataRole.AccessibleTextRole,
    }
)

_Index = QModelIndex | QPersistentModelIndex


class LedgerModel(QAbstractTableModel):
    """Rows of `face.ledger.page`. `busy` says whether the first page is on its way."""

    busy = Signal(bool)
    behind = Signal(bool)

    def __init__(self, face: GatewayFace, tasks: FaceTasks, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._face = face
        self._tasks = tasks
        self._rows = LedgerRows()
        self._search = ""
        self._list = 0
        self._fetching = False
        self._refreshing = False
        self._asked: set[int] = set()
        self._currency = "USD"
        self._receipts: Mapping[str, ReceiptsView] = {}
        self._font = sized(QApplication.font(), 0)

    @property
    def in_memory(self) -> int:
        """How many rows are held at present."""
        return self._rows.in_memory

    @property
    def search(self) -> str:
        """What is searched for."""
        return self._search

    def set_currency(self, currency: str) -> None:
        """The currency of every amount."""
        self._currency = currency

    def set_receipts(self, receipts: Sequence[ReceiptsView]) -> None:
        """What clients' receivers have acknowledged by now."""
        known = deciding(receipts)
        if known != self._receipts:
            self._receipts = known
            if self.rowCount():
                last = self.index(self.rowCount() - 1, Column.TIME)
                self.dataChanged.emit(self.index(0, Column.TIME), last)

    @property
    def marked(self) -> bool:
        """Whether records have marks: somebody keeps a copy."""
        return bool(self._receipts)

    def restart(self, search: str) -> None:
        """Read the list anew, for `search`."""
        self._search = search
        self._list += 1
        self._fetching = True
        self._asked.clear()
        self.busy.emit(True)
        self._tasks.start(self._begin(self._list), _FAILING)

    def refresh(self, follow: Callable[[], bool]) -> None:
        """Look for newer records; they are put on top if `follow` still says so, else `behind` says they exist."""
        if self._refreshing or self._fetching:
            return
        self._refreshing = True
        self._tasks.start(self._look_for_newer(self._list, follow), _FAILING)

    def row_at(self, index: _Index) -> LedgerRow | None:
        """The record of a row, or None while it is not in memory."""
        return self._rows.row(index.row()) if index.isValid() else None

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        return 0 if parent.isValid() else len(Column)

    def canFetchMore(self, parent: _Index) -> bool:
        return not parent.isValid() and self._rows.next is not None and not self._fetching

    def fetchMore(self, parent: _Index) -> None:
        if self.canFetchMore(parent):
            self._fetching = True
            self._tasks.start(self._append(self._list), _FAILING)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation is not Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return _HEADERS[Column(section)][0]
        if role == Qt.ItemDataRole.ToolTipRole:
            return _HEADERS[Column(section)][1]
        return _alignment(section) if role == Qt.ItemDataRole.TextAlignmentRole else None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(index.column())
        if role == Qt.ItemDataRole.FontRole:
            return self._font
        if role not in _OF_ROWS:
            return None
        row = self._rows.row(index.row())
        if role == Qt.ItemDataRole.DecorationRole:
            mark = self._mark(row, index)
            return None if mark is None else _icon_of(mark)
        if row is None:
            self._ask_for(index.row())
            return fmt.NOTHING
        text, mark = cell(row, Column(index.column()), self._currency), self._mark(row, index)
        if mark is None or role == Qt.ItemDataRole.DisplayRole:
            return text
        return f"{text}, {mark.words}" if role == Qt.ItemDataRole.AccessibleTextRole else mark.words

    def _mark(self, row: LedgerRow | None, index: _Index) -> ReceiptMark | None:
        if row is None or index.column() != Column.TIME or row.log not in self._receipts:
            return None
        return MARKS[state_of(self._receipts[row.log], row.seq)]

    def set_font(self, font: QFont) -> None:
        """Follow a change of the system's font."""
        self._font = sized(font, 0)

    async def _page(self, before: int | None) -> Page:
        return await self._face.ledger.page(before, PAGE_ROWS, search=searched(self._search))

    async def _begin(self, this_list: int) -> None:
        try:
            page = await self._page(None)
            if this_list == self._list:
                self._start_with(page)
                self.behind.emit(False)
        finally:
            if this_list == self._list:
                self._fetching = False
                self.busy.emit(False)

    def _start_with(self, page: Page) -> None:
        self.beginResetModel()
        self._rows.begin(page)
        self.endResetModel()

    async def _append(self, this_list: int) -> None:
        try:
            page = await self._page(self._rows.next)
            if this_list == self._list:
                self._add_below(page)
        finally:
            # Only now: whoever listens to the insertion may ask for more before it is complete.
            if this_list == self._list:
                self._fetching = False

    def _add_below(self, page: Page) -> None:
        if not page.rows:
            self._rows.next = page.next
            return
        first = len(self._rows)
        self.beginInsertRows(QModelIndex(), first, first + len(page.rows) - 1)
        self._rows.append(page)
        self.endInsertRows()

    async def _look_for_newer(self, this_list: int, follow: Callable[[], bool]) -> None:
        try:
            page = await self._page(None)
        finally:
            self._refreshing = False
        if this_list != self._list:
            return
        newest = self._rows.newest
        if not page.rows or (newest is not None and page.rows[0].n <= newest.n):
            return
        fresh = self._rows.newer(page)
        if not follow():
            self.behind.emit(True)
        elif fresh is None:
            # Another list from here on: what was asked for the old one must not end up in this one.
            self._list += 1
            self._fetching = False
            self._asked.clear()
            self._start_with(page)
        else:
            self.beginInsertRows(QModelIndex(), 0, len(fresh) - 1)
            self._rows.prepend(fresh)
            self.endInsertRows()

    def _ask_for(self, place: int) -> None:
        lacking = self._rows.lacking(place)
        if lacking is None or lacking[0] in self._asked:
            return
        number, cursor = lacking
        self._asked.add(number)
        self._tasks.start(self._refill(self._list, number, cursor), _FAILING)

    async def _refill(self, this_list: int, number: int, cursor: int) -> None:
        try:
            page = await self._page(cursor)
        finally:
            if this_list == self._list:
                self._asked.discard(number)
        if this_list == self._list:
            first, last = self._rows.refill(number, page)
            self.dataChanged.emit(self.index(first, 0), self.index(last, len(Column) - 1))


def _icon_of(mark: ReceiptMark) -> QIcon:
    chosen = QApplication.palette().color(QPalette.ColorRole.HighlightedText)
    return icon(mark.icon, current_theme().tone(mark.tone), chosen)


def cell(row: LedgerRow, column: Column, currency: str) -> str:
    """What a table shows of a record."""
    match column:
        case Column.TIME:
            return fmt.stamp(row.t0_us)
        case Column.KEY:
            return row.key or fmt.NOTHING
        case Column.MODEL:
            return row.model or kind(row)
        case Column.OUTCOME:
            return outcome(row) or fmt.NOTHING
        case Column.TOKENS:
            if row.tok_in is None and row.tok_out is None:
                return fmt.NOTHING
            return f"{fmt.count(row.tok_in)} + {fmt.count(row.tok_out)}"
        case Column.DURATION:
            return fmt.duration(row.dur_us)
        case Column.ENERGY:
            return fmt.energy(row.e_uj)
        case Column.COST:
            return format_money(row.cost_pico, currency)
        case Column.TOTAL:
            return format_money(row.cum_pico, currency)


def _alignment(column: int) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column in _NUMBERS else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
