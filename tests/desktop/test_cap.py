"""The spending cap: slider and field set it at once, and a cap below what is spent is asked about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication, QPushButton, QStyle, QStyleOptionSlider, QWidget

from app.billing.money import PICO
from app.desktop.cards.cap import CapCard
from app.desktop.cards.cap_slider import STEPS, CapSlider, scale_for
from app.desktop.tasks import FaceTasks
from app.desktop.theme import Tone
from app.power.history import HOUR_US, PowerPoint
from app.settings.errors import SettingError
from tests.desktop.fake_gateway import NOW_US, FakeGateway, a_snapshot
from tests.desktop.playing import OFFSCREEN_NOTE, play, settled, until

pytestmark = pytest.mark.qt_log_ignore(OFFSCREEN_NOTE)


@given(cap=st.integers(0, 9 * 10**18), spent=st.integers(0, 9 * 10**18))
def test_the_scale_is_round_and_leaves_room_above_cap_and_spending(cap: int, spent: int) -> None:
    scale = scale_for(cap, spent)
    assert scale.top_pico >= max(cap, spent) * 3 // 2
    assert scale.step_pico * STEPS == scale.top_pico
    digits = str(scale.top_pico).rstrip("0")
    assert digits in ("1", "2", "5")
    assert abs(scale.nearest(cap) * scale.step_pico - cap) * 2 <= scale.step_pico


class Bench:
    """A cap card as in the window, with a place to move the focus to."""

    def __init__(self, face: FakeGateway) -> None:
        self.face = face
        self.failures: list[str] = []
        self.tasks = FaceTasks(self.failures.append)
        self.window = QWidget()
        self.window.resize(420, 200)
        self.card = CapCard(face, self.tasks, self.window)
        self.card.resize(400, 160)
        self.elsewhere = QPushButton("elsewhere", self.window)
        self.window.show()
        self.look()
        face.on_changed(self.look)

    def look(self) -> None:
        self.card.show_snapshot(self.face.present)

    def play(self, story: Callable[[], Awaitable[object]]) -> None:
        async def whole() -> None:
            await story()
            await settled(self.tasks)

        play(whole)

    @property
    def caps(self) -> list[int]:
        return [call[1] for call in self.face.calls if call[0] == "set_cap"]

    def type(self, qtbot, text: str, key: Qt.Key = Qt.Key.Key_Return) -> None:
        self.card.edit()
        self.card.field.clear()
        if text.isascii():
            qtbot.keyClicks(self.card.field, text)
        else:
            self.card.field.insert(text)  # QTest has no key for «€»
        qtbot.keyClick(self.card.field, key)

    def handle(self) -> QPoint:
        slider = self.card.slider
        option = QStyleOptionSlider()
        slider.initStyleOption(option)
        rect = slider.style().subControlRect(
            QStyle.ComplexControl.CC_Slider, option, QStyle.SubControl.SC_SliderHandle, slider
        )
        return rect.center()

    def answer(self, text: str) -> None:
        dialog = self.card.dialog
        assert dialog is not None
        next(button for button in dialog.buttons() if button.text().startswith(text)).click()


@pytest.fixture
def bench(qtbot) -> Bench:
    bench = Bench(FakeGateway())
    qtbot.addWidget(bench.window)
    return bench


def test_it_shows_what_is_spent_of_the_cap_and_what_is_held(bench: Bench) -> None:
    money = replace(bench.face.present.money, held_pico=10_300_000_000)
    bench.face.change(a_snapshot(money=money))
    assert bench.card.text == "$3.42 of $10.00"
    assert bench.card.field.text() == "$10.00"
    assert bench.card.caption == "held $0.01"
    assert bench.card.slider.chosen_pico() == 10 * PICO


def test_the_arrow_keys_set_the_cap_at_once(bench: Bench, qtbot) -> None:
    async def story() -> None:
        qtbot.keyClick(bench.card.slider, Qt.Key.Key_Right)

    bench.play(story)
    assert bench.caps == [10_200_000_000_000]
    assert bench.card.text == "$3.42 of $10.20"


def test_dragging_shows_the_amount_and_letting_go_sets_it(bench: Bench, qtbot) -> None:
    slider = bench.card.slider

    async def story() -> None:
        start = bench.handle()
        qtbot.mousePress(slider, Qt.MouseButton.LeftButton, pos=start)
        qtbot.mouseMove(slider, start + QPoint(60, 0))
        assert bench.caps == []
        previewed = bench.card.field.text()
        assert previewed != "$10.00"
        bench.look()
        assert bench.card.field.text() == previewed, "a second passed, and the handle was not let go"
        qtbot.mouseRelease(slider, Qt.MouseButton.LeftButton, pos=start + QPoint(60, 0))
        assert bench.card.field.text() == previewed

    bench.play(story)
    (cap,) = bench.caps
    assert 10 * PICO < cap < 20 * PICO


def test_the_wheel_never_moves_money(bench: Bench) -> None:
    slider = bench.card.slider
    slider.setFocus()
    event = QWheelEvent(
        QPointF(50, 10), QPointF(50, 10), QPoint(0, 0), QPoint(0, 120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(slider, event)
    assert not event.isAccepted()
    assert slider.chosen_pico() == 10 * PICO
    assert bench.caps == []


@pytest.mark.parametrize(
    ("typed", "cap"), [("25", 25 * PICO), ("$12.345", 12_345 * 10**9), ("7,5", 7_500_000_000_000)]
)
def test_a_typed_amount_is_set_exactly(bench: Bench, qtbot, typed: str, cap: int) -> None:
    async def story() -> None:
        bench.type(qtbot, typed)

    bench.play(story)
    assert bench.caps == [cap]


def test_leaving_the_field_sets_what_was_typed_once(bench: Bench, qtbot) -> None:
    async def story() -> None:
        bench.type(qtbot, "25", Qt.Key.Key_End)
        bench.elsewhere.setFocus()

    bench.play(story)
    assert bench.caps == [25 * PICO]


def test_escape_leaves_the_cap_as_it_is(bench: Bench, qtbot) -> None:
    bench.type(qtbot, "25", Qt.Key.Key_Escape)
    bench.elsewhere.setFocus()
    assert bench.card.field.text() == "$10.00"
    assert bench.caps == []


def test_a_second_that_passes_does_not_write_over_what_is_being_typed(bench: Bench, qtbot) -> None:
    bench.type(qtbot, "2", Qt.Key.Key_End)
    bench.look()
    assert bench.card.field.text() == "2"


def test_what_is_no_amount_is_refused_with_a_sentence(bench: Bench, qtbot) -> None:
    bench.type(qtbot, "ten")
    assert bench.card.caption == "“ten” is not an amount. Write it like $10.00."
    assert bench.card.field.text() == "$10.00"
    assert bench.caps == []


def test_a_cap_below_what_is_spent_is_asked_about_without_blocking(bench: Bench, qtbot) -> None:
    async def story() -> None:
        bench.type(qtbot, "2")
        await asyncio.sleep(0)
        dialog = bench.card.dialog
        assert dialog is not None
        assert dialog.isVisible()
        assert dialog.text() == "$3.42 is already spent. Set the cap to $2.00?"
        assert bench.caps == []
        bench.answer("Set to $2.00")
        await until(lambda: bench.caps)

    bench.play(story)
    assert bench.caps == [2 * PICO]
    assert bench.card.dialog is None


def test_keeping_the_cap_puts_slider_and_field_back(bench: Bench, qtbot) -> None:
    async def story() -> None:
        bench.card.slider.setValue(5)
        await asyncio.sleep(0)
        bench.answer("Keep $10.00")

    bench.play(story)
    assert bench.caps == []
    assert bench.card.slider.chosen_pico() == 10 * PICO
    assert bench.card.field.text() == "$10.00"


def test_escape_answers_the_question_with_no(bench: Bench, qtbot) -> None:
    async def story() -> None:
        bench.type(qtbot, "0")
        await asyncio.sleep(0)
        assert bench.card.dialog is not None
        qtbot.keyClick(bench.card.dialog, Qt.Key.Key_Escape)

    bench.play(story)
    assert bench.caps == []
    assert bench.card.dialog is None


def test_exactly_what_is_spent_needs_no_question(bench: Bench, qtbot) -> None:
    async def story() -> None:
        bench.type(qtbot, "3.42")

    bench.play(story)
    assert bench.caps == [3_420_000_000_000]


def test_while_one_change_is_being_made_only_the_last_of_the_others_follows(bench: Bench) -> None:
    gate = asyncio.Event()
    set_cap = bench.face.set_cap

    async def slow(cap_pico: int) -> None:
        await gate.wait()
        await set_cap(cap_pico)

    bench.face.set_cap = slow  # type: ignore[method-assign]

    async def story() -> None:
        for cap in (11, 12, 13, 14):
            bench.card.request(cap * PICO)
            await asyncio.sleep(0)
        assert bench.card.text == "$3.42 of $14.00", "the wish is shown at once"
        gate.set()

    bench.play(story)
    assert bench.caps == [11 * PICO, 14 * PICO]


def test_a_refusal_of_the_gateway_is_said_and_the_old_cap_shown_again(bench: Bench) -> None:
    sentence = "SPENDING_CAP is fixed on the command line. Start without it to change it here."
    bench.face.cap_error = SettingError(sentence)

    async def story() -> None:
        bench.card.request(20 * PICO)

    bench.play(story)
    assert bench.failures == [f"The spending cap could not be set. {sentence}"]
    assert bench.card.text == "$3.42 of $10.00"
    assert bench.card.slider.chosen_pico() == 10 * PICO


@pytest.mark.parametrize(
    ("spent", "tone"), [(3_420_000_000_000, Tone.ACCENT), (9 * PICO, Tone.WARN), (10 * PICO, Tone.BAD)]
)
def test_nearing_the_cap_and_reaching_it_are_seen(bench: Bench, spent: int, tone: Tone) -> None:
    bench.face.change(a_snapshot(money=replace(bench.face.present.money, spent_pico=spent)))
    assert bench.card.slider.tone() is tone
    reached = "The cap is reached. Raise it to serve again."
    assert (bench.card.caption == reached) is (tone is Tone.BAD)


def test_it_foresees_when_the_cap_is_reached(qtbot) -> None:
    face = FakeGateway()
    face.graph = lambda _span: [
        PowerPoint(NOW_US - hours * HOUR_US, 126.0, 171.0, 111.0, 1, 6_580_000_000_000 // 48)
        for hours in (3, 2, 1)
    ]
    bench = Bench(face)
    qtbot.addWidget(bench.window)
    assert bench.card.caption == "nothing held · reached about 5 December"


def test_another_currency_keeps_its_sign_and_its_decimals(bench: Bench, qtbot) -> None:
    money = replace(bench.face.present.money, currency="EUR")
    bench.face.change(a_snapshot(money=money))
    assert bench.card.text == "€3.42 of €10.00"

    async def story() -> None:
        bench.type(qtbot, "€ 20")

    bench.play(story)
    assert bench.caps == [20 * PICO]


def test_the_slider_draws_what_is_spent_from_the_left_and_the_cap_where_its_handle_is(qtbot) -> None:
    slider = CapSlider()
    slider.resize(400, 24)
    qtbot.addWidget(slider)
    slider.show_money(10 * PICO, 5 * PICO, 0)
    image = slider.grab().toImage()
    spent, left, beyond = (image.pixelColor(x, 12).name() for x in (60, 150, 350))
    assert len({spent, left, beyond}) == 3
    assert image.pixelColor(5, 12).name() == spent


def test_next_to_nothing_spent_is_drawn_as_next_to_nothing(qtbot) -> None:
    slider = CapSlider()
    slider.resize(400, 24)
    qtbot.addWidget(slider)
    slider.show_money(10 * PICO, 0, 0)
    before = slider.grab().toImage()
    slider.show_money(10 * PICO, 7_500_000, 0)
    assert slider.grab().toImage() == before


def test_a_cap_for_a_week_says_so_and_when_it_begins_anew(bench: Bench) -> None:
    money = replace(
        bench.face.present.money, cap_period="week", renews="Monday 00:00", renews_us=NOW_US + 40 * HOUR_US
    )
    bench.face.change(a_snapshot(money=money))
    assert bench.card.text == "$3.42 of $10.00 this week"
    assert bench.card.caption == "nothing held · anew from Monday 00:00"
    bench.face.change(a_snapshot(money=replace(money, spent_pico=10 * PICO)))
    assert bench.card.caption == "The cap is reached until Monday 00:00. Raise it to serve before that."


def test_a_cap_that_would_be_reached_only_after_it_began_anew_is_not_foreseen(qtbot) -> None:
    face = FakeGateway()
    face.graph = lambda _span: [
        PowerPoint(NOW_US - hours * HOUR_US, 126.0, 171.0, 111.0, 1, 6_580_000_000_000 // 48)
        for hours in (3, 2, 1)
    ]
    money = replace(
        a_snapshot().money, cap_period="day", renews="Monday 00:00", renews_us=NOW_US + 40 * HOUR_US
    )
    face.change(a_snapshot(money=money))
    bench = Bench(face)
    qtbot.addWidget(bench.window)
    assert bench.card.caption == "nothing held · anew from Monday 00:00"
