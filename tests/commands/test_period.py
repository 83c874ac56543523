"""Periods as people say them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from app.commands.common import CommandError
from app.commands.period import period_us


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def utc(us: int | None) -> str:
    assert us is not None
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@pytest.mark.parametrize(
    ("since", "until", "begins", "ends"),
    [
        ("2026-08", "2026-08", "2026-07-31T22:00:00", "2026-08-31T22:00:00"),
        ("2026-12", "2026-12", "2026-11-30T23:00:00", "2026-12-31T23:00:00"),
        ("2026-08-31", "2026-08-31", "2026-08-30T22:00:00", "2026-08-31T22:00:00"),
        # The days on which the clocks change have 23 and 25 hours.
        ("2026-03-29", "2026-03-29", "2026-03-28T23:00:00", "2026-03-29T22:00:00"),
        ("2026-10-25", "2026-10-25", "2026-10-24T22:00:00", "2026-10-25T23:00:00"),
        ("2026-08-31T18:00", "2026-08-31T18:30:01", "2026-08-31T16:00:00", "2026-08-31T16:30:01"),
        ("2026-08-31T18:00+00:00", "2026-08-31T18:00Z", None, None),
        ("2026-08-31T18:00Z", "2026-09", "2026-08-31T18:00:00", "2026-09-30T22:00:00"),
    ],
)
def test_a_month_and_a_day_are_meant_whole(
    since: str, until: str, begins: str | None, ends: str | None
) -> None:
    if begins is None:
        with pytest.raises(CommandError, match="Nothing lies between"):
            period_us(since, until)
        return
    from_us, to_us = period_us(since, until)
    assert (utc(from_us), utc(to_us)) == (begins, ends)


def test_a_period_may_be_open_on_either_side() -> None:
    assert period_us(None, None) == (None, None)
    assert period_us("2026-08", None)[1] is None
    assert period_us(None, "2026-08")[0] is None


@pytest.mark.parametrize(
    "text", ["", "x", "2026", "2026-13", "2026-00", "2026-02-30", "0000-01", "9999-12", "٢٠٢٦-٠٨", "1e9"]
)
def test_what_is_no_time_is_said_with_an_example(text: str) -> None:
    for period in ((text, None), (None, text)):
        if text == "9999-12" and period[1] is None:
            continue
        with pytest.raises(CommandError, match="for example 2026-08"):
            period_us(*period)
