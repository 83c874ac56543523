"""The window: it pulls while somebody looks and rests otherwise, and closing it is never a surprise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QCloseEvent, QKeySequence
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractScrollArea,
    QApplication,
    QHeaderView,
    QLineEdit,
    QMessageBox,
    QScrollArea,
    QSlider,
    QTabBar,
    QWidget,
)

from app.desktop.pages.ledger import LedgerPage
from app.desktop.pages.overview import OverviewPage
from app.desktop.window import MainWindow
from app.face import Serving
from app.models.base import Outcome
from tests.desktop.fake_gateway import MANAGED, PAUSED, PUBLIC, FakeGateway, a_request, a_snapshot, busy
from tests.desktop.fake_models import an_operation
from tests.desktop.playing import OFFSCREEN_NOTE, desktop_colours, play, running_timers, settled, until

pytestmark = pytest.mark.qt_log_ignore(OFFSCREEN_NOTE)


class Desk:
    """A window, a gateway, and a tray that may be missing."""

    def __init__(self) -> None:
        self.face = FakeGateway(records=1000)
        self.quits = 0
        self.tray = True
        self.window = MainWindow(self.face, self._quit, has_tray=lambda: self.tray)

    def _quit(self) -> None:
        self.quits += 1

    def open(self) -> None:
        """Open it, and let what that starts come to an end."""

        async def story() -> None:
            self.window.open()
            await settled(self.window.tasks)

        play(story)

    def answer(self, text: str) -> None:
        question = self.window.question
        assert isinstance(question, QMessageBox)
        next(button for button in question.buttons() if button.text().replace("&", "") == text).click()


@pytest.fixture
def desk(qapp: QApplication) -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.window.end()
    desk.window.deleteLater()
    QApplication.processEvents()


class Cross(QCloseEvent):
    """What the platform sends when a person clicks the frame's cross; only Qt itself can make such a one."""

    def spontaneous(self) -> bool:
        return True


def the_cross(window: MainWindow) -> None:
    event = Cross()
    window.closeEvent(event)
    if event.isAccepted():
        window.hide()
    QApplication.processEvents()


def test_a_window_that_was_never_shown_asks_nothing(desk: Desk) -> None:
    desk.face.tell()
    QApplication.processEvents()
    assert desk.face.asked_snapshots == 0
    assert desk.face.watchers == set()
    assert running_timers(desk.window) == []


def test_while_it_shows_it_looks_once_a_second(desk: Desk) -> None:
    desk.open()
    assert desk.face.watchers == {desk.window}
    (timer,) = running_timers(desk.window)
    assert timer.interval() == 1000
    asked = desk.face.asked_snapshots
    timer.timeout.emit()
    assert desk.face.asked_snapshots == asked + 1


def test_a_change_of_state_is_shown_at_once(desk: Desk) -> None:
    desk.open()
    desk.face.change(a_snapshot(serving=Serving.PAUSED, blocker=PAUSED))
    page = desk.window.go_to("Overview")
    assert isinstance(page, OverviewPage)
    assert page.headline.button.text() == "Contribute"


@pytest.mark.parametrize("away", ["hide", "showMinimized"])
def test_hidden_or_minimised_it_says_so_and_asks_nothing(desk: Desk, away: str) -> None:
    desk.open()
    getattr(desk.window, away)()
    QApplication.processEvents()
    assert desk.face.watchers == set()
    assert running_timers(desk.window) == []
    asked = desk.face.asked_snapshots
    desk.face.tell()
    assert desk.face.asked_snapshots == asked


@pytest.mark.parametrize("away", ["hide", "showMinimized"])
def test_back_in_sight_it_looks_at_once(desk: Desk, away: str) -> None:
    desk.open()
    getattr(desk.window, away)()
    asked = desk.face.asked_snapshots
    desk.open()
    assert desk.window.looking
    assert not desk.window.isMinimized()
    assert desk.face.asked_snapshots > asked
    assert desk.face.watchers == {desk.window}


def test_only_pages_that_have_something_to_show_have_a_tab(desk: Desk) -> None:
    assert [desk.window.tabs.tabText(index) for index in range(desk.window.tabs.count())] == [
        "Overview",
        "Ledger",
        "Models",
    ]


def test_a_page_is_made_when_it_is_first_looked_at(desk: Desk) -> None:
    desk.open()
    assert desk.window.findChildren(LedgerPage) == []
    assert desk.face.pages_asked == []

    async def story() -> None:
        desk.window.go_to("Ledger")
        await settled(desk.window.tasks)

    play(story)
    assert len(desk.window.findChildren(LedgerPage)) == 1
    assert len(desk.face.pages_asked) == 1


def test_a_page_out_of_sight_is_shown_nothing(desk: Desk) -> None:
    desk.open()

    async def story() -> None:
        desk.window.go_to("Ledger")
        await settled(desk.window.tasks)
        desk.face.change(a_snapshot(serving=Serving.PAUSED, blocker=PAUSED))
        await settled(desk.window.tasks)

    play(story)
    (overview,) = desk.window.findChildren(OverviewPage)
    assert overview.headline.button.text() == "Finish, then pause"


def test_control_and_a_number_choose_a_page(desk: Desk, qtbot) -> None:
    desk.open()
    desk.window.activateWindow()

    async def story() -> None:
        qtbot.keyClick(desk.window, Qt.Key.Key_2, Qt.KeyboardModifier.ControlModifier)
        await settled(desk.window.tasks)

    play(story)
    assert desk.window.tabs.currentIndex() == 1


def test_with_a_tray_the_cross_hides_the_window(desk: Desk) -> None:
    desk.open()
    the_cross(desk.window)
    assert not desk.window.isVisible()
    assert desk.window.question is None
    assert desk.quits == 0


@pytest.mark.parametrize("way", ["cross", "shortcut"])
def test_without_a_tray_closing_asks_and_blocks_nothing(desk: Desk, way: str) -> None:
    desk.tray = False
    desk.open()
    if way == "cross":
        the_cross(desk.window)
    else:
        desk.window.dismiss()
    assert desk.window.isVisible()
    assert desk.window.question is not None
    assert desk.window.question.isVisible()
    asked = desk.face.asked_snapshots
    desk.face.tell()
    assert desk.face.asked_snapshots > asked, "the window goes on behind the question"
    desk.answer("Cancel")
    assert desk.window.isVisible()
    assert desk.quits == 0


def test_the_question_s_answers_do_what_they_say(desk: Desk) -> None:
    desk.tray = False
    desk.open()
    the_cross(desk.window)
    desk.answer("Minimise")
    assert desk.window.isMinimized()
    desk.open()
    the_cross(desk.window)
    desk.answer("Quit")
    assert desk.quits == 1


def test_asking_twice_shows_one_question(desk: Desk) -> None:
    desk.tray = False
    desk.open()
    desk.window.dismiss()
    first = desk.window.question
    desk.window.dismiss()
    assert desk.window.question is first
    desk.answer("Cancel")


def test_quitting_the_application_is_never_refused(desk: Desk) -> None:
    desk.tray = False
    desk.open()
    assert desk.window.close(), "QApplication.quit() closes windows like this, and gives up where one refuses"
    assert desk.window.question is None


def test_the_end_of_the_session_is_never_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.tray = False
    desk.open()
    monkeypatch.setattr("app.desktop.window._session_ends", lambda: True)
    the_cross(desk.window)
    assert not desk.window.isVisible()
    assert desk.window.question is None


def test_ending_parts_with_the_gateway(desk: Desk) -> None:
    desk.open()
    desk.window.end()
    assert desk.face.subscribers == 0
    assert desk.face.watchers == set()
    assert running_timers(desk.window) == []


def test_what_went_wrong_is_said_until_it_is_dismissed(desk: Desk) -> None:
    async def fail() -> None:
        raise ValueError("The disk is full.")

    async def story() -> None:
        desk.window.open()
        desk.window.tasks.start(fail(), "The record could not be read")
        await settled(desk.window.tasks)

    play(story)
    assert desk.window.told == "The record could not be read. The disk is full."
    dismiss = next(
        button for button in desk.window.findChildren(QAbstractButton) if button.accessibleName() == "Dismiss"
    )
    assert dismiss.isVisible()
    dismiss.click()
    assert desk.window.told == ""
    assert not dismiss.isVisible()


def test_it_begins_at_its_size_and_can_be_as_small_as_its_least(desk: Desk) -> None:
    assert (desk.window.width(), desk.window.height()) == (960, 680)
    desk.open()
    desk.window.resize(100, 100)
    QApplication.processEvents()
    assert (desk.window.width(), desk.window.height()) == (720, 520)


INTERACTIVE = (QAbstractButton, QLineEdit, QSlider, QAbstractScrollArea)


def test_everything_one_can_work_with_has_a_name_and_takes_the_keyboard(desk: Desk) -> None:
    host = replace(MANAGED, drift=("engine_context_length",))
    desk.face.present = busy(a_snapshot(host=host, public=PUBLIC), a_request(1), a_request(2))
    desk.open()

    async def story() -> None:
        desk.face.models.work = (
            an_operation("gemma3:12b"),
            an_operation("qwen3:32b", outcome=Outcome.FAILED),
        )
        for title in ("Overview", "Ledger", "Models"):
            desk.window.go_to(title)
            await settled(desk.window.tasks)
            QApplication.processEvents()
            for widget in desk.window.findChildren(QWidget):
                if isinstance(widget, INTERACTIVE) and widget.isVisible() and is_ours(widget):
                    named = widget.accessibleName() or getattr(widget, "text", str)()
                    assert named, f"{widget} on {title} has no name"
                    assert widget.focusPolicy() & Qt.FocusPolicy.TabFocus, f"{named} cannot be reached by Tab"

    play(story)


def is_ours(widget: QWidget) -> bool:
    """Not a part that Qt made for itself, like a tab bar's arrows, and not a frame that only scrolls."""
    made_by_qt = isinstance(widget.parent(), (QLineEdit, QTabBar)) or isinstance(
        widget, QScrollArea | QHeaderView
    )
    return not made_by_qt and not widget.objectName().startswith("qt_")


def test_tab_walks_from_the_first_control_to_the_last(desk: Desk) -> None:
    desk.open()
    page = desk.window.go_to("Overview")
    plot = page.graph.plot
    assert plot is not None

    async def story() -> None:
        await until(plot.isVisible)  # a layout shows what was added to it in a turn of its own

    play(story)
    reached = []
    page.headline.button.setFocus()
    for _ in range(20):
        focus = QApplication.focusWidget()
        reached.append(focus)
        focus.nextInFocusChain()
        desk.window.focusNextChild()
    for widget in (
        page.headline.button,
        page.headline.copy,
        page.graph.plot,
        page.cap.field,
        page.cap.slider,
    ):
        assert widget in reached


def test_light_and_dark_are_followed_while_it_shows(desk: Desk) -> None:
    desk.open()

    def lightness() -> int:
        QApplication.processEvents()
        image = desk.window.grab().toImage()
        return image.pixelColor(40, image.height() // 3).lightness()

    light = lightness()
    with desktop_colours("Windows 11, dark"):
        assert lightness() < 100 < light
    assert lightness() == light


def test_the_question_about_a_public_address_comes_with_the_window(desk: Desk) -> None:
    async def story() -> None:
        desk.window.ask_public()
        await settled(desk.window.tasks)

    play(story)
    assert desk.window.isVisible()
    page = desk.window.go_to("Overview")
    assert isinstance(page, OverviewPage)
    assert page.dialog is not None
    assert page.dialog.isVisible()
    page.dialog.reject()
    assert desk.face.calls == []


def test_the_usual_shortcuts_quit_and_close(desk: Desk, qtbot) -> None:
    desk.open()

    async def story() -> None:
        desk.window.activateWindow()
        qtbot.keySequence(desk.window, QKeySequence(QKeySequence.StandardKey.Quit).toString() or "Ctrl+Q")
        await asyncio.sleep(0)
        qtbot.keySequence(desk.window, QKeySequence(QKeySequence.StandardKey.Close).toString())
        await until(lambda: not desk.window.isVisible())

    play(story)
    assert desk.quits == 1
