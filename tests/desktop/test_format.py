"""Figures, times and typed amounts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QLocale

from app.billing.money import PICO, format_money
from app.desktop import format as fmt
from app.desktop.cards.cap import parse_money
from app.power.history import DAY_US
from tests.desktop.fake_gateway import NOW_US


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    before = QLocale()
    QLocale.setDefault(QLocale(QLocale.Language.German, QLocale.Country.Germany))
    yield
    QLocale.setDefault(before)
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("uj", "shown"),
    [
        (201_780_000, "0.0561 Wh"),
        (35_999_000_000, "10.0 Wh"),
        (3_600_000_000, "1.00 Wh"),
        (44_460_000_000, "12.3 Wh"),
        (4_428_000_000_000, "1.23 kWh"),
        (4_428_000_000_000_000, "1,230 kWh"),
        (1_000_000, "0.278 mWh"),
        (0, "0 Wh"),
        (None, "–"),
    ],
)
def test_energy_has_three_figures(uj: int | None, shown: str) -> None:
    assert fmt.energy(uj) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(171.4, "171 W"), (0.2, "0 W"), (None, "–"), (float("nan"), "–")]
)
def test_watts_are_whole_and_the_unknown_is_a_dash(value: float | None, shown: str) -> None:
    assert fmt.watts(value) == shown


@pytest.mark.parametrize(
    ("used", "total", "shown"),
    [
        (int(7.8 * 2**30), 24 * 2**30, "7.8 of 24 GB"),
        (8 * 2**30, None, "8 GB"),
        (None, 24 * 2**30, "–"),
        (100 * 2**30, 143771 * 2**20, "100 of 140 GB"),
    ],
)
def test_memory_is_counted_as_graphics_cards_are_sold(
    used: int | None, total: int | None, shown: str
) -> None:
    assert fmt.memory(used, total) == shown


@pytest.mark.parametrize(
    ("us", "shown"),
    [
        (3_420_000, "3.42 s"),
        (59_960_000, "60.0 s"),
        (64_000_000, "1 min 04 s"),
        (7_384_000_000, "2 h 03 min"),
        (None, "–"),
    ],
)
def test_durations_read_like_durations(us: int | None, shown: str) -> None:
    assert fmt.duration(us) == shown


def test_times_are_in_the_users_zone_and_format(berlin: None) -> None:
    assert fmt.clock(NOW_US) == "15:02"
    assert fmt.clock(NOW_US, seconds=True) == "15:02:31"
    assert fmt.day(NOW_US) == "3 Dezember"
    assert fmt.when(NOW_US, NOW_US) == "15:02"
    assert fmt.when(NOW_US + DAY_US, NOW_US) == "4 Dezember, 15:02"
    assert fmt.stamp(NOW_US) == "03.12.26 15:02:31"


def test_a_locale_that_writes_the_month_first_and_twelve_hours_is_followed(berlin: None) -> None:
    QLocale.setDefault(QLocale(QLocale.Language.English, QLocale.Country.UnitedStates))
    assert fmt.day(NOW_US) == "December 3"
    assert fmt.clock(NOW_US, seconds=True).replace("\u202f", " ") == "3:02:31 PM"


@pytest.mark.parametrize(
    ("typed", "amount"),
    [
        ("10", "10"),
        ("$10.00", "10.00"),
        (" $ 3.42 ", "3.42"),
        ("3,42", "3.42"),
        ("0,005", "0.005"),
        ("1,000", "1000"),
        ("1,234.5", "1234.5"),
        ("1 000", "1000"),
        (".5", ".5"),
        ("0", "0"),
    ],
)
def test_an_amount_is_read_as_people_write_it(typed: str, amount: str) -> None:
    assert fmt.parse_amount(typed, symbol="$") == Decimal(amount)


def test_a_german_thousand_is_a_thousand_where_the_locale_groups_with_a_point() -> None:
    assert fmt.parse_amount("1.000", decimal_point=",", group=".") == 1000
    assert fmt.parse_amount("1.000,50", decimal_point=",", group=".") == Decimal("1000.50")
    assert fmt.parse_amount("3.42", decimal_point=",", group=".") == Decimal("3.42")


@pytest.mark.parametrize("typed", ["", "ten", "1.2.3", "1,23,4", "-5", "1e3", "٣", "NaN", "$", ".", "10 EUR"])
def test_what_is_no_amount_or_reads_two_ways_is_refused(typed: str) -> None:
    assert fmt.parse_amount(typed, symbol="$") is None


@given(cents=st.integers(0, 9 * 10**8), currency=st.sampled_from(["USD", "EUR", "CHF", "GBP"]))
def test_an_amount_that_is_shown_can_be_typed_back(cents: int, currency: str) -> None:
    pico = cents * PICO // 100
    assert parse_money(format_money(pico, currency), currency) == pico


def test_a_code_after_the_amount_is_understood_and_a_fortune_refused() -> None:
    assert parse_money("12 USD", "USD") == 12 * PICO
    assert parse_money("99999999", "USD") is None


NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-12-03 14:00", "2026-12-04 06:00"),
        ("2026-12-03 23:30", "2026-12-04 06:00"),
        ("2026-12-03 01:00", "2026-12-03 06:00"),
        ("2026-12-03 04:00", "2026-12-04 06:00"),
    ],
)
def test_until_tomorrow_is_the_next_morning_that_leaves_time_to_rest(now: str, until: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=NEW_YORK)
    assert fmt.until_tomorrow(moment).strftime("%Y-%m-%d %H:%M") == until


def test_until_tomorrow_wants_a_zone() -> None:
    with pytest.raises(ValueError, match="zone"):
        fmt.until_tomorrow(datetime(2026, 12, 3, 14, 0))


@given(st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)))
def test_until_tomorrow_is_three_to_twenty_seven_hours_away(now: datetime) -> None:
    away = fmt.until_tomorrow(now) - now
    assert timedelta(hours=3) <= away < timedelta(hours=27)


@pytest.mark.parametrize(
    ("size_b", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (12_345, "12 kB"),
        (637_000_000, "637 MB"),
        (999_600_000, "1.0 GB"),
        (4_920_753_328, "4.9 GB"),
        (43_000_000_000, "43.0 GB"),
        (404_000_000_000, "404 GB"),
    ],
)
def test_files_are_counted_as_disks_count(size_b: int, said: str) -> None:
    assert fmt.size(size_b) == said


def test_how_far_a_download_is_has_one_unit() -> None:
    assert fmt.size_of(1_200_000_000, 4_920_753_328) == "1.2 of 4.9 GB"
    assert fmt.size_of(900_000, 637_000_000) == "1 of 637 MB"
    assert fmt.size_of(5_000_000_000, 4_920_753_328) == "4.9 of 4.9 GB"


@pytest.mark.parametrize(
    ("rate", "said"),
    [(38_200_000, "38 MB/s"), (1_250_000, "1.2 MB/s"), (512, "512 B/s"), (1.2e9, "1.2 GB/s")],
)
def test_speed_has_as_many_digits_as_say_something(rate: float, said: str) -> None:
    assert fmt.speed(rate) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "a few seconds left"),
        (18.4, "20 s left"),
        (50, "50 s left"),
        (51, "1 min left"),
        (98, "2 min left"),
        (3590, "1 h 00 min left"),
        (3900, "1 h 05 min left"),
        (90_000, "more than a day left"),
    ],
)
def test_the_time_left_is_as_coarse_as_a_guess(seconds: float, said: str) -> None:
    assert fmt.time_left(seconds) == said
