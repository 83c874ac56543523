"""Receipts in the faces: what is said of them, the marks of the records, and what the tray says of an overdue one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QApplication

from app.billing.money import PICO
from app.desktop import format as fmt
from app.desktop.pages.ledger_model import Column
from app.desktop.receipt_wording import (
    MARKS,
    deciding,
    record_line,
    state_of,
    summary,
    tooltip_line,
    tray_line,
    worst,
)
from app.desktop.theme import Tone
from app.desktop.tray import Tray
from app.desktop.wording import TOOLTIP_MOST, tooltip
from app.face import ReceiptState, ReceiptsView, Serving
from tests.desktop.fake_gateway import (
    DISPUTED,
    NOW_US,
    OVERDUE,
    PUBLIC,
    SNOOZED,
    FakeGateway,
    a_request,
    a_snapshot,
    busy,
    receipts_of,
)
from tests.desktop.ledger_bench import Bench, benches
from tests.desktop.playing import OFFSCREEN_NOTE, desktop_colours, settled

pytestmark = pytest.mark.qt_log_ignore(OFFSCREEN_NOTE)

Make = Callable[[int], Bench]
MILLION = 10**6

ALL = receipts_of(ReceiptState.ACKNOWLEDGED)
SOME = receipts_of(ReceiptState.WAITING)
OLD_WAY = replace(ALL, way="seed", where="old.example:80")
AHEAD = replace(
    DISPUTED, trouble="ahead", sentence="The receiver has 9 records of ours and we have 7: our newest ones are lost."
)  # fmt: skip
FORK = replace(DISPUTED, trouble="fork", sentence="The receiver at ada.example:8435 holds another history.")
AGAIN = f"It is asked again at {fmt.clock(OVERDUE.next_us)}."
SINCE = fmt.clock(OVERDUE.since_us)


# Words


@pytest.mark.parametrize(
    ("views", "said"),
    [
        ((), ""),
        ((ALL,), "Every record is acknowledged by ada.example:8435."),
        ((OLD_WAY,), "Every record was delivered to old.example:80."),
        ((ALL, replace(ALL, log="c_bob")), "Every record is acknowledged by 2 receivers."),
        ((SOME,), "3 records wait for a receipt from ada.example:8435."),
        ((replace(SOME, acked=MILLION), ALL), "1 record waits for a receipt from 2 receivers."),
        ((OVERDUE,), f"3 records wait for a receipt since {SINCE}. {OVERDUE.sentence} {AGAIN}"),
        (
            (replace(OVERDUE, sentence="", next_us=0),),
            f"3 records wait for a receipt since {SINCE}. ada.example:8435 has not acknowledged them.",
        ),
        (
            (OVERDUE, SOME, DISPUTED),
            f"{DISPUTED.sentence}\n3 records wait for a receipt since {SINCE}. {OVERDUE.sentence} {AGAIN}",
        ),
    ],
)
def test_all_receipts_in_a_line(views: tuple[ReceiptsView, ...], said: str) -> None:
    assert summary(views, NOW_US) == said


def test_of_many_receivers_in_trouble_three_are_told_of_and_the_others_counted() -> None:
    lines = summary((OVERDUE,) * 5, NOW_US).split("\n")
    assert lines[3:] == ["2 other receivers are behind too."]
    assert summary((OVERDUE,) * 4, NOW_US).split("\n")[3] == "1 other receiver is behind too."
    assert len(summary((OVERDUE,) * 3, NOW_US).split("\n")) == 3


@pytest.mark.parametrize(
    ("views", "seq", "said"),
    [
        ((), 4, "Nobody keeps a copy of this log."),
        ((replace(ALL, log="c_bob"),), 4, "Nobody keeps a copy of this log."),
        ((OVERDUE,), 4, "Acknowledged by ada.example:8435, with its signature."),
        ((SOME,), MILLION, "Waiting for a receipt from ada.example:8435."),
        ((replace(SOME, next_us=OVERDUE.next_us),), MILLION, f"Waiting for a receipt from ada.example:8435. {AGAIN}"),
        ((OVERDUE,), MILLION, f"Waiting since {SINCE}. {OVERDUE.sentence} {AGAIN}"),
        ((DISPUTED,), MILLION, f"Contested. {DISPUTED.sentence}"),
        ((OLD_WAY,), 4, "Delivered to old.example:80, which signs nothing."),
        (
            (SOME, OLD_WAY),
            MILLION,
            "Waiting for a receipt from ada.example:8435. Delivered to old.example:80, which signs nothing.",
        ),
        ((replace(SOME, where=""),), MILLION, "Waiting for a receipt from the receiver."),
    ],
)  # fmt: skip
def test_one_record_s_receipts_in_plain_words(views: tuple[ReceiptsView, ...], seq: int, said: str) -> None:
    assert record_line(views, "c_ada", seq, NOW_US) == said


@pytest.mark.parametrize(
    ("view", "state"),
    [
        (ALL, ReceiptState.ACKNOWLEDGED),
        (SOME, ReceiptState.WAITING),
        (OVERDUE, ReceiptState.OVERDUE),
        (DISPUTED, ReceiptState.DISPUTED),
        (FORK, ReceiptState.DISPUTED),
        (AHEAD, ReceiptState.WAITING),
    ],
)
def test_what_was_acknowledged_stays_so_and_the_rest_is_as_its_receiver(
    view: ReceiptsView, state: ReceiptState
) -> None:
    assert state_of(view, view.acked - 1) is ReceiptState.ACKNOWLEDGED
    if view.acked < view.size:
        assert state_of(view, view.acked) is state
    assert state_of(view, view.size + 5) is (ReceiptState.WAITING if view is ALL else state)


@pytest.mark.parametrize("views", [(SOME, OLD_WAY), (OLD_WAY, SOME)])
def test_the_client_s_own_receiver_decides_the_mark(views: tuple[ReceiptsView, ...]) -> None:
    assert deciding(views) == {"c_ada": SOME}
    assert deciding((OLD_WAY,)) == {"c_ada": OLD_WAY}


@pytest.mark.parametrize(
    ("views", "line", "tip"),
    [
        ((), "", ""),
        ((ALL, SOME), "", ""),
        ((OVERDUE, ALL), f"3 records wait for a receipt since {SINCE}", "a receipt is overdue"),
        (
            (OVERDUE, replace(OVERDUE, since_us=NOW_US)),
            f"6 records wait for a receipt since {SINCE}",
            "a receipt is overdue",
        ),
        ((DISPUTED, OVERDUE), "A receiver contests the records", "records contested"),
        ((AHEAD,), "Our newest records are lost, and are being fetched back", "newest records lost"),
        ((AHEAD, FORK), "A receiver holds another history of the records", "records contested"),
    ],
)
def test_the_tray_s_words(views: tuple[ReceiptsView, ...], line: str, tip: str) -> None:
    assert (tray_line(views, NOW_US), tooltip_line(views)) == (line, tip)


def test_every_state_has_a_mark_of_its_own_shape_colour_and_meaning() -> None:
    assert set(MARKS) == set(ReceiptState)
    for part in zip(*MARKS.values(), strict=True):
        assert len(set(part)) == len(ReceiptState)
    assert worst((ALL, SOME, OVERDUE, DISPUTED)) is ReceiptState.DISPUTED


@pytest.mark.parametrize("views", [(OVERDUE,), (DISPUTED,), (AHEAD,)])
@pytest.mark.parametrize("serving", Serving)
def test_the_tooltip_names_it_within_the_127_characters_of_windows(
    serving: Serving, views: tuple[ReceiptsView, ...]
) -> None:
    snapshot = busy(a_snapshot(serving=serving, blocker=SNOOZED, simulated=True, public=PUBLIC), a_request())
    money = replace(snapshot.money, spent_pico=1_234_567 * PICO, cap_pico=9_000_000 * PICO, currency="CHF")
    tip = tooltip(replace(snapshot, money=money, receipts=views))
    assert len(tip) <= TOOLTIP_MOST
    assert tip.endswith(f"CHF 1,234,567.00 of CHF 9,000,000.00\nopen to the internet\n{tooltip_line(views)}")


# The tray


def test_an_overdue_receipt_is_said_in_the_menu_and_in_the_tooltip_until_it_has_come(
    qapp: QApplication,
) -> None:
    face = FakeGateway()
    tray = Tray(face, lambda: None, lambda: None)
    try:
        lines = [action for action in tray.menu.actions() if not action.isSeparator()]
        assert [action.text() for action in lines if action.isVisible()][1] == "Finish, then pause"
        face.change(a_snapshot(receipts=(OVERDUE,)))
        said = next(action for action in lines if action.text().startswith("3 records wait"))
        assert said.isVisible()
        assert not said.isEnabled()
        assert "a receipt is overdue" in tray.icon.toolTip()
        face.change(a_snapshot(receipts=(ALL,)))
        assert not said.isVisible()
        assert "receipt" not in tray.icon.toolTip()
    finally:
        tray.close()


# The ledger page


@pytest.fixture
def bench(qapp: QApplication) -> Iterator[Make]:
    with benches() as make:
        yield make


def see(ledger: Bench, *views: ReceiptsView) -> None:
    """A second passes, in which receivers said something."""
    ledger.receipts = views
    ledger.look()


def marks(ledger: Bench, rows: int) -> list[str]:
    """The words of the marks of the topmost records."""
    index = ledger.model.index
    return [ledger.model.data(index(row, Column.TIME), Qt.ItemDataRole.ToolTipRole) for row in range(rows)]


def decoration(ledger: Bench, row: int, column: Column = Column.TIME) -> QIcon | None:
    found: QIcon | None = ledger.model.data(ledger.model.index(row, column), Qt.ItemDataRole.DecorationRole)
    return found


def test_each_record_has_a_mark_that_says_whether_it_was_acknowledged(bench: Make) -> None:
    ledger = bench(MILLION)

    async def story() -> None:
        see(ledger, OVERDUE)
        assert marks(ledger, 4) == [MARKS[ReceiptState.OVERDUE].words] * 3 + ["Acknowledged"]
        late, acknowledged = decoration(ledger, 2), decoration(ledger, 3)
        assert late is not None
        assert acknowledged is not None
        assert late.cacheKey() != acknowledged.cacheKey()
        assert decoration(ledger, 2, Column.KEY) is None
        read = ledger.model.data(ledger.model.index(2, Column.TIME), Qt.ItemDataRole.AccessibleTextRole)
        assert read == f"{ledger.cell(2, Column.TIME)}, The receipt is overdue"

    ledger.play(story)


def test_a_receipt_that_comes_changes_marks_line_and_record_at_once(bench: Make) -> None:
    ledger = bench(MILLION)

    async def story() -> None:
        see(ledger, OVERDUE)
        ledger.page.table.selectRow(0)
        await settled(ledger.tasks)
        assert ledger.page.record.shown_receipt == record_line((OVERDUE,), "c_ada", MILLION, NOW_US)
        assert ledger.page.receipts.text == summary((OVERDUE,), NOW_US)
        assert ledger.page.receipts.tone is Tone.WARN
        changed: list[tuple[int, int, int]] = []
        ledger.model.dataChanged.connect(
            lambda first, last, _: changed.append((first.row(), last.row(), last.column()))
        )
        see(ledger, ALL)
        assert changed == [(0, ledger.model.rowCount() - 1, Column.TIME)]
        assert marks(ledger, 3) == ["Acknowledged"] * 3
        assert ledger.page.record.shown_receipt == "Acknowledged by ada.example:8435, with its signature."
        assert ledger.page.receipts.tone is Tone.GOOD
        see(ledger, ALL)
        assert len(changed) == 1, "a second in which nothing came repaints nothing"

    ledger.play(story)


def test_a_heartbeat_that_is_late_is_a_record_as_any_other(bench: Make) -> None:
    ledger = bench(MILLION)
    nothing = dict.fromkeys(("key", "model", "tok_in", "tok_out", "dur_us", "e_uj", "outcome"))
    ledger.face.odd_rows[MILLION] = {"kind": "heartbeat", "cost_pico": 0, **nothing}

    async def story() -> None:
        late = replace(OVERDUE, acked=MILLION)
        see(ledger, late)
        assert [ledger.cell(row, Column.MODEL) for row in (0, 1)] == ["heartbeat", "qwen2.5:3b"]
        assert marks(ledger, 2) == [MARKS[ReceiptState.OVERDUE].words, "Acknowledged"]
        assert ledger.page.receipts.text.startswith(f"1 record waits for a receipt since {SINCE}.")
        assert ledger.page.receipts.tone is Tone.WARN
        ledger.page.table.selectRow(0)
        await settled(ledger.tasks)
        assert ledger.page.record.shown_receipt.startswith(f"Waiting since {SINCE}.")

    ledger.play(story)


def test_where_nobody_keeps_a_copy_nothing_is_said_and_no_room_taken(bench: Make) -> None:
    ledger = bench(MILLION)

    async def story() -> None:
        assert not ledger.page.receipts.isVisible()
        assert decoration(ledger, 0) is None
        assert marks(ledger, 1) == [ledger.cell(0, Column.TIME)]
        narrow = ledger.page.table.columnWidth(Column.TIME)
        see(ledger, ALL)
        assert ledger.page.receipts.isVisible()
        assert ledger.page.table.columnWidth(Column.TIME) >= narrow + 16
        see(ledger)
        assert not ledger.page.receipts.isVisible()
        assert ledger.page.table.columnWidth(Column.TIME) == narrow
        ledger.page.table.selectRow(0)
        assert ledger.page.record.shown_receipt == "Nobody keeps a copy of this log."

    ledger.play(story)


def test_the_marks_follow_the_palette(bench: Make) -> None:
    ledger = bench(MILLION)

    async def story() -> None:
        see(ledger, OVERDUE)
        with desktop_colours("Fusion, light"):
            light = decoration(ledger, 0)
        with desktop_colours("Fusion, dark"):
            dark = decoration(ledger, 0)
        assert light is not None
        assert dark is not None
        assert light.pixmap(16).toImage() != dark.pixmap(16).toImage()
        assert dark.pixmap(16, QIcon.Mode.Selected).toImage() != dark.pixmap(16).toImage()

    ledger.play(story)
