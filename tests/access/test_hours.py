"""Hours of the week: written as people do, counted by the contributor's clocks, over midnight and clock changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.hours import DAYS, Hours, HoursError
from app.access.limits import Limits
from app.access.opening import Opening
from app.access.principals import Principal, Role
from app.access.refusals import Refusal

BERLIN = ZoneInfo("Europe/Berlin")


def us(text: str, fold: int = 0) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp() * 1e6)


@pytest.mark.parametrize(
    ("said", "inside", "outside"),
    [
        # 2026-11-23 is a Monday.
        (
            "mon-fri 18:00-23:00",
            ["2026-11-23T18:00", "2026-11-27T22:59:59"],
            ["2026-11-23T17:59:59", "2026-11-23T23:00", "2026-11-28T19:00"],
        ),
        (
            "sat,sun 08:00-24:00",
            ["2026-11-28T08:00", "2026-11-29T23:59:59"],
            ["2026-11-29T07:59", "2026-11-30T00:00"],
        ),
        (
            "22:00-06:00",
            ["2026-11-23T05:59", "2026-11-24T22:00", "2026-11-30T00:00"],
            ["2026-11-24T06:00", "2026-11-24T21:59"],
        ),
        (
            "sun 22:00-06:00",
            ["2026-11-29T22:00", "2026-11-30T05:59"],
            ["2026-11-29T05:00", "2026-11-30T06:00", "2026-12-01T01:00"],
        ),
        (
            "fri-mon 00:00-24:00",
            ["2026-11-27T00:00", "2026-11-29T12:00", "2026-11-30T23:59"],
            ["2026-11-24T00:00", "2026-11-26T23:59"],
        ),
        ("  Mon ,WED  9:05 - 10:00 ", ["2026-11-23T09:05", "2026-11-25T09:59"], ["2026-11-24T09:30"]),
    ],
)
def test_hours_count_by_the_contributors_clocks(said: str, inside: list[str], outside: list[str]) -> None:
    hours = Hours.of([said])
    assert all(hours.open_at(us(at), BERLIN) for at in inside)
    assert not any(hours.open_at(us(at), BERLIN) for at in outside)


def test_where_clocks_are_changed_what_they_show_counts() -> None:
    night = Hours.of(["02:00-03:00"])
    assert not any(
        night.open_at(us("2026-03-29T00:00") + minute * 60_000_000, BERLIN) for minute in range(23 * 60)
    )
    twice = sum(
        night.open_at(us("2026-10-25T00:00") + minute * 60_000_000, BERLIN) for minute in range(25 * 60)
    )
    assert twice == 120
    assert night.opens_us(us("2026-10-25T02:30"), BERLIN) == us("2026-10-25T02:00", fold=1)


@given(
    spans=st.lists(
        st.tuples(
            st.sets(st.sampled_from(DAYS), min_size=1), st.integers(0, 1439), st.integers(1, 1440)
        ).filter(lambda span: span[1] != span[2]),
        min_size=1,
        max_size=4,
    ),
    now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1)),
)
def test_where_it_is_closed_it_opens_at_the_time_that_is_said_and_not_before(
    spans: list[tuple[set[str], int, int]], now: datetime
) -> None:
    hours = Hours.of(
        [
            f"{','.join(sorted(days))} {start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
            for days, start, end in spans
        ]
    )
    now_us = round(now.replace(tzinfo=BERLIN).timestamp() * 1e6)
    if hours.open_at(now_us, BERLIN):
        return
    opens_us = hours.opens_us(now_us, BERLIN)
    assert now_us < opens_us <= now_us + timedelta(days=8) / timedelta(microseconds=1)
    step = max(1, (opens_us - now_us) // 200)
    assert not any(hours.open_at(at, BERLIN) for at in range(now_us, opens_us, step))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([], "1 to 20"),
        ("mon 08:00-09:00", "a list"),
        (["mon 08:00-09:00"] * 21, "1 to 20"),
        ([5], "is none"),
        (["mon"], "is none"),
        (["monday 08:00-09:00"], "names no days"),
        (["mon- 08:00-09:00"], "names no days"),
        (["mon,, 08:00-09:00"], "names no days"),
        (["08:00-08:00"], "begins where it ends"),
        (["24:00-08:00"], "begins where it ends"),
        (["08:60-09:00"], "names no time"),
        (["08:00-24:01"], "names no time"),
        (["08:00-٠9:00"], "is none"),
    ],
)
def test_what_is_no_time_is_said(said: object, words: str) -> None:
    with pytest.raises(HoursError, match=words):
        Hours.of(said)


def test_outside_the_hours_of_a_key_or_its_client_nothing_is_asked_and_it_is_said_when_again() -> None:
    opening = Opening(lambda: BERLIN, lambda: us("2026-11-25T12:00"))  # a Wednesday

    def principal(own: list[str] | None, shared: list[str] | None) -> Principal:
        return Principal(
            "k_1",
            "a",
            Role.CLIENT,
            "Ben",
            "gw/c",
            b"",
            Limits.of({"hours": own}),
            Limits.of({"hours": shared}),
        )

    opening.require(principal(None, None))
    opening.require(principal(["wed 12:00-13:00"], ["08:00-20:00"]))
    with pytest.raises(
        Refusal, match="This key may be used thu 08:00-09:00 only: again from Thursday 08:00"
    ) as caught:
        opening.require(principal(["thu 08:00-09:00"], None))
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (
        403,
        "outside_hours",
        20 * 3600,
    )
    with pytest.raises(Refusal, match="This client may be used"):
        opening.require(principal(["12:00-13:00"], ["13:00-14:00"]))
