"""The public address: the line while there is one, and the dialog that explains it before it is opened.

Rule 1: it is never opened but by the dialog's own button, which Enter does not choose. Rule 2: the dialog says who
else sees the traffic, and what there is besides. Rule 3: closing takes one press and no question.
"""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QDialogButtonBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from app.desktop import engine_wording as wording
from app.desktop.clipboard import copy_text
from app.desktop.dialogs import Dialog
from app.desktop.tasks import Tasks
from app.desktop.text import IconButton, Mark, Text
from app.desktop.theme import INNER_GAP, SPACE, Tone
from app.snapshot import GatewayFace, PublicPhase, Snapshot

WHAT_IT_IS: Final = (
    "Clients reach this gateway from anywhere. A second container runs cloudflared, which connects the gateway with "
    "Cloudflare; the engine itself stays out of reach. Whoever asks still needs a key."
)
WHO_SEES: Final = (
    "Cloudflare sees the traffic: it ends the encryption, so it could read requests, answers and keys "
    "on their way."
)
MODES: Final = (
    (
        "quick",
        "Quick address",
        "A new address with every start, with nothing to set up. Good for trying it out.",
    ),
    (
        "named",
        "Your own tunnel",
        "Your own address, set up at Cloudflare. Its address and its token have to be set first.",
    ),
)
BESIDES: Final = (
    "Without Cloudflare: Tailscale connects your own machines and those of people you invite. Or forward a port of "
    "your router, with TLS. Both are described in docs/public-address.md."
)


class PublicStrip(QWidget):
    """State, copy and close. `wanted` asks for the dialog, where opening did not work."""

    wanted = Signal()

    def __init__(self, face: GatewayFace, tasks: Tasks, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Public address")
        self._face = face
        self._tasks = tasks
        self._url = ""
        self._mark = Mark("globe", 16, Tone.ACCENT)
        self._line = Text(wrap=True, selectable=True)
        self.copy = IconButton("copy", "Copy public address")
        self.copy.clicked.connect(lambda: copy_text(self._url))
        self.again = QPushButton("Try again")
        self.again.setAccessibleName("Try again to open the public address")
        self.again.clicked.connect(lambda: self.wanted.emit())
        self.close_button = QPushButton("Close")
        self.close_button.setAccessibleName("Close the public address")
        self.close_button.setToolTip("Nobody reaches this gateway from the internet any more")
        self.close_button.clicked.connect(self._close)
        self._trouble = Text(wrap=True)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(INNER_GAP)
        grid.setVerticalSpacing(SPACE)
        grid.setColumnStretch(1, 1)
        for column, part in enumerate((self._mark, self._line, self.copy, self.again, self.close_button)):
            grid.addWidget(part, 0, column, Qt.AlignmentFlag.AlignVCenter)
        grid.addWidget(self._trouble, 1, 1, 1, 4)
        self.hide()

    @property
    def line(self) -> str:
        """What it says."""
        return self._line.text()

    @property
    def trouble(self) -> str:
        """What is amiss with an address that is open."""
        return self._trouble.text()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Fit to the present moment."""
        public = snapshot.public
        line = wording.public_line(public)
        self.setVisible(bool(line))
        if not line:
            return
        self._url = public.url
        failed = public.phase is PublicPhase.FAILED
        tone = wording.public_tone(public)
        self._mark.show_mark("warning" if tone is Tone.WARN else "globe", tone)
        trouble = wording.public_trouble(public)
        self._trouble.say(trouble)
        self._trouble.setVisible(bool(trouble))
        self._line.say(line)
        self.copy.setVisible(public.phase is PublicPhase.OPEN and bool(public.url))
        self.again.setVisible(failed)

    def _close(self) -> None:
        self.close_button.setEnabled(False)
        self._tasks.start(self._shut(), "The public address could not be closed")

    async def _shut(self) -> None:
        try:
            await self._face.public_address("off")
        finally:
            self.close_button.setEnabled(True)
            self.show_snapshot(self._face.snapshot())


class PublicDialog(Dialog):
    """Says what a public address means, and opens one. `chosen` carries the mode."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__("Public address", parent)
        self.ways: dict[str, QRadioButton] = {}
        self.body.addWidget(Text(WHAT_IT_IS, wrap=True))
        self.body.addWidget(_warning(WHO_SEES))
        choices = QVBoxLayout()
        choices.setSpacing(SPACE)
        group = QButtonGroup(self)
        for mode, label, meaning in MODES:
            button = QRadioButton(label)
            button.setToolTip(meaning)
            group.addButton(button)
            self.ways[mode] = button
            text = Text(meaning, wrap=True, tone=Tone.MUTED)
            text.setContentsMargins(6 * SPACE, 0, 0, SPACE)
            choices.addWidget(button)
            choices.addWidget(text)
        self.ways["quick"].setChecked(True)
        self.body.addLayout(choices)
        self.body.addWidget(Text(BESIDES, wrap=True, tone=Tone.MUTED, selectable=True))
        self.open_button = self.buttons.addButton(
            "Open to the internet", QDialogButtonBox.ButtonRole.ActionRole
        )
        self.open_button.setAutoDefault(False)
        self.open_button.clicked.connect(self._choose)
        cancel = self.buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        cancel.setDefault(True)
        cancel.setFocus()
        self.body.addStretch(1)
        self.take_width(130 * SPACE)

    @property
    def text(self) -> str:
        """All that it says."""
        return " ".join(label.text() for label in self.findChildren(QLabel))

    def _choose(self) -> None:
        self.chosen.emit(next(mode for mode, button in self.ways.items() if button.isChecked()))
        self.accept()


def _warning(sentence: str) -> QWidget:
    whole = QWidget()
    row = QHBoxLayout(whole)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(INNER_GAP)
    row.addWidget(Mark("warning", 16, Tone.WARN), 0, Qt.AlignmentFlag.AlignTop)
    row.addWidget(Text(sentence, wrap=True), 1)
    return whole
