"""The top of the overview: the state, its verb, the address; then why, and what ends it; then what is amiss.

Rule: one glance. What is not the case takes no room, except that a request coming or going moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QMenu, QPushButton, QToolButton, QVBoxLayout, QWidget

from app.desktop import wording
from app.desktop.clipboard import copy_text
from app.desktop.icons import state_name
from app.desktop.text import ElidedText, IconButton, Mark, Text
from app.desktop.theme import CARD_GAP, INNER_GAP, SPACE, Tone
from app.desktop.verbs import Verbs
from app.face import GatewayFace, Serving, Snapshot
from app.tunnel.state import TunnelPhase


class Headline(QWidget):
    """State, verbs, address and reason. `edit_cap` is called by the button that a reached cap offers, `ask_public`
    by the one beside the address that leads to a public one."""

    def __init__(
        self,
        face: GatewayFace,
        edit_cap: Callable[[], None],
        ask_public: Callable[[], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._mark = Mark(state_name(Serving.STARTING), 20)
        self._state = Text(steps=1, semibold=True)
        self._state.setAccessibleName("State")
        self._reason = Text(wrap=True)
        self._address = ElidedText(tone=Tone.MUTED)
        self._address.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.copy = IconButton("copy", "Copy address")
        self.copy.clicked.connect(lambda: copy_text(self._address.text()))
        self.public = IconButton("globe", "Public address…")
        self.public.clicked.connect(lambda: ask_public())
        self.change_cap = QPushButton("Change the cap")
        self.change_cap.clicked.connect(lambda: edit_cap())

        self._verbs = Verbs(face, self)
        self.button = VerbButton(self._verbs, self)

        top = QHBoxLayout()
        top.setSpacing(INNER_GAP)
        top.addWidget(self._mark)
        top.addWidget(self._state)
        top.addSpacing(SPACE)
        top.addWidget(self.button)
        top.addWidget(self.change_cap)
        top.addWidget(self._address, 1)
        top.addWidget(self.copy)
        top.addWidget(self.public)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE)
        column.addLayout(top)
        column.addWidget(self._reason)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Fit to the present moment."""
        shown = wording.shown(snapshot)
        self._mark.show_mark(state_name(shown), wording.headline_tone(shown))
        self._state.say(wording.headline(snapshot))
        self._reason.say(wording.reason(snapshot))
        self._address.say(snapshot.address)
        self._address.setToolTip(wording.certificate(snapshot))
        self._verbs.refresh(snapshot)
        self.button.refresh(snapshot)
        blocker = snapshot.blocker
        self.change_cap.setVisible(blocker is not None and blocker.code == "cap_reached")
        self.public.setVisible(snapshot.public.phase is TunnelPhase.OFF)


class VerbButton(QToolButton):
    """The likeliest verb, with the others behind its arrow."""

    def __init__(self, verbs: Verbs, parent: QWidget) -> None:
        super().__init__(parent)
        self._verbs = verbs
        self._menu = QMenu(self)
        self._menu.setToolTipsVisible(True)
        self._menu.addActions([verbs.contribute, verbs.finish, verbs.pause])
        self._menu.addMenu(verbs.snooze_menu(self._menu))
        self.setMenu(self._menu)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def refresh(self, snapshot: Snapshot) -> None:
        """Carry the verb of the state."""
        action = self._verbs.primary(snapshot)
        if self.defaultAction() is not action:
            self.setDefaultAction(action)
        self.setAccessibleName(action.text())

    def sizeHint(self) -> QSize:
        # The style leaves a tool button less room than its neighbours, the push buttons, have.
        hint = super().sizeHint()
        return QSize(hint.width() + 2 * SPACE, max(hint.height(), 7 * SPACE))


class Strip(QWidget):
    """One line with a mark: a simulation, a fault that does not stop serving, something that did not work."""

    def __init__(
        self,
        mark: str,
        tone: Tone,
        *,
        closable: bool = False,
        button: QPushButton | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._text = Text(wrap=True)
        row = QGridLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setHorizontalSpacing(CARD_GAP - SPACE)
        # Beside a button the text stands lower than the top of the row.
        place = Qt.AlignmentFlag.AlignVCenter if closable or button is not None else Qt.AlignmentFlag.AlignTop
        row.addWidget(Mark(mark, 16, tone), 0, 0, place)
        row.addWidget(self._text, 0, 1)
        row.setColumnStretch(1, 1)
        if closable:
            close = IconButton("close", "Dismiss")
            close.clicked.connect(lambda: self.say(""))
            row.addWidget(close, 0, 2, Qt.AlignmentFlag.AlignTop)
        if button is not None:
            row.addWidget(button, 0, 2, Qt.AlignmentFlag.AlignVCenter)
        self.hide()

    def say(self, sentence: str) -> None:
        """Show a sentence; nothing takes no room."""
        self._text.say(sentence)
        self.setVisible(bool(sentence))

    @property
    def sentence(self) -> str:
        """What it says now."""
        return self._text.text()
