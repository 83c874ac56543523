"""A record that says its work ended, or began, long before what stands before it is named, and honest ones are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.drafts import Draft, HeartbeatDraft, LaborDraft, UptimeDraft
from app.ledger.ids import uuid7
from app.receiver.dating import NAMED, TOLERATED_US, Dating
from tests.receiver.sending import START_US, usage

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def noted(*drafts: Draft) -> tuple[str, ...]:
    dating = Dating()
    for seq, draft in enumerate(drafts):
        dating.take(seq, draft)
    return dating.notes


def work(ended_us: int, lasted_us: int = 1_000_000, **changes: object) -> Draft:
    return usage(t0=ended_us - lasted_us, t1=ended_us, dur_us=lasted_us, **changes)


def uptime(ended_us: int) -> UptimeDraft:
    return UptimeDraft(
        uuid7(ended_us, 7), ended_us - HOUR_US, ended_us, HOUR_US, e_uj=1, e_src="nvml", tariff="t_1", cost=1
    )


def heartbeat(at_us: int) -> HeartbeatDraft:
    return HeartbeatDraft(uuid7(at_us, 3), at_us)


def labour(at_us: int) -> LaborDraft:
    return LaborDraft(uuid7(at_us, 5), at_us, at_us + HOUR_US, HOUR_US, note="set up", cost=1)


@pytest.mark.parametrize("before", [work, uptime, heartbeat])
@pytest.mark.parametrize("dated_back", [work, uptime])
def test_work_that_ended_a_week_before_what_stands_before_it_is_named(before, dated_back) -> None:
    (note,) = noted(before(START_US), dated_back(START_US - 7 * DAY_US))
    assert note.startswith("Record 1 says that its work ended 2025-11-")
    assert "7 days before record 0" in note
    assert note.endswith("it was dated back, or the gateway's clock was set back.")


def test_work_that_is_said_to_have_begun_long_before_it_can_have_is_named() -> None:
    (note,) = noted(usage(t0=START_US - 31 * DAY_US, t1=START_US, dur_us=1_000_000))
    assert "began" in note
    assert "30 days earlier than it can have" in note


def test_what_ran_side_by_side_and_clocks_that_are_set_a_little_are_no_matter() -> None:
    assert noted(work(START_US), work(START_US - TOLERATED_US), uptime(START_US - 20_000_000)) == ()
    assert noted(work(START_US), usage(t0=START_US - HOUR_US, t1=START_US, dur_us=1)) == ()
    assert noted(work(START_US, lasted_us=3 * DAY_US)) == ()


def test_labour_is_written_down_later() -> None:
    assert noted(work(START_US), labour(START_US - 30 * DAY_US), work(START_US)) == ()
    assert noted(labour(START_US + 30 * DAY_US), work(START_US)) == ()


def test_the_latest_of_all_counts_and_not_the_last() -> None:
    notes = noted(work(START_US), work(START_US - 2 * HOUR_US), work(START_US - 2 * HOUR_US))
    assert [note.split(" says")[0] for note in notes] == ["Record 1", "Record 2"]
    assert all("2 hours before record 0" in note for note in notes)


def test_a_clock_that_is_set_back_for_good_is_told_in_a_few_sentences() -> None:
    notes = noted(work(START_US), *(work(START_US - DAY_US + n) for n in range(50)))
    assert len(notes) == NAMED + 1
    assert notes[-1] == f"So do {50 - NAMED} more records."


@given(st.lists(st.integers(0, TOLERATED_US), min_size=1, max_size=30))
def test_no_log_in_which_time_goes_on_is_noted(steps: list[int]) -> None:
    at, drafts = START_US, []
    for step in steps:
        at += step
        drafts.append(work(at - step // 2))
    assert noted(*drafts) == ()
