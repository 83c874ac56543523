"""The ledger page: a million rows by pages, search, and what stands where there is nothing to show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QApplication

from app.desktop.pages.ledger_model import PAGE_ROWS, Column, cell
from app.desktop.pages.ledger_rows import PAGES_KEPT
from app.desktop.pages.record import RecordPanel
from app.desktop.text import ElidedText
from app.ledger.listing import Page
from tests.desktop.fake_gateway import a_row
from tests.desktop.ledger_bench import Bench, benches
from tests.desktop.playing import OFFSCREEN_NOTE, play, running_timers, settled, until

pytestmark = pytest.mark.qt_log_ignore(OFFSCREEN_NOTE)

MILLION = 1_000_000

Make = Callable[[int], Bench]


@pytest.fixture
def bench(qapp: QApplication) -> Iterator[Make]:
    with benches() as make:
        yield make


def test_a_million_records_cost_one_page_until_somebody_scrolls(bench: Make) -> None:
    ledger = bench(MILLION)
    ledger.play()
    assert ledger.face.pages_asked == [(None, PAGE_ROWS, "")]
    assert ledger.model.rowCount() == PAGE_ROWS
    assert ledger.model.row_at(ledger.model.index(0, 0)) == a_row(MILLION)


def test_scrolling_to_the_end_of_what_is_there_fetches_the_next_page(bench: Make) -> None:
    ledger = bench(MILLION)

    async def story() -> None:
        ledger.page.table.scrollToBottom()
        await until(lambda: ledger.model.rowCount() == 2 * PAGE_ROWS)

    ledger.play(story)
    assert ledger.face.pages_asked[1] == (MILLION - PAGE_ROWS + 1, PAGE_ROWS, "")
    assert ledger.model.row_at(ledger.model.index(PAGE_ROWS, 0)) == a_row(MILLION - PAGE_ROWS)


def test_memory_is_bounded_however_far_one_scrolls_and_what_was_dropped_comes_back(bench: Make) -> None:
    ledger = bench(MILLION)
    pages = PAGES_KEPT + 20

    async def story() -> None:
        for _ in range(pages):
            ledger.model.fetchMore(QModelIndex())
            await settled(ledger.tasks)
        assert ledger.model.rowCount() == (pages + 1) * PAGE_ROWS
        assert ledger.model.in_memory <= (PAGES_KEPT + 1) * PAGE_ROWS
        dropped = PAGE_ROWS + 3
        assert ledger.cell(dropped, Column.KEY) == "–"
        await settled(ledger.tasks)
        assert ledger.cell(dropped, Column.KEY) == a_row(MILLION - dropped).key

    ledger.play(story)


def test_the_end_of_the_ledger_is_the_end_of_asking(bench: Make) -> None:
    ledger = bench(PAGE_ROWS + 5)

    async def story() -> None:
        ledger.model.fetchMore(QModelIndex())
        await settled(ledger.tasks)

    ledger.play(story)
    assert ledger.model.rowCount() == PAGE_ROWS + 5
    assert not ledger.model.canFetchMore(QModelIndex())


def test_a_record_reads_like_a_sentence_in_columns() -> None:
    row = a_row(5, key="laptop", model="llama3.1:8b", tok_in=1026, tok_out=340, outcome="client_abort")
    read = [cell(row, column, "USD") for column in Column]
    assert read[1:] == [
        "laptop",
        "llama3.1:8b",
        "client left",
        "1,026 + 340",
        "3.42 s",
        "0.0561 Wh",
        "0.00084 ¢",
        "0.0042 ¢",
    ]


def test_what_a_record_does_not_know_is_a_dash() -> None:
    genesis = a_row(
        1,
        kind="genesis",
        key=None,
        model=None,
        tok_in=None,
        tok_out=None,
        dur_us=None,
        e_uj=None,
        outcome=None,
    )
    read = [cell(genesis, column, "USD") for column in Column]
    assert read[1:7] == ["–", "beginning", "–", "–", "–", "–"]
    aborted = a_row(1, tok_in=26, tok_out=None)
    assert cell(aborted, Column.TOKENS, "USD") == "26 + –"


def test_qt_s_own_tester_finds_nothing_to_complain_about(bench: Make) -> None:
    ledger = bench(3 * PAGE_ROWS)
    tester = QAbstractItemModelTester(ledger.model, QAbstractItemModelTester.FailureReportingMode.Fatal)

    async def story() -> None:
        while ledger.model.canFetchMore(QModelIndex()):
            ledger.model.fetchMore(QModelIndex())
            await settled(ledger.tasks)
        assert ledger.model.rowCount() == 3 * PAGE_ROWS
        await ledger.come(7)
        ledger.model.restart("phone")

    ledger.play(story)
    assert tester.model() is ledger.model


# Searching


def test_what_a_record_is_and_how_it_ended_is_said_and_searched_for_in_plain_words(bench: Make) -> None:
    ledger = bench(40)
    nothing = dict.fromkeys(("key", "model", "tok_in", "tok_out", "e_uj", "outcome"))
    ledger.face.odd_rows[39] = {"kind": "labor", "dur_us": 5_400_000_000, **nothing}
    ledger.face.odd_rows[40] = {"kind": "a kind of later", **nothing}
    ledger.play()
    assert [ledger.cell(row, Column.MODEL) for row in (0, 1)] == ["a kind of later", "labour"]
    assert ledger.cell(1, Column.DURATION) == "1 h 30 min"

    async def story() -> None:
        for words, code in (("Labour", "labor"), ("client left", "client_abort"), ("phone", "phone")):
            ledger.model.restart(words)
            await settled(ledger.tasks)
            assert ledger.face.pages_asked[-1][2] == code
            assert ledger.model.search == words

    ledger.play(story)
    panel = RecordPanel()
    panel.show_title(a_row(39, kind="labor"))
    assert ": labour, " in panel.findChildren(ElidedText)[0].text()


def test_a_search_waits_for_a_pause_in_typing_and_then_asks_once(bench: Make, qtbot) -> None:
    ledger = bench(2000)

    async def story() -> None:
        qtbot.keyClicks(ledger.page.search, "phone")
        assert len(ledger.face.pages_asked) == 1
        assert len(running_timers(ledger.page)) == 1
        await until(lambda: len(ledger.face.pages_asked) > 1)

    ledger.play(story)
    assert ledger.face.pages_asked[1:] == [(None, PAGE_ROWS, "phone")]
    assert ledger.cell(0, Column.KEY) == "phone"
    assert running_timers(ledger.page) == []


def test_enter_searches_at_once_and_only_once(bench: Make, qtbot) -> None:
    ledger = bench(2000)

    async def story() -> None:
        qtbot.keyClicks(ledger.page.search, "phone")
        qtbot.keyClick(ledger.page.search, Qt.Key.Key_Return)
        assert running_timers(ledger.page) == []

    ledger.play(story)
    assert ledger.face.pages_asked[1:] == [(None, PAGE_ROWS, "phone")]


def test_the_next_page_of_a_search_belongs_to_that_search(bench: Make) -> None:
    ledger = bench(2000)

    async def story() -> None:
        ledger.model.restart("phone")
        await settled(ledger.tasks)
        ledger.model.fetchMore(QModelIndex())

    ledger.play(story)
    before, _, search = ledger.face.pages_asked[-1]
    assert search == "phone"
    assert before == ledger.number(PAGE_ROWS - 1)


def test_a_late_answer_to_an_earlier_search_is_dropped(bench: Make) -> None:
    ledger = bench(2000)

    async def story() -> None:
        late = ledger.face.hold_pages = asyncio.Event()
        ledger.model.restart("phone")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ledger.face.hold_pages = None
        ledger.model.restart("laptop")
        await until(lambda: ledger.model.rowCount() and ledger.cell(0, Column.KEY) == "laptop")
        late.set()

    ledger.play(story)
    assert ledger.cell(0, Column.KEY) == "laptop"
    assert ledger.model.search == "laptop"


def test_a_search_that_finds_nothing_says_so(bench: Make) -> None:
    ledger = bench(50)

    async def story() -> None:
        ledger.model.restart("nobody")

    ledger.play(story)
    assert ledger.page.message == "No record matches “nobody”."


def test_an_empty_ledger_says_what_will_be_there_and_how(bench: Make) -> None:
    ledger = bench(0)
    ledger.play()
    said = "Every request leaves a record here. Send one to http://127.0.0.1:8434 with your key."
    assert ledger.page.message == said


def test_while_the_first_page_is_on_its_way_the_table_stands_and_says_so(bench: Make) -> None:
    ledger = bench(50)

    async def story() -> None:
        gate = ledger.face.hold_pages = asyncio.Event()
        ledger.page.show()
        ledger.page.appear()
        ledger.look()
        assert ledger.page.message == "Reading the ledger …"
        assert ledger.page.table.isVisible()
        place = ledger.page.table.geometry()
        gate.set()
        await settled(ledger.tasks)
        assert ledger.page.message == ""
        assert ledger.page.table.geometry() == place

    play(story)


def test_a_ledger_that_cannot_be_read_is_said_and_read_again_on_wish(bench: Make) -> None:
    ledger = bench(50)
    fine = ledger.face.page

    async def broken(before: int | None, limit: int, *, search: str = "") -> Page:
        raise OSError("the disk does not answer")

    async def story() -> None:
        ledger.face.page = broken  # type: ignore[method-assign]
        ledger.model.restart("phone")
        await settled(ledger.tasks)
        ledger.face.page = fine  # type: ignore[method-assign]
        ledger.model.restart("")

    ledger.play(story)
    assert ledger.failures == ["The ledger could not be read: the disk does not answer."]
    assert ledger.model.rowCount() == 50
