"""The tray: what it shows, what its menu does, and that it rests while nothing happens."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QApplication, QMenu, QSystemTrayIcon

from app.desktop.clipboard import copy_text, forget_secret
from app.desktop.tray import Tray
from app.face import Serving
from app.tunnel.state import TunnelPhase, TunnelState
from tests.desktop.fake_gateway import PAUSED, PUBLIC, FakeGateway, a_request, a_snapshot, busy
from tests.desktop.playing import play, running_timers, settled, until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def face() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def done() -> list[str]:
    return []


@pytest.fixture
def tray(qapp: QApplication, face: FakeGateway, done: list[str]) -> Iterator[Tray]:
    tray = Tray(face, lambda: done.append("open"), lambda: done.append("quit"), lambda: done.append("public"))
    yield tray
    tray.close()


def texts(menu: QMenu) -> list[str]:
    return [action.text() for action in menu.actions() if action.isVisible() and not action.isSeparator()]


def item(menu: QMenu, text: str) -> QAction:
    return next(action for action in menu.actions() if action.isVisible() and action.text().startswith(text))


def looks(tray: Tray) -> int:
    return tray.icon.icon().cacheKey()


def test_the_menu_begins_with_the_state_and_the_money_and_cannot_be_chosen(tray: Tray) -> None:
    first = tray.menu.actions()[0]
    assert first.text() == "Contributing, $3.42 of $10.00"
    assert not first.isEnabled()


def test_while_contributing_the_menu_offers_the_ways_to_stop(tray: Tray) -> None:
    assert texts(tray.menu)[1:] == [
        "Finish, then pause",
        "Pause now",
        "Snooze",
        "Copy address",
        "Copy key",
        "Public address…",
        "Open",
        "Quit",
    ]


@pytest.mark.parametrize(
    ("serving", "offered"),
    [
        (Serving.PAUSED, ["Contribute", "Snooze"]),
        (Serving.FINISHING, ["Keep contributing", "Pause now", "Snooze"]),
        (Serving.BLOCKED, ["Finish, then pause", "Pause now", "Snooze"]),
    ],
)
def test_the_verbs_fit_the_state(tray: Tray, face: FakeGateway, serving: Serving, offered: list[str]) -> None:
    face.change(a_snapshot(serving=serving, blocker=PAUSED))
    assert texts(tray.menu)[1:-5] == offered


@pytest.mark.parametrize("serving", [Serving.STARTING, Serving.STOPPING])
def test_no_verb_works_while_it_starts_or_stops_but_open_and_quit_do(
    tray: Tray, face: FakeGateway, serving: Serving
) -> None:
    face.change(a_snapshot(serving=serving))
    enabled = {action.text() for action in tray.menu.actions() if action.isEnabled() and action.isVisible()}
    assert enabled - {""} == {"Copy address", "Copy key", "Public address…", "Open", "Quit"}


@pytest.mark.parametrize(
    ("serving", "text", "call"),
    [
        (Serving.PAUSED, "Contribute", "contribute"),
        (Serving.CONTRIBUTING, "Finish, then pause", "finish_then_pause"),
        (Serving.CONTRIBUTING, "Pause now", "pause_now"),
    ],
)
def test_choosing_a_verb_tells_the_gateway(
    tray: Tray, face: FakeGateway, serving: Serving, text: str, call: str
) -> None:
    face.change(a_snapshot(serving=serving, blocker=PAUSED if serving is Serving.PAUSED else None))
    item(tray.menu, text).trigger()
    assert face.calls == [(call,)]


def test_snooze_offers_hours_and_until_tomorrow(tray: Tray, face: FakeGateway) -> None:
    snooze = item(tray.menu, "Snooze").menu()
    assert isinstance(snooze, QMenu)
    snooze.aboutToShow.emit()
    assert texts(snooze)[:4] == ["1 h", "3 h", "6 h", "12 h"]
    assert texts(snooze)[4].startswith("Until tomorrow, ")
    for action in snooze.actions():
        action.trigger()
    seconds = [call[1] for call in face.calls]
    assert seconds[:4] == [3600, 3 * 3600, 6 * 3600, 12 * 3600]
    assert 3 * 3600 <= seconds[4] <= 28 * 3600


def test_open_and_quit_do_what_the_program_says_they_mean(tray: Tray, done: list[str]) -> None:
    item(tray.menu, "Open").trigger()
    item(tray.menu, "Quit").trigger()
    assert done == ["open", "quit"]


# The public address


def test_without_a_public_address_the_menu_only_offers_to_ask_about_one(
    tray: Tray, done: list[str], face: FakeGateway
) -> None:
    assert not any("internet" in text or "public" in text for text in texts(tray.menu))
    item(tray.menu, "Public address…").trigger()
    assert done == ["public"]
    assert face.calls == [], "nothing is opened from the menu"


def test_a_public_address_is_said_in_the_menu_and_in_the_tooltip_and_can_be_copied(
    tray: Tray, face: FakeGateway
) -> None:
    face.change(a_snapshot(public=PUBLIC))
    line = tray.menu.actions()[1]
    assert line.text() == f"Reachable from the internet: {PUBLIC.url}"
    assert line.isVisible()
    assert not line.isEnabled()
    assert "Public address…" not in texts(tray.menu)
    assert "open to the internet" in tray.icon.toolTip()
    item(tray.menu, "Copy public address").trigger()
    assert QGuiApplication.clipboard().text() == PUBLIC.url


def test_an_address_that_could_not_be_opened_is_no_internet_in_the_tooltip(
    tray: Tray, face: FakeGateway
) -> None:
    failed = TunnelState(TunnelPhase.FAILED, problem="Cloudflare does not answer.", fix="Try again later.")
    face.change(a_snapshot(public=failed))
    assert "Cloudflare does not answer. Try again later." in texts(tray.menu)
    assert "Copy public address" not in texts(tray.menu)
    assert "internet" not in tray.icon.toolTip()


def test_where_nobody_can_be_asked_a_public_address_is_not_offered(qapp: QApplication) -> None:
    tray = Tray(FakeGateway(), lambda: None, lambda: None)
    assert "Public address…" not in texts(tray.menu)
    tray.close()


def test_a_click_on_the_icon_opens_the_window_and_a_right_click_does_not(tray: Tray, done: list[str]) -> None:
    tray.icon.activated.emit(QSystemTrayIcon.ActivationReason.Context)
    assert done == []
    tray.icon.activated.emit(QSystemTrayIcon.ActivationReason.Trigger)
    assert done == ["open"]


def test_a_change_of_state_changes_icon_and_tooltip_at_once(tray: Tray, face: FakeGateway) -> None:
    before = looks(tray)
    face.change(a_snapshot(serving=Serving.PAUSED, blocker=PAUSED))
    assert looks(tray) != before
    assert "paused" in tray.icon.toolTip()


def test_the_figures_are_fresh_when_the_menu_opens_although_nothing_was_signalled(
    tray: Tray, face: FakeGateway
) -> None:
    face.present = replace(face.present, money=replace(face.present.money, spent_pico=4 * 10**12))
    tray.menu.aboutToShow.emit()
    assert tray.menu.actions()[0].text() == "Contributing, $4.00 of $10.00"
    assert "$4.00 of $10.00" in tray.icon.toolTip()


def test_the_figures_are_fresh_when_the_platform_asks_for_the_tooltip(tray: Tray, face: FakeGateway) -> None:
    face.present = busy(face.present, a_request())
    QApplication.sendEvent(tray.icon, QEvent(QEvent.Type.ToolTip))
    assert "171 W, 112 W for clients" in tray.icon.toolTip()


def test_while_nothing_runs_no_timer_does(tray: Tray, face: FakeGateway) -> None:
    assert running_timers(tray) == []
    asked = face.asked_snapshots
    QApplication.processEvents()
    assert face.asked_snapshots == asked


def test_while_requests_run_it_looks_once_a_second_and_stops_when_they_have_ended(
    tray: Tray, face: FakeGateway
) -> None:
    face.change(busy(a_snapshot(), a_request()))
    (timer,) = running_timers(tray)
    assert timer.interval() == 1000
    face.present = a_snapshot()
    timer.timeout.emit()
    assert running_timers(tray) == []


def test_copy_address_copies_the_address(tray: Tray) -> None:
    item(tray.menu, "Copy address").trigger()
    assert QGuiApplication.clipboard().text() == "http://127.0.0.1:8434"


def test_a_copied_key_asks_clipboard_histories_to_forget_it(tray: Tray) -> None:
    async def story() -> None:
        item(tray.menu, "Copy key").trigger()
        await until(lambda: QGuiApplication.clipboard().text() == "mg_0123456789")

    play(story)
    data = QGuiApplication.clipboard().mimeData()
    assert bytes(data.data("x-kde-passwordManagerHint").data()) == b"secret"
    forget_secret()
    assert QGuiApplication.clipboard().text() == "", "a key does not stay on the clipboard when we go"


def test_what_somebody_else_copied_stays_when_we_go(tray: Tray) -> None:
    copy_text("not ours to take")
    forget_secret()
    assert QGuiApplication.clipboard().text() == "not ours to take"


def test_a_key_that_cannot_be_had_is_said_beside_the_icon(
    tray: Tray, face: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(tray.icon, "showMessage", lambda title, text, kind: said.append(text))
    face.key_error = RuntimeError("The keyring is locked. Unlock it and try again.")

    async def story() -> None:
        item(tray.menu, "Copy key").trigger()
        await settled(tray.tasks)

    play(story)
    assert said == ["The key could not be copied. The keyring is locked. Unlock it and try again."]


def test_a_cap_that_is_nearly_reached_is_said_once_for_each_level(
    tray: Tray, face: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(tray.icon, "showMessage", lambda title, text, kind: said.append(text))
    for spent, level in ((8.1, 80), (9.0, 80), (9.5, 95), (10.0, 95)):
        snapshot = a_snapshot()
        money = replace(snapshot.money, spent_pico=round(spent * 10**12), cap_warning_pct=level)
        face.change(replace(snapshot, money=money))
    assert said == [
        "80 % of the spending cap is spent: $8.10 of $10.00.",
        "95 % of the spending cap is spent: $9.50 of $10.00.",
    ]


def test_a_closed_tray_hears_nothing_more(qapp: QApplication) -> None:
    face = FakeGateway()
    tray = Tray(face, lambda: None, lambda: None)
    face.change(busy(a_snapshot(), a_request()))
    tray.close()
    assert face.subscribers == 0
    assert running_timers(tray) == []


def test_neither_the_tray_nor_the_window_s_module_loads_pages_or_the_graph() -> None:
    script = (
        "import sys, app.desktop.tray, app.desktop.window\n"
        "print([name for name in sys.modules if name in ('numpy', 'pyqtgraph', 'app.desktop.pages.overview')])"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout.strip() == "[]"


def test_going_with_an_empty_clipboard_is_no_fault(tray: Tray, monkeypatch: pytest.MonkeyPatch) -> None:
    clipboard = QGuiApplication.clipboard()
    monkeypatch.setattr(clipboard, "mimeData", lambda: None)
    monkeypatch.setattr(QGuiApplication, "clipboard", lambda: clipboard)
    forget_secret()
