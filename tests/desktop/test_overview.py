"""The overview: its headline and the cards «This GPU» and «Running now»."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import QEvent, QObject
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QWidget

from app.desktop.cards.card import Reflow
from app.desktop.cards.gpu import GpuCard
from app.desktop.cards.headline import Headline
from app.desktop.cards.running import MOST_ROWS, RunningCard
from app.desktop.pages.overview import OverviewPage
from app.desktop.tasks import FaceTasks
from app.face import Serving
from tests.desktop.fake_gateway import (
    CAP_REACHED,
    ENGINE_DOWN,
    PAUSED,
    PUBLIC,
    FakeGateway,
    a_request,
    a_snapshot,
    busy,
)
from tests.desktop.playing import OFFSCREEN_NOTE

pytestmark = pytest.mark.qt_log_ignore(OFFSCREEN_NOTE)


def visible(parent: QWidget) -> str:
    """Everything that can be read on a widget, from its labels."""
    return " | ".join(label.text() for label in parent.findChildren(QWidget) if is_readable(label))


def is_readable(widget: QWidget) -> bool:
    return hasattr(widget, "text") and callable(widget.text) and widget.isVisible() and bool(widget.text())


@pytest.fixture
def face() -> FakeGateway:
    return FakeGateway()


# The headline


@pytest.fixture
def headline(qtbot, face: FakeGateway) -> Headline:
    wished: list[int] = []
    headline = Headline(face, lambda: wished.append(1), lambda: wished.append(2))
    headline.wished = wished
    qtbot.addWidget(headline)
    headline.resize(700, 80)
    headline.show()
    headline.show_snapshot(face.present)
    return headline


def test_the_headline_says_state_reason_and_address(headline: Headline) -> None:
    assert "Contributing" in visible(headline)
    assert "No requests right now" in visible(headline)
    assert "http://127.0.0.1:8434" in visible(headline)


def test_the_button_carries_the_verb_of_the_state(headline: Headline, face: FakeGateway) -> None:
    headline.button.click()
    headline.show_snapshot(a_snapshot(serving=Serving.PAUSED, blocker=PAUSED))
    headline.button.click()
    assert face.calls == [("finish_then_pause",), ("contribute",)]


def test_a_request_that_comes_or_goes_does_not_change_the_verb_under_the_pointer(
    headline: Headline,
) -> None:
    before = headline.button.text()
    headline.show_snapshot(busy(a_snapshot(), a_request()))
    assert headline.button.text() == before


def test_behind_the_button_are_the_other_verbs(headline: Headline) -> None:
    offered = [action.text() for action in headline.button.menu().actions() if action.isVisible()]
    assert offered == ["Finish, then pause", "Pause now", "Snooze"]


def test_copy_copies_the_address(headline: Headline) -> None:
    headline.copy.click()
    assert QGuiApplication.clipboard().text() == "http://127.0.0.1:8434"


def test_a_reached_cap_offers_to_change_it_and_another_blocker_does_not(headline: Headline) -> None:
    headline.show_snapshot(a_snapshot(serving=Serving.BLOCKED, blocker=ENGINE_DOWN))
    assert "Change the cap" not in visible(headline)
    headline.show_snapshot(a_snapshot(serving=Serving.BLOCKED, blocker=CAP_REACHED))
    assert "Change the cap" in visible(headline)
    headline.change_cap.click()
    assert headline.wished == [1]


def test_beside_the_address_is_the_way_to_a_public_one_while_there_is_none(headline: Headline) -> None:
    headline.public.click()
    assert headline.wished == [2]
    assert headline.public.accessibleName() == "Public address…"
    headline.show_snapshot(a_snapshot(public=PUBLIC))
    assert not headline.public.isVisible()


# This GPU


def test_the_gpu_card_shows_watts_load_memory_and_where_they_come_from(qtbot) -> None:
    card = GpuCard()
    qtbot.addWidget(card)
    card.resize(400, 160)
    card.show()
    card.show_snapshot(busy(a_snapshot(), a_request()))
    read = visible(card)
    for text in ("RTX 3090", "158 W", "of 350 W", "98 %", "7.8 of 24 GB", "61 °C", "measured by the card"):
        assert text in read


def test_what_the_gpu_does_not_tell_is_a_dash_and_not_a_zero(qtbot) -> None:
    card = GpuCard()
    qtbot.addWidget(card)
    card.resize(400, 160)
    card.show()
    snapshot = a_snapshot()
    silent = replace(
        snapshot.gpu,
        source="model",
        measured=False,
        limit_w=None,
        utilisation_pct=None,
        memory_used_b=None,
        temperature_c=None,
    )
    card.show_snapshot(replace(snapshot, gpu=silent))
    read = visible(card)
    assert read.count("–") == 2
    assert "°C" not in read
    assert "estimated from the watts in the settings" in read


# Running now


@pytest.fixture
def running(qtbot, face: FakeGateway) -> RunningCard:
    card = RunningCard(face)
    qtbot.addWidget(card)
    card.resize(700, 300)
    card.show()
    return card


def test_without_requests_the_card_says_what_will_be_there(running: RunningCard) -> None:
    running.show_snapshot(a_snapshot())
    assert "Requests to http://127.0.0.1:8434 show up here while they run." in visible(running)
    assert "Tokens/s" not in visible(running)


def test_each_request_has_a_row_with_what_it_does_and_costs(running: RunningCard) -> None:
    running.show_snapshot(busy(a_snapshot(), a_request(1), a_request(2, queued=True, cost_pico=0)))
    read = visible(running)
    assert "client 1 | llama3.1:8b | 39 | 56 W | 0.00084 ¢" in read
    assert "client 2 | llama3.1:8b | waiting | – | –" in read


def test_stop_stops_that_request_and_no_other(running: RunningCard, face: FakeGateway) -> None:
    running.show_snapshot(busy(a_snapshot(), a_request(1), a_request(2), a_request(3)))
    running.stop_button("r2").click()
    assert face.calls == [("stop_request", "r2")]


def test_a_row_keeps_its_place_when_the_one_above_ends(running: RunningCard) -> None:
    running.show_snapshot(busy(a_snapshot(), a_request(1), a_request(2)))
    button = running.stop_button("r2")
    running.show_snapshot(busy(a_snapshot(), a_request(2)))
    assert running.stop_button("r2") is button
    assert running.shown == ("r2",)


def test_a_new_request_takes_the_highest_free_row(running: RunningCard) -> None:
    running.show_snapshot(busy(a_snapshot(), a_request(1), a_request(2), a_request(3)))
    running.show_snapshot(busy(a_snapshot(), a_request(3)))
    running.show_snapshot(busy(a_snapshot(), a_request(3), a_request(4)))
    assert running.shown == ("r4", "r3")


def test_a_crowd_is_counted_and_those_that_run_come_before_those_that_wait(running: RunningCard) -> None:
    waiting = [a_request(n, queued=True) for n in range(1, MOST_ROWS + 5)]
    running.show_snapshot(busy(a_snapshot(), *waiting, a_request(99)))
    assert running.shown[0] == "r99"
    assert len(running.shown) == MOST_ROWS
    assert "and 5 more" in visible(running)


class Paints(QObject):
    """Counts how often a widget or anything on it is painted."""

    def __init__(self, root: QWidget) -> None:
        super().__init__(root)
        self.count = 0
        for widget in (root, *root.findChildren(QWidget)):
            widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        self.count += event.type() == QEvent.Type.Paint
        return False


def test_a_quiet_second_repaints_nothing(running: RunningCard) -> None:
    snapshot = busy(a_snapshot(), a_request(1))
    running.show_snapshot(snapshot)
    QApplication.processEvents()
    paints = Paints(running)
    running.show_snapshot(snapshot)
    QApplication.processEvents()
    assert paints.count == 0
    running.show_snapshot(busy(a_snapshot(), a_request(1, watts=99.0)))
    QApplication.processEvents()
    assert paints.count > 0


# The page


@pytest.fixture
def page(qtbot, face: FakeGateway) -> OverviewPage:
    page = OverviewPage(face, FaceTasks(lambda _: None))
    qtbot.addWidget(page)
    page.resize(960, 640)
    page.show()
    return page


def test_a_simulation_is_said_plainly(page: OverviewPage) -> None:
    page.show_snapshot(a_snapshot(simulated=True))
    assert page.simulation.sentence == "This is a simulation. No GPU works, and nobody owes anything."
    assert page.simulation.isVisible()
    page.show_snapshot(a_snapshot())
    assert not page.simulation.isVisible()


def test_a_fault_that_does_not_stop_serving_is_a_line_of_its_own(page: OverviewPage) -> None:
    page.show_snapshot(a_snapshot(notice="The disk is nearly full. Free some space."))
    assert page.notice.isVisible()
    assert page.notice.sentence == "The disk is nearly full. Free some space."


def test_what_was_loaded_without_us_can_be_unloaded_beside_the_line_that_names_it(
    page: OverviewPage, face: FakeGateway
) -> None:
    said = "Released 2.0 GB of the GPU's memory. llama3.1:8b (4.9 GB) was loaded without us and stays there."
    page.show_snapshot(a_snapshot(serving=Serving.PAUSED, blocker=PAUSED, notice=said))
    assert page.notice.sentence == said
    assert not page.unload.isVisible()
    page.show_snapshot(
        a_snapshot(serving=Serving.PAUSED, blocker=PAUSED, notice=said, others=("llama3.1:8b",))
    )
    assert page.unload.isVisible()
    page.unload.click()
    assert face.calls == [("unload_others",)]


def test_change_the_cap_leads_into_the_exact_field(page: OverviewPage) -> None:
    page.show_snapshot(a_snapshot(serving=Serving.BLOCKED, blocker=CAP_REACHED))
    page.headline.change_cap.click()
    assert page.focusWidget() is page.cap.field
    assert page.cap.field.selectedText() == "$10.00"


def test_cards_stand_side_by_side_where_there_is_room(qtbot) -> None:
    one, other = QWidget(), QWidget()
    reflow = Reflow((one, other), wide=760)
    qtbot.addWidget(reflow)
    reflow.show()
    reflow.resize(900, 200)
    QApplication.processEvents()
    assert one.y() == other.y()
    assert abs(one.width() - other.width()) <= 1
    reflow.resize(700, 200)
    QApplication.processEvents()
    assert one.x() == other.x()
    assert one.y() < other.y()
    assert one.width() == 700


@pytest.mark.parametrize("width", [720, 960, 1600])
def test_nothing_is_wider_than_the_page(page: OverviewPage, width: int) -> None:
    page.resize(width, 640)
    page.show_snapshot(
        busy(
            a_snapshot(simulated=True), *[a_request(n, key_label="a very long label " * 9) for n in range(3)]
        )
    )
    QApplication.processEvents()
    for card in (page.graph, page.cap, page.gpu, page.running, page.headline):
        assert card.mapTo(page, card.rect().topRight()).x() <= width - 16
