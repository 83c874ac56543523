"""The graph: its geometry, and the card around it."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QPainter, QWheelEvent
from PySide6.QtWidgets import QApplication

from app.billing.money import PICO
from app.desktop import format as fmt
from app.desktop.cards.graph import GraphCard, reading
from app.desktop.cards.graph_data import (
    SPANS,
    Piece,
    cap_reached_at,
    pieces,
    point_at,
    round_top,
    time_ticks,
)
from app.desktop.tasks import FaceTasks
from app.power.history import DAY_US, HOUR_US, MINUTE_US, PowerPoint
from tests.desktop.fake_gateway import NOW_US, FakeGateway, a_snapshot, busy
from tests.desktop.playing import OFFSCREEN_NOTE, desktop_colours, play, running_timers, settled

pytestmark = pytest.mark.qt_log_ignore(OFFSCREEN_NOTE)

SECOND = 1_000_000
FIVE_MINUTES, HOUR, DAY, WEEK = SPANS


def a_point(second: int, total: float = 60.0, marginal: float = 0.0, cost: int = 0) -> PowerPoint:
    requests = 1 if marginal else 0
    return PowerPoint(NOW_US + second * SECOND, total - 45, total, marginal, requests, cost)


def a_gap(second: int) -> PowerPoint:
    return PowerPoint(NOW_US + second * SECOND, math.nan, math.nan, math.nan, 0, 0)


def at(second: int) -> float:
    return NOW_US / 1e6 + second


def test_a_bucket_is_a_step_from_its_start_to_the_next_one_s() -> None:
    whole, idle = pieces([a_point(0, 60), a_point(1, 64)], SECOND)
    assert idle == [Piece((at(0), at(1), at(1), at(2)), (60.0, 60.0, 64.0, 64.0))]
    assert whole == []


def test_a_gap_stays_a_gap() -> None:
    _, idle = pieces([a_point(0), a_gap(1), a_point(30)], SECOND)
    assert [piece.x for piece in idle] == [(at(0), at(1)), (at(30), at(31))]


def test_the_clients_part_stands_on_the_idle_part_and_only_where_there_is_one() -> None:
    points = [a_point(0, 60), a_point(1, 171, 111), a_point(2, 170, 110), a_point(3, 60)]
    whole, idle = pieces(points, SECOND)
    assert whole == [Piece((at(1), at(2), at(2), at(3)), (171.0, 171.0, 170.0, 170.0))]
    assert idle[0].y == (60.0,) * 8


POINTS = st.lists(
    st.one_of(
        st.none(),
        st.tuples(st.floats(0, 1000), st.floats(-50, 1000)),
    ),
    max_size=40,
).map(
    lambda buckets: [
        a_gap(second) if bucket is None else a_point(second, *bucket) for second, bucket in enumerate(buckets)
    ]
)


@given(POINTS)
def test_everything_measured_is_drawn_and_nothing_else(points: list[PowerPoint]) -> None:
    whole, idle = pieces(points, SECOND)
    drawn = sum(end - start for piece in idle for start, end in zip(piece.x[::2], piece.x[1::2], strict=True))
    assert drawn == pytest.approx(sum(not point.is_gap for point in points))
    assert all(level >= 0 for piece in idle for level in piece.y)
    clients = sum(len(piece.x) // 2 for piece in whole)
    assert clients == sum(not point.is_gap and point.marginal_w >= 0.5 for point in points)


@given(POINTS)
def test_the_axis_ends_above_every_point_at_a_round_number_with_few_ticks(points: list[PowerPoint]) -> None:
    top, step = round_top(points)
    highest = max((point.total_w for point in points if not point.is_gap), default=0.0)
    assert top > highest
    assert 2 <= round(top / step) <= 5
    assert top == pytest.approx(step * round(top / step))


@pytest.mark.parametrize(
    ("highest", "top"), [(0, 50), (60, 80), (171, 200), (207, 250), (350, 400), (990, 1250)]
)
def test_the_axis_is_as_people_would_draw_it(highest: float, top: float) -> None:
    assert round_top([a_point(0, highest)])[0] == top


def test_the_point_under_the_crosshair_is_the_bucket_that_covers_the_moment() -> None:
    points = [a_point(0), a_point(1), a_gap(2)]
    assert point_at(points, NOW_US - 1) is None
    assert point_at(points, NOW_US + SECOND + 1) is points[1]
    assert point_at(points, NOW_US + 99 * SECOND) is points[2]


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[ZoneInfo]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield ZoneInfo("Europe/Berlin")
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_days_begin_at_local_midnight_also_where_they_have_23_or_25_hours(berlin: ZoneInfo, day: str) -> None:
    change = datetime.fromisoformat(f"{day} 12:00").replace(tzinfo=berlin)
    end_us = round(change.timestamp() * 1e6) + 3 * DAY_US
    ticks = time_ticks(end_us - 7 * DAY_US, end_us, WEEK.tick_us)
    local = [datetime.fromtimestamp(tick / 1e6, berlin) for tick in ticks]
    assert [moment.strftime("%H:%M") for moment in local] == ["00:00"] * 7
    assert len({moment.date() for moment in local}) == 7


@pytest.mark.parametrize("span", SPANS, ids=lambda span: span.label)
def test_ticks_are_round_local_times_within_the_window_and_a_handful(berlin: ZoneInfo, span) -> None:
    ticks = time_ticks(NOW_US - span.span_us, NOW_US, span.tick_us)
    assert 5 <= len(ticks) <= 8
    assert all(NOW_US - span.span_us <= tick < NOW_US for tick in ticks)
    assert ticks == sorted(ticks)
    midnight = datetime.fromtimestamp(NOW_US / 1e6, berlin).replace(hour=0, minute=0, second=0, microsecond=0)
    assert all((tick - round(midnight.timestamp() * 1e6)) % span.tick_us == 0 for tick in ticks)


def an_hour_each(*costs: int | None) -> list[PowerPoint]:
    return [
        a_gap(3600 * hour) if cost is None else a_point(3600 * hour, 171, 111, cost)
        for hour, cost in enumerate(costs)
    ]


def test_the_cap_is_foreseen_from_the_mean_of_measured_time() -> None:
    points = an_hour_each(2 * PICO, None, 4 * PICO, 0)
    assert cap_reached_at(points, 30 * PICO, NOW_US) == NOW_US + 10 * HOUR_US


@pytest.mark.parametrize(
    "points",
    [
        [],
        an_hour_each(PICO),
        an_hour_each(0, 0, 0),
        [a_point(0, 171, 111, PICO), a_point(60)],
        an_hour_each(1, 1, 1),
    ],
    ids=["nothing", "one point", "free", "a minute", "ages away"],
)
def test_what_says_nothing_is_no_forecast(points: list[PowerPoint]) -> None:
    assert cap_reached_at(points, 30 * PICO, NOW_US) is None


def test_the_reading_names_time_watts_the_clients_part_money_and_requests() -> None:
    point = replace(a_point(0, 171.2, 112.1, 16_800_000_000), requests=2)
    said = reading(point, FIVE_MINUTES, a_snapshot().money, NOW_US)
    assert said == f"{fmt.clock(NOW_US, seconds=True)} · 171 W · 112 W for clients · $0.017/h · 2 requests"


def test_the_reading_of_a_gap_says_that_nothing_was_measured() -> None:
    said = reading(a_gap(0), WEEK, a_snapshot().money, NOW_US)
    assert said == f"{fmt.clock(NOW_US)} · nothing measured"


# The card


class Shown:
    """A card in a window, with the graph loaded."""

    def __init__(self, face: FakeGateway) -> None:
        self.face = face
        self.failures: list[str] = []
        self.asked: list[int] = []
        self.tasks = FaceTasks(self.failures.append)
        series = face.graph

        def history(span_us: int):
            self.asked.append(span_us)
            return series(span_us)

        face.graph = history
        self.card = GraphCard(face, self.tasks)
        self.card.resize(900, 360)
        self.card.show()

    def load(self) -> None:
        async def story() -> None:
            self.card.appear()
            self.card.show_snapshot(self.face.present)
            await settled(self.tasks)

        play(story)
        QApplication.processEvents()
        assert self.failures == []


SERIES = [a_point(-120 + second, 171, 111, 16_800_000_000) for second in range(60)]
SERIES += [a_gap(-60), *[a_point(-30 + second) for second in range(30)]]


@pytest.fixture
def shown(qtbot) -> Shown:
    face = FakeGateway(busy(a_snapshot()))
    face.graph = lambda _span: SERIES
    shown = Shown(face)
    qtbot.addWidget(shown.card)
    shown.load()
    return shown


def scene_x(shown: Shown, second: float) -> QPointF:
    view = shown.card.plot.getPlotItem().vb
    return view.mapViewToScene(QPointF(at(0) + second, 100.0))


def test_the_graph_is_loaded_only_when_the_card_is_first_looked_at() -> None:
    script = (
        "import sys, app.desktop.pages.overview\n"
        "print([name for name in sys.modules if name in ('numpy', 'pyqtgraph')])"
    )
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root
    )
    assert found.stdout.strip() == "[]"


def test_the_layout_is_the_same_before_and_after_the_graph_is_loaded(qtbot) -> None:
    shown = Shown(FakeGateway(busy(a_snapshot())))
    qtbot.addWidget(shown.card)
    shown.card.show_snapshot(shown.face.present)
    before = shown.card.sizeHint().height()
    shown.load()
    assert shown.card.sizeHint().height() == before


def test_before_the_first_reading_the_card_says_what_will_be_there(qtbot) -> None:
    shown = Shown(FakeGateway())
    qtbot.addWidget(shown.card)
    assert shown.card.message == "Loading the graph …"
    shown.load()
    assert shown.card.message == "The graph begins with the first reading."
    shown.face.graph = lambda _span: SERIES
    shown.card.appear()
    shown.card.show_snapshot(shown.face.present)
    assert shown.card.message == ""


def test_it_draws_no_more_often_than_the_picture_can_differ(shown: Shown) -> None:
    shown.card.choose(HOUR)
    shown.asked.clear()
    for second in range(1, 12):
        shown.card.show_snapshot(replace(shown.face.present, at_us=NOW_US + second * SECOND))
    assert shown.asked == [HOUR.span_us] * 2
    shown.card.choose(WEEK)
    assert shown.asked[-1] == WEEK.span_us


def test_pointing_at_the_graph_reads_it_and_leaving_ends_that(shown: Shown) -> None:
    plot = shown.card.plot
    plot.sceneObj.sigMouseMoved.emit(scene_x(shown, -100.5))
    expected = fmt.clock(NOW_US - 101 * SECOND, seconds=True)
    assert shown.card.reading == f"{expected} · 171 W · 111 W for clients · $0.017/h · 1 request"
    plot.sceneObj.sigMouseMoved.emit(scene_x(shown, -45))
    assert shown.card.reading.endswith("nothing measured")
    plot.sceneObj.sigMouseMoved.emit(QPointF(-10, -10))
    assert shown.card.reading == ""


def test_under_a_resting_pointer_the_reading_stays_on_the_same_place_of_the_picture(shown: Shown) -> None:
    pointer = scene_x(shown, -100.5)
    shown.card.plot.sceneObj.sigMouseMoved.emit(pointer)
    before = shown.card.reading
    shown.card.show_snapshot(replace(shown.face.present, at_us=NOW_US + 5 * SECOND))
    assert shown.card.reading != before
    assert shown.card.reading.startswith(fmt.clock(NOW_US - 96 * SECOND, seconds=True))


def test_the_arrow_keys_walk_along_the_graph(shown: Shown, qtbot) -> None:
    plot = shown.card.plot
    plot.setFocus()
    qtbot.keyClick(plot, Qt.Key.Key_Left)
    assert shown.card.reading.startswith(fmt.clock(NOW_US - SECOND, seconds=True))
    qtbot.keyClick(plot, Qt.Key.Key_Left)
    assert shown.card.reading.startswith(fmt.clock(NOW_US - 2 * SECOND, seconds=True))
    qtbot.keyClick(plot, Qt.Key.Key_Right)
    qtbot.keyClick(plot, Qt.Key.Key_Right)
    assert shown.card.reading.startswith(fmt.clock(NOW_US - SECOND, seconds=True))
    qtbot.keyClick(plot, Qt.Key.Key_Escape)
    assert shown.card.reading == ""


def test_the_wheel_neither_zooms_nor_is_swallowed(shown: Shown) -> None:
    before = shown.card.plot.getPlotItem().viewRange()
    event = QWheelEvent(
        QPointF(300, 80),
        QPointF(300, 80),
        QPoint(0, 0),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(shown.card.plot.viewport(), event)
    assert not event.isAccepted()
    assert shown.card.plot.getPlotItem().viewRange() == before


def test_it_is_drawn_on_the_fast_path_and_runs_no_timer(shown: Shown) -> None:
    assert not shown.card.plot.renderHints() & QPainter.RenderHint.Antialiasing
    assert running_timers(shown.card) == []


def test_the_drawing_follows_light_and_dark(shown: Shown) -> None:
    def corner() -> int:
        QApplication.processEvents()
        image = shown.card.plot.grab().toImage()
        return image.pixelColor(image.width() // 2, 6).lightness()

    light = corner()
    with desktop_colours("Fusion, dark"):
        assert corner() < 100 < light


def test_idle_and_clients_parts_and_gaps_are_seen_in_their_colours(shown: Shown) -> None:
    from app.desktop.text import current_theme

    plot = shown.card.plot
    image = plot.grab().toImage()

    def seen(second: float, watts: float) -> str:
        point = plot.mapFromScene(plot.getPlotItem().vb.mapViewToScene(QPointF(at(0) + second, watts)))
        return image.pixelColor(point).name()

    theme = current_theme()
    assert seen(-90.5, 120) == theme.clients.name()
    assert seen(-90.5, 20) == theme.idle.name()
    assert seen(-15.5, 20) == theme.idle.name()
    assert seen(-45.5, 20) == theme.surface.name()
    assert seen(-15.5, 120) == theme.surface.name()


def test_a_graph_that_cannot_be_loaded_is_said_and_tried_again(
    qtbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, package: str | None = None):
        raise ImportError("numpy is missing")

    shown = Shown(FakeGateway())
    qtbot.addWidget(shown.card)
    monkeypatch.setattr(importlib, "import_module", missing)

    async def story() -> None:
        shown.card.appear()
        await settled(shown.tasks)

    play(story)
    assert shown.failures == ["The graph could not be loaded: numpy is missing."]
    shown.failures.clear()
    monkeypatch.undo()
    shown.load()
    assert shown.card.plot is not None


def test_the_spans_are_reachable_and_named(shown: Shown) -> None:
    names = [button.accessibleName() for button in shown.card.span_buttons]
    assert names == ["Show 5 min", "Show 1 h", "Show 24 h", "Show 7 d"]
    shown.card.span_buttons[2].click()
    assert shown.asked[-1] == DAY.span_us
    assert DAY.step_us == MINUTE_US * 2
