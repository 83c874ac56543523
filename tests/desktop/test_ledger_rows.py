"""The rows of a long ledger, of which only some are in memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.desktop.pages.ledger_rows import HEAD_KEPT, PAGES_KEPT, LedgerRows
from app.desktop.record_wording import _OUTCOMES
from app.ledger.listing import Page
from app.ledger.outcomes import RequestOutcome
from tests.desktop.fake_gateway import a_row


@given(st.integers(1, 500), st.integers(1, 40))
def test_pages_one_after_the_other_are_the_whole_list(records: int, size: int) -> None:
    rows = LedgerRows()
    rows.begin(page_of(records, None, size))
    while rows.next is not None:
        rows.append(page_of(records, rows.next, size))
    assert len(rows) == records


def page_of(records: int, before: int | None, size: int) -> Page:
    first = records if before is None else before - 1
    last = max(0, first - size)
    return Page(tuple(a_row(n) for n in range(first, last, -1)), last + 1 if last else None)


class Scrolling(RuleBasedStateMachine):
    """Against a plain list: whatever is scrolled, dropped, fetched again or added, a row is the right row."""

    SIZE = 3

    def __init__(self) -> None:
        super().__init__()
        self.records = 40
        self.rows = LedgerRows()
        self.rows.begin(page_of(self.records, None, self.SIZE))
        self.top = self.records

    @precondition(lambda self: self.rows.next is not None)
    @rule()
    def scroll_down(self) -> None:
        self.rows.append(page_of(self.records, self.rows.next, self.SIZE))

    @rule(place=st.integers(0, 10**6))
    def look(self, place: int) -> None:
        place %= len(self.rows)
        lacking = self.rows.lacking(place)
        if lacking is not None:
            number, cursor = lacking
            first, last = self.rows.refill(number, page_of(self.records, cursor, self.SIZE))
            assert first <= place <= last
        row = self.rows.row(place)
        assert row is not None
        assert row.n == self.top - place

    @rule(count=st.integers(1, 4))
    def records_come(self, count: int) -> None:
        self.records += count
        fresh = self.rows.newer(page_of(self.records, None, self.SIZE))
        if fresh is None:
            self.rows.begin(page_of(self.records, None, self.SIZE))
        else:
            self.rows.prepend(fresh)
        self.top = self.records

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.rows.in_memory <= HEAD_KEPT + PAGES_KEPT * self.SIZE


TestScrolling = Scrolling.TestCase


def test_a_page_after_the_end_is_refused() -> None:
    rows = LedgerRows()
    rows.begin(page_of(2, None, 10))
    with pytest.raises(ValueError, match="end"):
        rows.append(page_of(2, 1, 10))


def test_a_list_that_grew_too_long_on_top_is_read_anew() -> None:
    rows = LedgerRows()
    rows.begin(page_of(10, None, 10))
    records = 10
    while (fresh := rows.newer(page_of(records, None, 200))) is not None:
        rows.prepend(fresh)
        records += 150
    assert HEAD_KEPT - 150 <= len(rows) <= HEAD_KEPT


def test_every_end_of_a_request_has_its_words() -> None:
    assert set(_OUTCOMES) == {outcome.value for outcome in RequestOutcome}
