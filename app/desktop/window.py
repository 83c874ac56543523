"""The window: pages behind tabs, and what showing, hiding and closing it mean.

Rule 1: the window pulls. While it shows it asks for a snapshot once a second, and at once when the gateway says
that something changed; hidden or minimised it asks nothing and runs no timer.
Rule 2: closing hides it where a tray holds the way back; without a tray it asks what closing means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from PySide6.QtCore import QEvent, QSize, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QGuiApplication, QHideEvent, QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QMainWindow, QMessageBox, QTabWidget, QVBoxLayout, QWidget

from app.desktop.cards.headline import Strip
from app.desktop.icons import app_icon
from app.desktop.pages.page import PageWidget
from app.desktop.tasks import FaceTasks
from app.desktop.theme import PAGE_MARGIN, SPACE, Tone
from app.desktop.tray import Tray
from app.desktop.wording import APP_NAME
from app.face import GatewayFace, Snapshot

MINIMUM: Final = QSize(720, 520)
DEFAULT: Final = QSize(960, 680)
_TICK_MS: Final = 1000


MakePage = Callable[[GatewayFace, FaceTasks], PageWidget]


def _overview(face: GatewayFace, tasks: FaceTasks) -> PageWidget:
    from app.desktop.pages.overview import OverviewPage

    return OverviewPage(face, tasks)


def _ledger(face: GatewayFace, tasks: FaceTasks) -> PageWidget:
    from app.desktop.pages.ledger import LedgerPage

    return LedgerPage(face, tasks)


def _models(face: GatewayFace, tasks: FaceTasks) -> PageWidget:
    from app.desktop.pages.models import ModelsPage

    return ModelsPage(face, tasks)


_PAGES: Final[tuple[tuple[str, MakePage], ...]] = (
    ("Overview", _overview),
    ("Ledger", _ledger),
    ("Models", _models),
)


class MainWindow(QMainWindow):
    """The contributor's window. `quit_app` ends the program; `has_tray` says whether closing may just hide."""

    def __init__(
        self,
        face: GatewayFace,
        quit_app: Callable[[], None],
        has_tray: Callable[[], bool] = Tray.is_available,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._face = face
        self._quit_app = quit_app
        self._has_tray = has_tray
        self._looking = False
        self._question: QMessageBox | None = None
        self.tasks = FaceTasks(self._tell)
        self.setWindowTitle(APP_NAME)
        self.setWindowIcon(app_icon())
        self.setMinimumSize(MINIMUM)
        self.resize(DEFAULT)

        self._told = Strip("warning", Tone.BAD, closable=True)
        self._told.setContentsMargins(PAGE_MARGIN, 2 * SPACE, PAGE_MARGIN, 2 * SPACE)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self._shown: PageWidget | None = None
        for title, make in _PAGES:
            self.add_page(title, make)
        self.tabs.currentChanged.connect(lambda _: self._look())

        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._told)
        column.addWidget(self.tabs, 1)
        self.setCentralWidget(content)

        self._tick = QTimer(self)
        self._tick.setInterval(_TICK_MS)
        self._tick.timeout.connect(self.refresh)
        self._unsubscribe = face.on_changed(self._on_changed)
        QShortcut(QKeySequence.StandardKey.Close, self, self.dismiss)
        # Not the standard key: Windows and plain X11 have none for quitting.
        QShortcut(QKeySequence("Ctrl+Q"), self, quit_app)

    def add_page(self, title: str, make: MakePage) -> None:
        """Put a page behind a tab of its own, to be made when it is first looked at; Ctrl and its number choose it."""
        index = self.tabs.addTab(_Holder(lambda: make(self._face, self.tasks)), title)
        QShortcut(QKeySequence(f"Ctrl+{index + 1}"), self, lambda: self.tabs.setCurrentIndex(index))

    def go_to(self, title: str) -> PageWidget:
        """Bring the page with that title to the front, and return it."""
        index = next(index for index in range(self.tabs.count()) if self.tabs.tabText(index) == title)
        self.tabs.setCurrentIndex(index)
        return _page_in(self.tabs.widget(index))

    @property
    def looking(self) -> bool:
        """Whether somebody can see it, and it pulls."""
        return self._looking

    @property
    def told(self) -> str:
        """The sentence about something that did not work, or nothing."""
        return self._told.sentence

    @property
    def question(self) -> QMessageBox | None:
        """What closing means, while that is being asked."""
        return self._question

    def open(self) -> None:
        """Show it, in front, whatever it was doing."""
        if self.isMinimized():
            self.showNormal()
        self.show()
        self.raise_()
        self.activateWindow()

    def ask_public(self) -> None:
        """Show it with the question about a public address."""
        from app.desktop.pages.overview import OverviewPage

        self.open()
        page = self.go_to(_PAGES[0][0])
        assert isinstance(page, OverviewPage)
        page.ask_public()

    def dismiss(self) -> None:
        """What the close shortcut does: hide where a tray holds the way back, else ask."""
        if self._has_tray():
            self.hide()
        else:
            self._ask_what_closing_means()

    def end(self) -> None:
        """Part with the gateway; the window is not used afterwards."""
        self.hide()
        self._unsubscribe()
        self._unsubscribe = _nothing
        self.tasks.cancel()

    def refresh(self) -> None:
        """Show the present moment on the page in sight."""
        self._show(self._face.snapshot())

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._look()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._look()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.WindowStateChange:
            self._look()

    def closeEvent(self, event: QCloseEvent) -> None:
        # Only a person's click on the frame is asked about. `QApplication.quit()` and the end of the session close
        # windows too, and a window that refused would keep the program, or the session, from ending.
        if event.spontaneous() and not _session_ends() and not self._has_tray():
            event.ignore()
            self._ask_what_closing_means()
        else:
            super().closeEvent(event)

    def _look(self) -> None:
        looking = self.isVisible() and not self.isMinimized()
        page = _page_in(self.tabs.currentWidget()) if looking else None
        if looking != self._looking:
            self._looking = looking
            self._face.watching(self, active=looking)
            if looking:
                self._tick.start()
            else:
                self._tick.stop()
        if page is self._shown:
            return
        if self._shown is not None:
            self._shown.vanish()
        self._shown = page
        if self._shown is not None:
            self._shown.appear()
            self.refresh()

    def _on_changed(self) -> None:
        if self._looking:
            self.refresh()

    def _show(self, snapshot: Snapshot) -> None:
        if self._shown is not None:
            self._shown.show_snapshot(snapshot)

    def _tell(self, sentence: str) -> None:
        self._told.say(sentence)

    def _ask_what_closing_means(self) -> None:
        if self._question is not None:
            return
        box = QMessageBox(self)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle(APP_NAME)
        box.setText("Quit, or keep it running?")
        box.setInformativeText(
            "This desktop has no tray, so there is no icon to come back by. "
            "Minimised, the gateway goes on as it is; quitting settles running requests first."
        )
        leave = box.addButton("Quit", QMessageBox.ButtonRole.DestructiveRole)
        shrink = box.addButton("Minimise", QMessageBox.ButtonRole.AcceptRole)
        stay = box.addButton(QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(shrink)
        box.setEscapeButton(stay)

        def answered() -> None:
            self._question = None
            if box.clickedButton() is leave:
                self._quit_app()
            elif box.clickedButton() is shrink:
                self.showMinimized()

        box.finished.connect(answered)
        self._question = box
        box.open()


class _Holder(QWidget):
    """A tab's place, empty until somebody looks: the window opens as fast with seven pages as with one."""

    def __init__(self, make: Callable[[], PageWidget]) -> None:
        super().__init__()
        self._make = make
        self._page: PageWidget | None = None
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)

    @property
    def page(self) -> PageWidget:
        if self._page is None:
            self._page = self._make()
            self._column.addWidget(self._page)
            self.setFocusProxy(self._page)
        return self._page


def _page_in(holder: QWidget | None) -> PageWidget:
    assert isinstance(holder, _Holder)
    return holder.page


def _nothing() -> None:
    """What is left to unsubscribe from, the second time."""


def _session_ends() -> bool:
    app = QGuiApplication.instance()
    return isinstance(app, QGuiApplication) and app.isSavingSession()
