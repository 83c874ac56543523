"""Published prices are read as suppliers hand them out, exactly, and what is none is refused in a sentence."""

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing.series import HOUR_US, PriceSeries, PriceSlot, SeriesError, read_series

LONDON = ZoneInfo("Europe/London")
START_US = round(datetime(2026, 11, 28, tzinfo=UTC).timestamp()) * 1_000_000


def prices(text: str) -> list[tuple[int, int]]:
    """(half-hours since the start, pico-units per kWh)."""
    return [
        ((slot.start_us - START_US) // (HOUR_US // 2), slot.price_pico_per_kwh)
        for slot in read_series(text, LONDON).slots
    ]


def test_half_hourly_prices_of_octopus_are_pence_and_come_newest_first() -> None:
    told = {
        "count": 2,
        "results": [
            {
                "value_exc_vat": 1,
                "value_inc_vat": -3.5805,
                "valid_from": "2026-11-28T00:30:00Z",
                "valid_to": "2026-11-28T01:00:00Z",
            },
            {
                "value_exc_vat": 1,
                "value_inc_vat": 18.3645,
                "valid_from": "2026-11-28T00:00:00Z",
                "valid_to": "2026-11-28T00:30:00Z",
            },
        ],
    }
    assert prices(json.dumps(told)) == [(0, 183_645_000_000), (1, -35_805_000_000)]


def test_prices_of_awattar_are_for_a_megawatt_hour_and_in_milliseconds() -> None:
    told = {
        "object": "list",
        "data": [
            {
                "start_timestamp": START_US // 1000,
                "end_timestamp": (START_US + HOUR_US) // 1000,
                "marketprice": 94.09,
                "unit": "Eur/MWh",
            }
        ],
    }
    assert prices(json.dumps(told)) == [(0, 94_090_000_000)]


def test_a_home_assistant_entity_tells_its_lists_or_the_price_of_this_hour() -> None:
    listed = {
        "state": "0.2",
        "attributes": {
            "unit_of_measurement": "EUR/kWh",
            "raw_today": [
                {"start": "2026-11-28T00:00:00+00:00", "end": "2026-11-28T01:00:00+00:00", "value": 0.21}
            ],
            "raw_tomorrow": [
                {"start": "2026-11-28T01:00:00+00:00", "end": "2026-11-28T02:00:00+00:00", "value": 0.22}
            ],
        },
    }
    assert prices(json.dumps(listed)) == [(0, 210_000_000_000), (2, 220_000_000_000)]
    bare = {
        "state": "21.5",
        "attributes": {"unit_of_measurement": "ct/kWh"},
        "last_updated": "2026-11-28T00:17:03+00:00",
    }
    assert prices(json.dumps(bare)) == [(0, 215_000_000_000)]
    with pytest.raises(SeriesError, match="state is no price"):
        read_series(json.dumps({**bare, "state": "unavailable"}), LONDON)


@pytest.mark.parametrize(
    "text",
    [
        "start,end,price\n2026-11-28T00:00Z,2026-11-28T00:30Z,0.1\n2026-11-28T00:30Z,2026-11-28T01:00Z,0.2\n",
        "2026-11-28T00:00,0.1\n2026-11-28T00:30,0.2\n",
        "start;price\r\n2026-11-28 00:00;0.1\r\n2026-11-28 00:30;0.2\r\n",
    ],
)
def test_a_table_has_start_end_and_price_or_start_and_price(text: str) -> None:
    assert prices(text) == [(0, 100_000_000_000), (1, 200_000_000_000)]
    assert read_series(text, LONDON).slots[-1].end_us == START_US + HOUR_US


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("{", "begins like JSON"),
        ("{}", "none of"),
        ("[]", "no price in it"),
        ("[7]", "none of"),
        ('[{"start": "soon", "end": "2026-11-28", "value": 1}]', "no time like"),
        ('[{"start": "2026-11-28", "end": "2026-11-29", "value": null}]', "is no price"),
        ('[{"start": "2026-11-28", "end": "2026-11-29", "value": NaN}]', "begins like JSON"),
        ('[{"start": "2026-11-28", "end": "2026-11-28", "value": 1}]', "does not last"),
        ('[{"start": 1e999999999, "end": 1, "value": 1}]', "no time like"),
        ("2026-11-28,2026-11-29,1\n2026-11-28T12:00,2026-11-30,1", "Two prices"),
        ("2026-11-28,1,2,3", "has 4 columns"),
        ("2026-11-28,0,15", "no time like"),
        ("start,price\n", "no price in it"),
    ],
)
def test_what_is_no_list_of_prices_is_refused_in_a_sentence(text: str, says: str) -> None:
    with pytest.raises(SeriesError, match=says):
        read_series(text, LONDON)


@st.composite
def series(draw: st.DrawFn) -> PriceSeries:
    edges = sorted(draw(st.sets(st.integers(0, 200), max_size=12)))
    return PriceSeries.of(
        PriceSlot(START_US + a * 10**6, START_US + b * 10**6, draw(st.integers(-(10**12), 10**12)))
        for a, b in zip(edges[::2], edges[1::2], strict=False)
    )


def at(known: PriceSeries, at_us: int) -> int | None:
    found = known.within(at_us, at_us + 1)
    return found[0].price_pico_per_kwh if found else None


@given(series(), series())
def test_of_a_moment_that_both_speak_of_the_newer_series_says_the_price(
    older: PriceSeries, newer: PriceSeries
) -> None:
    both = older.merged(newer)
    for second in range(201):
        moment = START_US + second * 10**6
        new = at(newer, moment)
        assert at(both, moment) == (at(older, moment) if new is None else new)


@given(series())
def test_what_is_written_to_our_file_is_read_back_as_it_was(known: PriceSeries) -> None:
    if known.slots:
        assert read_series(known.text, LONDON) == known
