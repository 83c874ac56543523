"""The tray icon: state by shape, watts and money in the tooltip, the verbs in the menu.

Rule 1: it never asks in the background. It looks when the gateway says that something changed, when its menu or
its tooltip opens, and once a second only while requests run.
Rule 2: it opens and ends nothing itself; what «Open» and «Quit» mean it is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QSystemTrayIcon

from app.desktop.clipboard import copy_secret, copy_text
from app.desktop.engine_wording import public_line
from app.desktop.icons import tray_icon
from app.desktop.receipt_wording import tray_line
from app.desktop.tasks import FaceTasks
from app.desktop.verbs import Verbs
from app.desktop.wording import APP_NAME, cap_warning, menu_line, shown, tooltip
from app.face import GatewayFace, MoneyView, Serving, Snapshot
from app.tunnel.state import TunnelPhase, TunnelState

_TICK_MS: Final = 1000


class Tray(QObject):
    """The tray's icon and menu. `open_window` and `quit_app` are called for «Open» and «Quit», `ask_public` for
    «Public address…», which is not offered where nobody can be asked."""

    def __init__(
        self,
        face: GatewayFace,
        open_window: Callable[[], None],
        quit_app: Callable[[], None],
        ask_public: Callable[[], None] | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._face = face
        self._open_window = open_window
        self._serving: Serving | None = None
        self._cap_warned_pct: int | None = None
        self._address = ""
        self._public_url = ""
        self.tasks = FaceTasks(self._warn)
        self._icon = _Icon(self, self.refresh)
        self._icon.activated.connect(self._on_activated)

        self._menu = QMenu(APP_NAME)
        self._menu.aboutToShow.connect(self.refresh)
        self._verbs = Verbs(face, self)
        self._status = self._menu.addAction("")
        self._status.setEnabled(False)
        self._public = self._menu.addAction("")
        self._public.setEnabled(False)
        self._receipts = self._menu.addAction("")
        self._receipts.setEnabled(False)
        self._menu.addSeparator()
        self._menu.addActions([self._verbs.contribute, self._verbs.finish, self._verbs.pause])
        self._snooze = self._menu.addMenu(self._verbs.snooze_menu(self._menu))
        self._menu.addSeparator()
        self._add("Copy address", self._copy_address)
        self._copy_public = self._add("Copy public address", lambda: copy_text(self._public_url))
        self._add("Copy key", lambda: self.tasks.start(self._copy_key(), "The key could not be copied"))
        self._menu.addSeparator()
        self._asks_public = ask_public is not None
        self._ask_public = self._add("Public address…", ask_public or open_window)
        self._add("Open", open_window)
        self._add("Quit", quit_app)
        self._icon.setContextMenu(self._menu)

        self._tick = QTimer(self)
        self._tick.setInterval(_TICK_MS)
        self._tick.timeout.connect(self.refresh)
        self._unsubscribe = face.on_changed(self.refresh)
        self.refresh()

    @staticmethod
    def is_available() -> bool:
        """Whether the desktop has a tray at this moment; it may come later, and may go."""
        return QSystemTrayIcon.isSystemTrayAvailable()

    @property
    def menu(self) -> QMenu:
        """The menu as shown."""
        return self._menu

    @property
    def icon(self) -> QSystemTrayIcon:
        """The icon itself, for messages."""
        return self._icon

    def show(self) -> None:
        """Appear; where there is no tray yet, appear as soon as there is one."""
        self._icon.show()

    def close(self) -> None:
        """Leave the tray for good."""
        self._unsubscribe()
        self._tick.stop()
        self.tasks.cancel()
        self._icon.hide()
        self._icon.deleteLater()
        self._menu.deleteLater()

    def refresh(self) -> None:
        """Fit icon, tooltip and menu to the present moment."""
        snapshot = self._face.snapshot()
        self._address = snapshot.address
        serving = shown(snapshot)
        if serving is not self._serving:
            self._serving = serving
            self._icon.setIcon(tray_icon(serving))
        _set_text(self._status, menu_line(snapshot))
        tip = tooltip(snapshot)
        if tip != self._icon.toolTip():
            self._icon.setToolTip(tip)
        self._show_public(snapshot.public)
        late = tray_line(snapshot.receipts, snapshot.at_us)
        _set_text(self._receipts, late)
        self._receipts.setVisible(bool(late))
        self._warn_of_cap(snapshot.money)
        self._verbs.refresh(snapshot)
        self._snooze.setEnabled(snapshot.serving not in (Serving.STARTING, Serving.STOPPING))
        self._keep_time(snapshot)

    def _warn_of_cap(self, money: MoneyView) -> None:
        """Once for each level; what was reached before the start was said then."""
        before, self._cap_warned_pct = self._cap_warned_pct, money.cap_warning_pct
        if before is not None and money.cap_warning_pct > before:
            self._warn(cap_warning(money))

    def _show_public(self, public: TunnelState) -> None:
        line = public_line(public)
        self._public_url = public.url
        _set_text(self._public, line)
        self._public.setVisible(bool(line))
        self._copy_public.setVisible(public.phase is TunnelPhase.OPEN and bool(public.url))
        self._ask_public.setVisible(self._asks_public and public.phase is TunnelPhase.OFF)

    def _keep_time(self, snapshot: Snapshot) -> None:
        if bool(snapshot.running) != self._tick.isActive():
            if snapshot.running:
                self._tick.start()
            else:
                self._tick.stop()

    def _add(self, text: str, slot: Callable[[], object]) -> QAction:
        action = self._menu.addAction(text)
        action.triggered.connect(lambda: slot())
        return action

    def _copy_address(self) -> None:
        copy_text(self._address)

    async def _copy_key(self) -> None:
        copy_secret(await self._face.keys.plain())

    def _warn(self, sentence: str) -> None:
        self._icon.showMessage(APP_NAME, sentence, QSystemTrayIcon.MessageIcon.Warning)

    def _on_activated(self, reason: QSystemTrayIcon.ActivationReason) -> None:
        if reason in (QSystemTrayIcon.ActivationReason.Trigger, QSystemTrayIcon.ActivationReason.DoubleClick):
            self._open_window()


class _Icon(QSystemTrayIcon):
    """Where the platform says that its tooltip is about to show (X11), the figures in it are fresh."""

    def __init__(self, parent: QObject, refresh: Callable[[], None]) -> None:
        super().__init__(parent)
        self._refresh = refresh

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip:
            self._refresh()
        return super().event(event)


def _set_text(action: QAction, text: str) -> None:
    # Setting the same text again would have the desktop rebuild the menu, and on some close it.
    if action.text() != text:
        action.setText(text)
