"""The public address: the line while there is one, and the dialog that explains it before it is opened.

Rule 1: it is never opened but by the dialog's own button, which Enter does not choose. Rule 2: the dialog says who
else sees the traffic, and what there is besides. Rule 3: closing takes one press and no question. Rule 4: a token goes
from its field to the vault; it is never read back.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QDialogButtonBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from app.desktop import engine_wording as wording
from app.desktop.cards.headline import Strip
from app.desktop.clipboard import copy_text
from app.desktop.dialogs import Dialog
from app.desktop.tasks import FaceTasks
from app.desktop.text import IconButton, Mark, Text
from app.desktop.theme import INNER_GAP, SPACE, Tone
from app.face import GatewayFace, Snapshot
from app.tunnel.state import TunnelPhase
from app.tunnel.words import TunnelError
from app.vault.base import VaultUnavailable

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
        "An address that stays, if you have a domain at Cloudflare. Make a tunnel there (Zero Trust, Networks, "
        "Tunnels) with the service {service}. Then paste the command that Cloudflare shows.",
    ),
)
PASTE_HINT: Final = "Paste it here, or leave it empty if it is kept already"
BESIDES: Final = (
    "Without Cloudflare: Tailscale gives an address to your own machines alone (tailscale serve --bg {port}) or to "
    "everybody (tailscale funnel --bg {port}). Or put a web server with a certificate, such as Caddy, in front of this "
    "gateway and forward port 443 of your router to it. Never forward port {port} itself: keys would travel readable."
)


def service(address: str) -> str:
    """What a tunnel at Cloudflare must lead to. `address`: the gateway's own."""
    parts = urlsplit(address)
    secure = parts.scheme == "https"
    here, port = f"{parts.scheme}://", parts.port or (443 if secure else 80)
    beside = f"{here}localhost:{port} (with Docker Desktop {here}host.docker.internal:{port})"
    return f"{beside}, with «No TLS Verify» on" if secure else beside


class PublicStrip(QWidget):
    """State, copy and close. `wanted` asks for the dialog, where opening did not work."""

    wanted = Signal()

    def __init__(self, face: GatewayFace, tasks: FaceTasks, parent: QWidget | None = None) -> None:
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
        failed = public.phase is TunnelPhase.FAILED
        tone = wording.public_tone(public)
        self._mark.show_mark("warning" if tone is Tone.WARN else "globe", tone)
        trouble = wording.public_trouble(public)
        self._trouble.say(trouble)
        self._trouble.setVisible(bool(trouble))
        self._line.say(line)
        self.copy.setVisible(public.phase is TunnelPhase.OPEN and bool(public.url))
        self.again.setVisible(failed)

    def _close(self) -> None:
        self.close_button.setEnabled(False)
        self._tasks.start(self._shut(), "The public address could not be closed")

    async def _shut(self) -> None:
        try:
            await self._face.public.set_mode("off")
        finally:
            self.close_button.setEnabled(True)
            self.show_snapshot(self._face.snapshot())


class PublicDialog(Dialog):
    """Says what a public address means, and opens one. `chosen` carries the mode; a token is kept before."""

    chosen = Signal(str)

    def __init__(self, face: GatewayFace, tasks: FaceTasks, parent: QWidget) -> None:
        super().__init__("Public address", parent)
        self._face = face
        self._tasks = tasks
        address = face.snapshot().address
        self.ways: dict[str, QRadioButton] = {}
        self.body.addWidget(Text(WHAT_IT_IS, wrap=True))
        self.body.addWidget(_warning(WHO_SEES))
        choices = QVBoxLayout()
        choices.setSpacing(SPACE)
        group = QButtonGroup(self)
        for mode, label, meaning in MODES:
            button = QRadioButton(label)
            group.addButton(button)
            self.ways[mode] = button
            text = Text(meaning.format(service=service(address)), wrap=True, tone=Tone.MUTED, selectable=True)
            text.setContentsMargins(6 * SPACE, 0, 0, SPACE)
            choices.addWidget(button)
            choices.addWidget(text)
        self.token = QLineEdit()
        self.token.setEchoMode(QLineEdit.EchoMode.Password)
        self.token.setPlaceholderText(PASTE_HINT)
        self.token.setAccessibleName("Command or token from Cloudflare")
        self.token.textEdited.connect(lambda _: self.ways["named"].setChecked(True))
        pasting = QHBoxLayout()
        pasting.setContentsMargins(6 * SPACE, 0, 0, 0)
        pasting.addWidget(self.token)
        choices.addLayout(pasting)
        self.problem = Strip("warning", Tone.BAD)
        choices.addWidget(self.problem)
        self.ways["quick"].setChecked(True)
        self.body.addLayout(choices)
        port = urlsplit(address).port or 80
        self.body.addWidget(Text(BESIDES.format(port=port), wrap=True, tone=Tone.MUTED, selectable=True))
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
        mode = next(mode for mode, button in self.ways.items() if button.isChecked())
        self.problem.say("")
        if mode == "named" and self.token.text().strip():
            self.open_button.setEnabled(False)
            self._tasks.start(self._keep(self.token.text()), "The token could not be kept")
        else:
            self._open(mode)

    async def _keep(self, token: str) -> None:
        try:
            await self._face.public.keep_token(token)
        except (TunnelError, VaultUnavailable) as error:
            self.problem.say(str(error))
            self.grow()
            self.token.setFocus()
        else:
            self.token.clear()
            self._open("named")
        finally:
            self.open_button.setEnabled(True)

    def _open(self, mode: str) -> None:
        self.chosen.emit(mode)
        self.accept()


def _warning(sentence: str) -> QWidget:
    whole = QWidget()
    row = QHBoxLayout(whole)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(INNER_GAP)
    row.addWidget(Mark("warning", 16, Tone.WARN), 0, Qt.AlignmentFlag.AlignTop)
    row.addWidget(Text(sentence, wrap=True), 1)
    return whole
