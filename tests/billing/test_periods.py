"""A day, a week and a month begin at midnight on the contributor's clocks, whatever those did."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.basics.quarters import QUARTER_US
from app.basics.zones import MachineClocks
from app.billing.periods import ALWAYS, Period, edge_text

HOUR_US = 3_600_000_000
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "America/Havana",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "UTC",
)


def at(text: str, zone: str = "UTC") -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return (moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("period", "now", "begins", "ends"),
    [
        (Period.DAY, "2026-11-28T13:00", "2026-11-28T00:00", "2026-11-29T00:00"),
        (Period.DAY, "2026-12-31T23:59", "2026-12-31T00:00", "2027-01-01T00:00"),
        (Period.WEEK, "2026-11-29T23:59", "2026-11-23T00:00", "2026-11-30T00:00"),  # a Sunday
        (Period.WEEK, "2026-11-30T00:00", "2026-11-30T00:00", "2026-12-07T00:00"),  # a Monday
        (Period.WEEK, "2027-01-01T12:00", "2026-12-28T00:00", "2027-01-04T00:00"),
        (Period.MONTH, "2026-12-31T12:00", "2026-12-01T00:00", "2027-01-01T00:00"),
        (Period.MONTH, "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00"),
    ],
)
def test_a_period_is_the_calendars(period: Period, now: str, begins: str, ends: str) -> None:
    span = period.span(at(now, "Europe/Berlin"), BERLIN)
    assert (span.from_us, span.to_us) == (at(begins, "Europe/Berlin"), at(ends, "Europe/Berlin"))


@pytest.mark.parametrize(
    ("zone", "noon", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00", 25),
        ("America/Santiago", "2026-09-06T12:00", 23),  # its midnight is left out
        ("America/Havana", "2026-11-01T12:00", 25),  # its midnight comes twice
        ("Australia/Lord_Howe", "2026-10-04T12:00", 23.5),
    ],
)
def test_days_on_which_the_clocks_change_are_shorter_or_longer(zone: str, noon: str, hours: float) -> None:
    span = Period.DAY.span(at(noon, zone), ZoneInfo(zone))
    assert span.from_us is not None
    assert span.to_us is not None
    assert (span.to_us - span.from_us) / HOUR_US == hours


def test_a_total_never_ends() -> None:
    assert Period.TOTAL.span(at("2026-11-28T13:00"), BERLIN) == ALWAYS
    assert ALWAYS.holds(0)
    assert ALWAYS.holds(2**63)


@given(
    st.sampled_from([Period.DAY, Period.WEEK, Period.MONTH]),
    st.sampled_from(ZONES),
    st.integers(at("2000-01-01"), at("2090-01-01")),
)
def test_periods_follow_on_each_other_without_gap_and_begin_with_a_quarter_of_an_hour(
    period: Period, name: str, now_us: int
) -> None:
    zone = ZoneInfo(name)
    span = period.span(now_us, zone)
    assert span.from_us is not None
    assert span.to_us is not None
    assert span.holds(now_us)
    assert period.span(span.from_us, zone) == span
    assert period.span(span.to_us - 1, zone) == span
    assert period.span(span.to_us, zone).from_us == span.to_us
    assert span.from_us % QUARTER_US == 0


@pytest.mark.parametrize("now_us", [0, 2**62, 2**63])
def test_a_clock_that_is_plainly_wrong_is_no_fault(now_us: int) -> None:
    for period in Period:
        for zone in ZONES:
            period.span(now_us, ZoneInfo(zone))


def test_the_end_is_said_in_words() -> None:
    now = at("2026-11-28T13:00", "Europe/Berlin")
    assert edge_text(at("2026-11-30T00:00", "Europe/Berlin"), now, BERLIN) == "Monday 00:00"
    assert edge_text(at("2026-12-31T00:00", "Europe/Berlin"), now, BERLIN) == "31 December 00:00"
    assert (Period.DAY.each, Period.DAY.this, Period.MONTH.each, Period.MONTH.this) == (
        "a day",
        "today",
        "a month",
        "this month",
    )
    assert (Period.TOTAL.each, Period.TOTAL.this) == ("", "")


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="platform: Windows sets no zone for one process")
@pytest.mark.parametrize(
    "name", ["Europe/Berlin", "America/Santiago", "America/Havana", "Australia/Lord_Howe"]
)
def test_a_machine_that_does_not_name_its_zone_has_the_same_days(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", name)
    time.tzset()
    try:
        for hours in range(0, 366 * 24, 7):
            now_us = at("2026-01-01") + hours * HOUR_US
            assert Period.DAY.span(now_us, MachineClocks()) == Period.DAY.span(now_us, ZoneInfo(name))
    finally:
        monkeypatch.undo()
        time.tzset()
