"""What is under way on the models page, and that the page stays calm while figures change."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication

from app.engine.host import Progress
from app.models.base import Doing, Fit, Outcome
from tests.desktop.fake_models import (
    GIB,
    OFFERS,
    SOME,
    an_entry,
    an_estimate,
    an_offer,
    an_operation,
)
from tests.desktop.models_bench import Bench, a_bench
from tests.desktop.playing import OFFSCREEN_NOTE, running_timers, settled
from tests.desktop.test_overview import Paints, visible

pytestmark = pytest.mark.qt_log_ignore(OFFSCREEN_NOTE)


@pytest.fixture
def bench(qapp: QApplication) -> Iterator[Bench]:
    with a_bench() as bench:
        yield bench


# What is under way


def test_a_pull_shows_bar_figures_and_cancel_and_its_row_says_so(bench: Bench) -> None:
    bench.open()
    assert not bench.page.shelf.isVisible(), "nothing under way takes no room"
    bench.models.work = (an_operation("gemma3:12b"),)
    bench.look()
    work = bench.work("gemma3:12b")
    assert work.detail == "1.2 of 4.9 GB · 38 MB/s · 2 min left"
    assert work.bar.share == pytest.approx(0.244, abs=0.001)
    assert bench.row("gemma3:12b").button.text() == "Getting"
    work.cancel.click()
    assert bench.face.calls == [("cancel", "op-gemma3:12b")]
    assert not work.cancel.isVisible()
    assert work.again.isVisible()
    assert work.detail == "Cancelled; what came so far is kept."


def test_continue_goes_on_in_the_same_row(bench: Bench) -> None:
    failed = an_operation(
        "gemma3:12b", outcome=Outcome.FAILED, sentence="The network is gone. Continue later."
    )
    bench.models.work = (failed,)
    bench.open()
    work = bench.work("gemma3:12b")
    assert work.detail == "The network is gone. Continue later."
    work.again.click()
    assert bench.face.calls == [("pull", "gemma3:12b")]
    assert bench.work("gemma3:12b") is work
    assert work.cancel.isVisible()
    assert len(bench.page.shelf.shown) == 1


def test_an_update_goes_on_where_its_address_is_known_and_nowhere_else(bench: Bench) -> None:
    bench.open()
    dialog = bench.updating()
    dialog.address.setText("https://example.org/model.gguf")
    dialog.name.setText("mortdecai:0.6.0")
    dialog.get.click()
    bench.models.end(bench.models.work[0].id, Outcome.FAILED, "The network is gone. Continue later.")
    bench.models.work += (
        an_operation("pushed:1", doing=Doing.UPDATE, outcome=Outcome.FAILED, sentence="No."),
    )
    bench.look()
    assert not bench.work("pushed:1", Doing.UPDATE).again.isVisible()
    bench.work("mortdecai:0.6.0", Doing.UPDATE).again.click()
    assert bench.face.calls[-1] == ("update", "mortdecai:0.6.0", "https://example.org/model.gguf", "")


def test_an_update_that_another_face_began_goes_on_with_its_checksum(bench: Bench) -> None:
    begun = an_operation(
        "m:1",
        doing=Doing.UPDATE,
        source="https://example.org/m.gguf",
        sha256="ab" * 32,
        outcome=Outcome.FAILED,
    )
    bench.models.work = (begun,)
    bench.open()
    bench.work("m:1", Doing.UPDATE).again.click()
    assert bench.face.calls == [("update", "m:1", "https://example.org/m.gguf", "ab" * 32)]


def test_hundreds_of_models_are_shown_a_row_at_a_time_from_the_top(bench: Bench) -> None:
    bench.models.present = tuple(an_entry(f"model:{n:03}") for n in range(200))
    bench.page.show()
    bench.page.appear()
    bench.page.show_snapshot(bench.face.snapshot())
    assert bench.page.list.here.names == ("model:000",)
    assert bench.page.list.here.sum.text().startswith("200 models")
    seen = [1]
    while bench.page.list.making:
        QApplication.processEvents()
        seen.append(len(bench.page.list.here.names))
    assert max(later - before for before, later in pairwise(seen)) <= 2
    assert bench.page.list.here.names == tuple(entry.name for entry in bench.models.present)


def test_what_changes_while_rows_are_being_made_is_what_is_shown(bench: Bench) -> None:
    bench.models.present = tuple(an_entry(f"model:{n:03}") for n in range(40))
    bench.page.show()
    bench.page.appear()
    bench.page.show_snapshot(bench.face.snapshot())
    QApplication.processEvents()
    bench.models.present = tuple(an_entry(f"model:{n:03}") for n in range(1, 40, 2))
    bench.look()
    assert bench.page.list.here.names == tuple(entry.name for entry in bench.models.present)


def test_what_failed_stays_until_it_is_put_away(bench: Bench) -> None:
    bench.models.work = (an_operation("gemma3:12b", outcome=Outcome.FAILED, sentence="The disk is full."),)
    bench.open()
    bench.look()
    bench.work("gemma3:12b").close_button.click()
    bench.look()
    assert bench.page.shelf.shown == ()
    assert not bench.page.shelf.isVisible()


def test_what_ended_well_is_news_only_to_who_saw_it_run(bench: Bench) -> None:
    done = an_operation("gemma3:12b", outcome=Outcome.DONE, sentence="gemma3:12b is here.")
    bench.models.work = (done, an_operation("qwen3:0.6b"))
    bench.open()
    assert bench.page.shelf.shown == ("op-qwen3:0.6b",)
    bench.models.end("op-qwen3:0.6b", Outcome.DONE, "qwen3:0.6b is here.")
    bench.look()
    assert visible(bench.work("qwen3:0.6b")) == "qwen3:0.6b is here.", "in one line, and once"


def test_a_press_on_a_model_under_way_leads_to_its_row_on_the_shelf(bench: Bench) -> None:
    bench.models.work = (an_operation("gemma3:12b"),)
    bench.open()
    bench.page.activateWindow()
    bench.row("gemma3:12b").button.click()
    assert bench.page.focusWidget() is bench.work("gemma3:12b").cancel
    assert bench.face.calls == []


def test_many_pulls_leave_the_list_room(bench: Bench) -> None:
    bench.models.work = tuple(an_operation(f"model:{n}") for n in range(12))
    bench.page.resize(720, 470)
    bench.open()
    assert len(bench.page.shelf.shown) == 12
    assert bench.page.shelf.height() < bench.page.height() / 2


# Calm


def test_a_second_of_progress_keeps_focus_place_and_rows(bench: Bench) -> None:
    bench.models.present = tuple(an_entry(f"model:{n}") for n in range(60))
    bench.models.work = (an_operation("model:3"),)
    bench.open()
    bench.page.activateWindow()
    bar = bench.page.list.verticalScrollBar()
    bar.setValue(bar.maximum() // 2)
    row = bench.row("model:30")
    row.button.setFocus()
    place, pull = row.mapTo(bench.page, row.rect().topLeft()), bench.work("model:3")
    progress = Progress("Downloading", 2_000_000_000, 4_920_753_328, 40_000_000.0, 70.0)
    bench.models.work = (an_operation("model:3", progress=progress),)
    bench.models.change("model:29", loaded=True, vram_b=6 * GIB)
    bench.look()
    assert bench.work("model:3") is pull
    assert pull.detail.startswith("2.0 of 4.9 GB")
    assert bench.row("model:29").button.text() == "Unload"
    assert bench.page.focusWidget() is row.button
    assert row.mapTo(bench.page, row.rect().topLeft()) == place


def test_a_pull_that_begins_or_ends_moves_no_row(bench: Bench) -> None:
    bench.models.present = tuple(an_entry(f"model:{n}") for n in range(60))
    bench.open()
    bar = bench.page.list.verticalScrollBar()
    bar.setValue(bar.maximum() // 2)
    row = bench.row("model:25")
    place = row.mapTo(bench.page, row.rect().topLeft())
    bench.models.work = (an_operation("model:3"), an_operation("model:4"))
    bench.look()
    assert row.mapTo(bench.page, row.rect().topLeft()) == place
    bench.models.work = ()
    bench.look()
    assert row.mapTo(bench.page, row.rect().topLeft()) == place


def test_a_model_that_has_come_moves_to_those_on_this_machine(bench: Bench) -> None:
    bench.open()
    bench.models.present = (
        *SOME,
        an_entry("qwen3:0.6b", size_b=523_000_000),
        *(offer for offer in OFFERS if offer.name != "qwen3:0.6b"),
    )
    bench.look()
    assert bench.page.list.here.names[-1] == "qwen3:0.6b"
    assert "qwen3:0.6b" not in bench.page.list.catalogue.names
    assert bench.row("qwen3:0.6b").button.text() == "Load"


def test_a_new_model_in_the_middle_leaves_the_other_rows_what_they_are(bench: Bench) -> None:
    bench.open()
    row = bench.row("qwen2.5:3b")
    bench.models.present = (SOME[0], an_entry("new:1"), *SOME[1:], *OFFERS)
    bench.look()
    assert bench.page.list.here.names == ("llama3.1:8b", "new:1", "mortdecai:0.5.0", "qwen2.5:3b")
    assert bench.row("qwen2.5:3b") is row


def test_a_second_without_news_repaints_nothing(bench: Bench) -> None:
    bench.models.work = (an_operation("gemma3:12b"),)
    bench.open()
    bench.look()
    paints = Paints(bench.page)
    bench.look()
    assert paints.count == 0


def test_columns_stand_under_each_other_in_both_cards(bench: Bench) -> None:
    bench.open()
    rows = [bench.row(name) for name in ("llama3.1:8b", "qwen2.5:3b", "qwen3:0.6b", OFFERS[-1].name)]
    places = {row.button.mapTo(bench.page, row.button.rect().topLeft()).x() for row in rows}
    assert len(places) == 1


@pytest.mark.parametrize("width", [720, 960, 1600])
def test_nothing_is_wider_than_the_page(bench: Bench, width: int) -> None:
    long = "somebody/" + "a-very-long-name-" * 9 + ":latest"
    bench.models.present = (
        an_entry(long, loaded=True, vram_b=GIB),
        an_offer(long + "2", 43_000_000_000, Fit.PARTLY, note="A long note. " * 12),
    )
    bench.models.work = (an_operation(long, outcome=Outcome.FAILED, sentence="A long sentence. " * 12),)
    bench.page.resize(width, 480)
    bench.open()
    assert bench.page.width() == width
    for part in (bench.row(long).more, bench.row(long + "2").button, bench.work(long).close_button):
        assert part.isVisible()
        assert part.mapTo(bench.page, part.rect().topRight()).x() <= width - 16


def test_out_of_sight_it_asks_nothing_and_runs_no_timer(bench: Bench) -> None:
    assert bench.models.asked_entries == 0
    bench.open()

    async def story() -> None:
        bench.row("llama3.1:8b").button.click()
        bench.page.vanish()
        asked = bench.models.asked_entries
        await settled(bench.tasks)
        assert bench.models.asked_entries == asked, "not even when what was begun ends"

    bench.play(story)
    assert running_timers(bench.page) == []


# The keyboard


def test_tab_walks_through_every_row_and_the_shelf(bench: Bench) -> None:
    bench.models.work = (an_operation("gemma3:12b"),)
    bench.open()
    bench.page.activateWindow()
    bench.page.name.setFocus()
    reached = set()
    for _ in range(60):
        reached.add(bench.page.focusWidget())
        bench.page.focusNextChild()
    for name in ("llama3.1:8b", "qwen2.5:3b"):
        assert {bench.row(name).button, bench.row(name).more} <= reached
    assert bench.row("qwen3:0.6b").button in reached
    assert bench.work("gemma3:12b").cancel in reached


def test_the_space_bar_presses_and_find_leads_to_the_name(bench: Bench, qtbot) -> None:
    bench.open()
    bench.page.activateWindow()
    bench.row("qwen3:0.6b").button.setFocus()
    qtbot.keyClick(bench.row("qwen3:0.6b").button, Qt.Key.Key_Space)
    assert bench.face.calls == [("pull", "qwen3:0.6b")]
    qtbot.keyClick(bench.page, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    assert bench.page.focusWidget() is bench.page.name


def test_cancelling_by_keyboard_leaves_the_cursor_in_the_row(bench: Bench, qtbot) -> None:
    bench.models.work = (an_operation("gemma3:12b"),)
    bench.open()
    bench.page.activateWindow()
    work = bench.work("gemma3:12b")
    work.cancel.setFocus()
    qtbot.keyClick(work.cancel, Qt.Key.Key_Space)
    assert bench.page.focusWidget() is work.again


def test_estimates_of_every_kind_have_a_row(bench: Bench) -> None:
    bench.models.present = tuple(an_entry(f"m:{fit}", estimate=an_estimate(fit)) for fit in Fit)
    bench.open()
    read = visible(bench.page.list.here)
    for word in ("Fits", "Just fits", "Slow", "Too large", "Not known"):
        assert word in read
