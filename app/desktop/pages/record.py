"""One record in full: who has acknowledged it, the exact bytes that were hashed, and their leaf hash.

Rule: the bytes shown are those stored; nothing is formatted, sorted or left out.
"""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFontMetrics, QTextOption
from PySide6.QtWidgets import QApplication, QGridLayout, QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from app.desktop import format as fmt
from app.desktop.clipboard import copy_text
from app.desktop.record_wording import kind
from app.desktop.text import ElidedText, IconButton, Text, monospace
from app.desktop.theme import CARD_GAP, INNER_GAP, SPACE, Tone
from app.ledger.listing import LedgerRow
from app.ledger.merkle import leaf_hash


class RecordPanel(QWidget):
    """Bytes and hash of the chosen record. `closed` is emitted by its close button."""

    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._body = b""
        self._title = ElidedText(semibold=True)
        close = IconButton("close", "Close")
        close.clicked.connect(self.closed)
        head = QHBoxLayout()
        head.setSpacing(INNER_GAP)
        head.addWidget(self._title, 1)
        head.addWidget(close)

        self._hash = ElidedText()
        self._hash.setAccessibleName("Leaf hash")
        self._bytes = QPlainTextEdit()
        self._bytes.setReadOnly(True)
        self._bytes.setAccessibleName("Canonical bytes")
        self._bytes.setWordWrapMode(QTextOption.WrapMode.WrapAnywhere)
        self._bytes.setTabChangesFocus(True)
        mono = monospace(QApplication.font())
        self._hash.setFont(mono)
        self._bytes.setFont(mono)
        self._bytes.setMinimumHeight(4 * QFontMetrics(mono).lineSpacing() + 2 * INNER_GAP)
        copy_hash = IconButton("copy", "Copy hash")
        copy_hash.clicked.connect(lambda: copy_text(self._hash.text()))
        copy_bytes = IconButton("copy", "Copy bytes")
        copy_bytes.clicked.connect(lambda: copy_text(self._body.decode()))

        self._receipt = Text(wrap=True, selectable=True)
        self._receipt.setAccessibleName("Receipt")
        self._size = Text("Bytes", tone=Tone.MUTED)
        grid = QGridLayout()
        grid.setHorizontalSpacing(CARD_GAP)
        grid.setVerticalSpacing(SPACE)
        top = Qt.AlignmentFlag.AlignTop
        grid.addWidget(Text("Receipt", tone=Tone.MUTED), 0, 0, top)
        grid.addWidget(self._receipt, 0, 1)
        grid.addWidget(Text("Leaf hash", tone=Tone.MUTED), 1, 0)
        grid.addWidget(self._hash, 1, 1)
        grid.addWidget(copy_hash, 1, 2)
        grid.addWidget(self._size, 2, 0, top)
        grid.addWidget(self._bytes, 2, 1)
        grid.addWidget(copy_bytes, 2, 2, top)
        grid.setColumnStretch(1, 1)
        grid.setRowStretch(2, 1)

        column = QVBoxLayout(self)
        column.setContentsMargins(0, CARD_GAP, 0, 0)
        column.setSpacing(INNER_GAP)
        column.addLayout(head)
        column.addLayout(grid, 1)

    def show_title(self, row: LedgerRow) -> None:
        """Say which record it is; its bytes are on their way."""
        self._title.say(f"Record {fmt.count(row.seq)} of log {row.log}: {kind(row)}, {fmt.stamp(row.t0_us)}")
        self._hash.say("")
        self._bytes.setPlainText("")

    def show_receipt(self, line: str) -> None:
        """Say what receivers have said of it."""
        self._receipt.say(line)

    def show_body(self, body: bytes) -> None:
        """The canonical bytes, exactly as hashed."""
        self._body = body
        self._bytes.setPlainText(body.decode())
        self._size.say(f"{fmt.count(len(body))} bytes")
        self._hash.say(leaf_hash(body).hex())

    @property
    def shown_hash(self) -> str:
        """The leaf hash in hexadecimal, as shown."""
        return self._hash.text()

    @property
    def shown_receipt(self) -> str:
        """What is said of its receipts."""
        return self._receipt.text()

    @property
    def shown_body(self) -> str:
        """The record as shown."""
        return self._bytes.toPlainText()
