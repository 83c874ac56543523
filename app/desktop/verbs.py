"""The contributor's verbs as actions: contribute, finish then pause, pause now, snooze.

Rule 1: tray and window each build their own set from here, so both offer the same verbs under the same conditions.
Rule 2: a verb that makes no sense in the present state is not offered; nothing else changes place.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QWidget

from app.desktop import format as fmt
from app.face import GatewayFace, Serving, Snapshot

_SNOOZE_HOURS: Final = (1, 3, 6, 12)

_RESTING: Final = frozenset({Serving.PAUSED})
_SERVING: Final = frozenset({Serving.CONTRIBUTING, Serving.BLOCKED})
_PASSING: Final = frozenset({Serving.STARTING, Serving.STOPPING})


class Verbs(QObject):
    """The actions of one face. `refresh` fits them to a snapshot."""

    def __init__(self, face: GatewayFace, parent: QObject) -> None:
        super().__init__(parent)
        self._face = face
        self.contribute = QAction("Contribute", self)
        self.finish = QAction("Finish, then pause", self)
        self.pause = QAction("Pause now", self)
        self.contribute.setToolTip("Serve requests")
        self.finish.setToolTip("Refuse new requests, let the running ones end, then free the GPU")
        self.pause.setToolTip("End running requests at once, settle them, and free the GPU")
        self.contribute.triggered.connect(lambda: face.duty.contribute())
        self.finish.triggered.connect(lambda: face.duty.finish_then_pause())
        self.pause.triggered.connect(lambda: face.duty.pause_now())

    def snooze_menu(self, parent: QWidget) -> QMenu:
        """«Snooze ▸ 1 h, 3 h, 6 h, 12 h, until tomorrow»; the morning is worked out when it opens."""
        menu = QMenu("Snooze", parent)
        menu.setToolTipsVisible(True)
        for hours in _SNOOZE_HOURS:
            action = menu.addAction(f"{hours} h")
            action.setToolTip(f"Pause now, and contribute again after {fmt.counted(hours, 'hour', 'hours')}")
            action.triggered.connect(lambda _=False, hours=hours: self._face.duty.snooze(hours * 3600.0))
        tomorrow = menu.addAction("Until tomorrow")
        tomorrow.triggered.connect(lambda: self._face.duty.snooze(_until_tomorrow()[1]))
        menu.aboutToShow.connect(lambda: tomorrow.setText(f"Until tomorrow, {_until_tomorrow()[0]}"))
        return menu

    def primary(self, snapshot: Snapshot) -> QAction:
        """The verb for the big button. It follows the state alone, so that it never changes under the pointer
        because a request came or went."""
        resting = snapshot.serving in _RESTING or snapshot.serving is Serving.FINISHING
        return self.contribute if resting else self.finish

    def refresh(self, snapshot: Snapshot) -> None:
        """Offer what makes sense."""
        serving = snapshot.serving
        passing = serving in _PASSING
        self.contribute.setVisible(serving in _RESTING or serving is Serving.FINISHING)
        self.contribute.setText("Keep contributing" if serving is Serving.FINISHING else "Contribute")
        self.finish.setVisible(serving in _SERVING or passing)
        self.pause.setVisible(serving not in _RESTING)
        for action in (self.contribute, self.finish, self.pause):
            action.setEnabled(not passing)


def _until_tomorrow() -> tuple[str, float]:
    now = datetime.now().astimezone()
    # Through the bare wall clock, so that a change to or from summer time during the night is the zone's affair.
    morning = fmt.until_tomorrow(now).replace(tzinfo=None).astimezone()
    return fmt.clock(round(morning.timestamp() * 1e6)), morning.timestamp() - now.timestamp()
