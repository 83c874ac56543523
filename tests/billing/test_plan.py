"""The tariff of a day says what the plan says of every moment of it, on days of 23, 24 and 25 hours."""

from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.basics.price_hours import DAYS, Holiday, parse_holiday, parse_price_hours
from app.billing.metered import MeteredEnergy
from app.billing.money import to_pico
from app.billing.plan import FlatPlan, SeriesPlan, WeeklyPlan
from app.billing.pricing import BillingMode, Pricing
from app.billing.series import PriceSeries, PriceSlot

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_US = 3_600_000_000
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "UTC",
]


def us(text: str, zone: str = "Europe/Berlin") -> int:
    at = datetime.fromisoformat(text)
    at = at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))
    return round(at.timestamp()) * 1_000_000


def weekly(*lines: str, holidays: tuple[str, ...] = (), zone: str = "Europe/Berlin") -> WeeklyPlan:
    return WeeklyPlan(
        "EUR",
        Decimal("0.30"),
        tuple(map(parse_price_hours, lines)),
        tuple(map(parse_holiday, holidays)),
        ZoneInfo(zone),
    )


def price(plan: WeeklyPlan | SeriesPlan | FlatPlan, text: str) -> Decimal:
    at_us = us(text)
    return Decimal(plan.on(at_us).tariff.price_at(at_us)) / 10**12


def test_a_weekly_table_has_its_prices_at_its_hours_and_the_usual_one_between_them() -> None:
    plan = weekly(
        "mon-fri 17:00-20:00 0.42",
        "22:00-06:00 0.18",
        "sat,sun 0:00-24:00 0.20".replace("0:00-", "00:00-", 1),
    )
    assert price(plan, "2026-11-27T16:59") == Decimal("0.30")
    assert price(plan, "2026-11-27T17:00") == Decimal("0.42")
    assert price(plan, "2026-11-27T20:00") == Decimal("0.30")
    assert price(plan, "2026-11-27T23:00") == Decimal("0.18")
    assert price(plan, "2026-11-28T05:59") == Decimal("0.18")  # the night that began on Friday
    assert price(plan, "2026-11-28T12:00") == Decimal("0.20")


def test_on_a_holiday_only_those_lines_hold_that_say_so() -> None:
    plan = weekly(
        "mon-fri 17:00-20:00 0.42", "sun,holidays 00:00-24:00 0.1", holidays=("2026-11-27", "12-25")
    )
    assert price(plan, "2026-11-27T18:00") == Decimal("0.1")
    assert price(plan, "2026-11-26T18:00") == Decimal("0.42")
    assert price(plan, "2031-12-25T18:00") == Decimal("0.1")


def test_a_season_has_its_own_prices_and_a_season_goes_around_the_year() -> None:
    plan = weekly("nov-apr daily 07:00-11:00 0.5", "may-oct 07:00-11:00 -0.05")
    assert price(plan, "2026-01-05T08:00") == Decimal("0.5")
    assert price(plan, "2026-07-05T08:00") == Decimal("-0.05")


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-28", 24)])
def test_a_day_has_the_hours_that_its_clocks_give_it(day: str, hours: int) -> None:
    plan = weekly("daily 00:00-24:00 0.2", zone="Europe/Berlin")
    span = plan.on(us(f"{day}T12:00")).span
    assert span.from_us is not None
    assert span.to_us is not None
    assert span.to_us - span.from_us == hours * HOUR_US


def test_an_hour_that_comes_twice_has_its_price_twice_and_one_that_is_left_out_costs_nobody() -> None:
    plan = weekly("02:00-03:00 0.99")
    twice = [
        part
        for part in plan.on(us("2026-10-25T12:00")).tariff.intervals
        if part.price_pico_per_kwh == to_pico("0.99")
    ]
    assert twice[0].end_us is not None
    assert twice[0].start_us is not None
    assert twice[0].end_us - twice[0].start_us == 2 * HOUR_US
    never = plan.on(us("2026-03-29T12:00"))
    assert never.span.to_us is not None
    assert all(
        part.start_us is None or part.start_us >= never.span.to_us
        for part in never.tariff.intervals
        if part.price_pico_per_kwh == to_pico("0.99")
    )


@st.composite
def lines(draw: st.DrawFn) -> str:
    first, last = draw(st.integers(0, 23)), draw(st.integers(0, 23))
    minute = draw(st.sampled_from(["00", "15", "30", "45"]))
    other = draw(st.sampled_from([each for each in ("00", "30", "45") if first != last or each != minute]))
    days = draw(
        st.sampled_from(["", "daily", "mon-fri", "sat,sun", "holidays", "sun,holidays", "apr-oct fri-mon"])
    )
    return f"{days} {first:02}:{minute}-{last:02}:{other} {draw(st.integers(-50, 90)) / 100}"


@given(
    st.lists(lines(), max_size=4),
    st.sampled_from(ZONES),
    st.sampled_from(
        [
            date(2026, 3, 29),
            date(2026, 10, 25),
            date(2026, 3, 8),
            date(2026, 11, 1),
            date(2026, 4, 5),
            date(2026, 10, 4),
        ]
    ),
    st.integers(-1, 1),
    st.lists(st.integers(0, 2 * 86_400 - 1), min_size=1, max_size=40),
)
def test_at_every_moment_of_the_day_and_the_next_the_tariff_is_what_the_clocks_on_the_wall_make_it(
    said: list[str], zone: str, day: date, shift: int, seconds: list[int]
) -> None:
    plan = weekly(*said, zone=zone, holidays=(str(day),))
    noon_us = us(f"{day + timedelta(days=shift)}T12:00", zone)
    told = plan.on(noon_us)
    assert told.span.holds(noon_us)
    assert told.span.from_us is not None
    for second in seconds:
        at_us = told.span.from_us + second * 1_000_000
        shown = datetime.fromtimestamp(at_us / 1e6, UTC).astimezone(ZoneInfo(zone))
        if (
            shown.date()
            > (
                datetime.fromtimestamp(told.span.from_us / 1e6, UTC).astimezone(ZoneInfo(zone))
                + timedelta(days=1)
            ).date()
        ):
            continue
        wanted = next((each.price for each in plan.hours if each.holds(shown, plan.holidays)), plan.price)
        assert told.tariff.price_at(at_us) == to_pico(wanted)


@given(st.lists(lines(), max_size=4), st.sampled_from(["2026-03-29", "2026-10-25"]), st.integers(0, 5000))
def test_a_whole_day_of_clock_changes_costs_what_decimal_says_second_by_quarter_of_an_hour(
    said: list[str], day: str, watts: int
) -> None:
    plan = weekly(*said)
    told = plan.on(us(f"{day}T12:00"))
    assert told.span.from_us is not None
    assert told.span.to_us is not None
    metered = MeteredEnergy(told.tariff, told.span.from_us)
    with localcontext(prec=60, rounding=ROUND_HALF_EVEN):
        exact, energy_uj = Decimal(0), 0
        for at_us in range(told.span.from_us, told.span.to_us, HOUR_US // 4):
            energy_uj += watts * 900 * 10**6
            metered.upto(energy_uj, at_us + HOUR_US // 4)
            exact += Decimal(watts) * 900 / 3_600_000 * plan.price_at(at_us)
        wanted = (exact * 10**12).to_integral_value()
    assert Pricing(BillingMode.MARGINAL, told.tariff, 0, 0, 0).request_cost(metered.by_price, 0) == int(
        wanted
    )


def test_the_same_day_has_the_same_tariff_whenever_it_is_asked_for() -> None:
    plan = weekly("mon-fri 17:00-20:00 0.42")
    assert plan.on(us("2026-11-27T00:00")) == plan.on(us("2026-11-27T23:59"))


def slots(*prices: int, since: str = "2026-11-28T00:00") -> PriceSeries:
    start = us(since)
    return PriceSeries.of(
        PriceSlot(start + at * HOUR_US, start + (at + 1) * HOUR_US, cents * 10**10)
        for at, cents in enumerate(prices)
    )


def series_plan(series: PriceSeries, surcharge: str = "0") -> SeriesPlan:
    return SeriesPlan("EUR", Decimal("0.30"), series, Decimal(surcharge), BERLIN)


def test_a_series_gives_its_prices_with_the_surcharge_and_negative_ones_too() -> None:
    plan = series_plan(slots(10, -20, 30), "0.15")
    assert [price(plan, f"2026-11-28T0{hour}:30") for hour in range(3)] == [
        Decimal("0.25"),
        Decimal("-0.05"),
        Decimal("0.45"),
    ]


def test_where_a_series_ends_its_last_price_goes_on_and_that_is_flagged() -> None:
    told = series_plan(slots(10, 20)).on(us("2026-11-28T12:00"))
    assert told.guessed_from_us == us("2026-11-28T02:00")
    later = series_plan(slots(10, 20)).on(us("2026-12-05T12:00"))
    assert later.tariff.flat_price == to_pico("0.20")
    assert later.guessed_from_us == later.span.from_us


def test_a_gap_in_a_series_is_flagged_and_a_whole_day_is_not() -> None:
    whole = slots(*range(24))
    assert series_plan(whole).on(us("2026-11-28T12:00")).guessed_from_us is None
    gap = PriceSeries.of((*whole.slots[:5], *whole.slots[6:]))
    assert series_plan(gap).on(us("2026-11-28T12:00")).guessed_from_us == us("2026-11-28T05:00")


def test_without_any_series_the_usual_price_holds_and_is_flagged() -> None:
    told = series_plan(PriceSeries()).on(us("2026-11-28T12:00"))
    assert (told.tariff.flat_price, told.guessed_from_us) == (to_pico("0.30"), told.span.from_us)


def test_the_tariff_of_a_day_is_short_however_long_the_series_is() -> None:
    start = us("2026-01-01T00:00")
    year = PriceSeries.of(
        PriceSlot(start + at * HOUR_US // 2, start + (at + 1) * HOUR_US // 2, at * 10**9)
        for at in range(365 * 48)
    )
    assert len(series_plan(year).on(us("2026-11-28T12:00")).tariff.intervals) == 96


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("17:00-20:00", "wants hours and a price"),
        ("mon 17:00 0.4", "no span of hours"),
        ("mon 17:00-17:00 0.4", "end at another time"),
        ("mon 17:00-24:30 0.4", "end at another time"),
        ("mon 25:00-26:00 0.4", "no span of hours"),
        ("monday 17:00-18:00 0.4", "«monday» is no day"),
        ("mon-jan 17:00-18:00 0.4", "«mon-jan» is no day"),
        ("mon 17:00-18:00 0,4", "no price"),
        ("mon 17:00-18:00 nan", "no price"),
    ],
)
def test_a_line_that_says_no_price_is_refused_with_a_hint(line: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        parse_price_hours(line)


@pytest.mark.parametrize("text", ["", "13-01", "2026-02-29", "x", "1-2-3-4", "02-30"])
def test_a_holiday_that_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no day like"):
        parse_holiday(text)


def test_days_go_around_the_week() -> None:
    assert parse_price_hours("sat-mon 00:00-24:00 1").days == {5, 6, 0}
    assert len(DAYS) == 7
    assert parse_holiday("02-29") == Holiday(None, 2, 29)
