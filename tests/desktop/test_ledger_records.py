"""The ledger page while records come, one record in full, and the verdict over all of them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from app.desktop.pages.ledger_model import PAGE_ROWS
from app.ledger.listing import Page
from tests.desktop.fake_gateway import a_snapshot
from tests.desktop.ledger_bench import Bench, benches
from tests.desktop.playing import OFFSCREEN_NOTE, settled, until

pytestmark = pytest.mark.qt_log_ignore(OFFSCREEN_NOTE)

Make = Callable[[int], Bench]


@pytest.fixture
def bench(qapp: QApplication) -> Iterator[Make]:
    with benches() as make:
        yield make


# New records


def test_new_records_move_in_on_top_while_the_top_is_in_sight(bench: Make) -> None:
    ledger = bench(1000)

    async def story() -> None:
        await ledger.come(3)

    ledger.play(story)
    assert [ledger.number(row) for row in range(4)] == [1003, 1002, 1001, 1000]
    assert ledger.model.rowCount() == PAGE_ROWS + 3


def test_the_chosen_record_stays_chosen_while_others_come(bench: Make) -> None:
    ledger = bench(1000)

    async def story() -> None:
        ledger.page.table.selectRow(2)
        await settled(ledger.tasks)
        await ledger.come(3)

    ledger.play(story)
    (index,) = ledger.page.table.selectionModel().selectedRows()
    assert index.row() == 5
    assert '"seq":998' in ledger.page.record.shown_body


def test_further_down_new_records_are_announced_and_move_nothing(bench: Make) -> None:
    ledger = bench(1000)

    async def story() -> None:
        ledger.page.table.verticalScrollBar().setValue(400)
        top = ledger.model.row_at(ledger.page.table.indexAt(ledger.page.table.rect().center()))
        await ledger.come(3)
        assert ledger.page.newest.isVisible()
        assert ledger.model.row_at(ledger.page.table.indexAt(ledger.page.table.rect().center())) == top
        ledger.page.newest.click()
        await settled(ledger.tasks)
        assert not ledger.page.newest.isVisible()
        assert ledger.number(0) == 1003
        assert ledger.page.table.verticalScrollBar().value() == 0

    ledger.play(story)


def test_more_new_records_than_a_page_are_read_anew(bench: Make) -> None:
    ledger = bench(1000)

    async def story() -> None:
        await ledger.come(5000)

    ledger.play(story)
    assert ledger.number(0) == 6000
    assert ledger.model.rowCount() == PAGE_ROWS


def test_an_older_page_that_arrives_after_the_list_was_read_anew_is_dropped(bench: Make) -> None:
    ledger = bench(1000)

    async def story() -> None:
        slow = asyncio.Event()
        ledger_page = ledger.face.page

        async def older_pages_are_slow(before: int | None, limit: int, *, search: str = "") -> Page:
            page = await ledger_page(before, limit, search=search)
            if before is not None:
                await slow.wait()
            return page

        ledger.face.page = older_pages_are_slow  # type: ignore[method-assign]
        ledger.face.records += 5000
        ledger.look()
        ledger.model.fetchMore(QModelIndex())
        await until(lambda: ledger.number(0) == 6000)
        slow.set()
        await settled(ledger.tasks)
        assert ledger.model.rowCount() == PAGE_ROWS
        ledger.model.fetchMore(QModelIndex())

    ledger.play(story)
    assert [ledger.number(row) for row in range(2 * PAGE_ROWS)] == list(range(6000, 6000 - 2 * PAGE_ROWS, -1))


def test_a_record_that_is_no_request_is_noticed_by_its_money(bench: Make) -> None:
    ledger = bench(1000)

    async def story() -> None:
        ledger.face.records += 1
        snapshot = a_snapshot()
        usage = replace(snapshot.usage, requests=1000)
        ledger.page.show_snapshot(replace(snapshot, usage=usage, money=replace(snapshot.money, spent_pico=1)))

    ledger.play(story)
    assert ledger.number(0) == 1001


def test_the_first_record_takes_the_place_of_the_empty_message(bench: Make) -> None:
    ledger = bench(0)

    async def story() -> None:
        await ledger.come(1)

    ledger.play(story)
    assert ledger.page.message == ""
    assert ledger.model.rowCount() == 1


def test_seconds_in_which_nothing_happened_ask_nothing(bench: Make) -> None:
    ledger = bench(1000)
    ledger.play()
    asked = len(ledger.face.pages_asked)

    async def story() -> None:
        for _ in range(3):
            ledger.look()

    ledger.play(story)
    assert len(ledger.face.pages_asked) == asked


# One record


def test_a_chosen_record_shows_the_exact_bytes_and_their_leaf_hash(bench: Make) -> None:
    ledger = bench(1000)
    assert not ledger.page.record.isVisible()

    async def story() -> None:
        ledger.page.table.selectRow(0)

    ledger.play(story)
    body = ledger.page.record.shown_body.encode()
    assert body == asyncio.run(ledger.face.entries("c_ada", 1000, 1))[0]
    assert ledger.page.record.shown_hash == hashlib.sha256(b"\x00" + body).hexdigest()
    ledger.press("Copy hash")
    assert QGuiApplication.clipboard().text() == ledger.page.record.shown_hash
    ledger.press("Copy bytes")
    assert QGuiApplication.clipboard().text().encode() == body


@pytest.mark.parametrize("way", ["button", "key"])
def test_the_record_is_closed_again(bench: Make, qtbot, way: str) -> None:
    ledger = bench(1000)

    async def story() -> None:
        ledger.page.table.selectRow(0)
        await settled(ledger.tasks)
        if way == "button":
            ledger.press("Close")
        else:
            qtbot.keyClick(ledger.page.table, Qt.Key.Key_Escape)

    ledger.play(story)
    assert not ledger.page.record.isVisible()


def test_of_two_records_chosen_quickly_the_second_is_shown(bench: Make) -> None:
    ledger = bench(1000)

    async def story() -> None:
        ledger.page.table.selectRow(0)
        ledger.page.table.selectRow(1)

    ledger.play(story)
    assert '"seq":999' in ledger.page.record.shown_body


# Verifying


def test_verify_shows_the_verdict_and_cannot_be_asked_twice_meanwhile(bench: Make) -> None:
    ledger = bench(1000)

    async def story() -> None:
        ledger.page.verify.click()
        assert not ledger.page.verify.isEnabled()
        assert ledger.page.verdict.isVisible()
        await settled(ledger.tasks)
        assert ledger.page.verify.isEnabled()

    ledger.play(story)
    assert ledger.page.verdict.text() == "All 1,000 records are as they were signed."


def test_a_verification_that_fails_leaves_no_verdict_behind(bench: Make) -> None:
    ledger = bench(10)

    async def broken() -> str:
        raise RuntimeError("The ledger is in use by another gateway. Stop that one first.")

    ledger.face.verify = broken  # type: ignore[method-assign]

    async def story() -> None:
        ledger.page.verify.click()

    ledger.play(story)
    assert not ledger.page.verdict.isVisible()
    assert ledger.page.verify.isEnabled()
    assert ledger.failures[0].startswith("The ledger could not be verified.")
