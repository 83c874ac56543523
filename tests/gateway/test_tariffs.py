"""Tariffs in a running gateway: recorded by the day, billed by the moment, imported, fetched, and priced again from the
records alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.basics.clock import wall_us
from app.billing.series import HOUR_US, PriceSeries, PriceSlot
from app.gateway import tariff_watch
from app.gateway.price_files import import_prices
from app.ledger.drafts import TariffDraft, UptimeDraft, UsageDraft
from app.ledger.records import Record, decode
from app.receiver.repricing import Repricing, cost_of_record, pricing_of_record
from tests.gateway.conftest import Build, House, chat

HALF = HOUR_US // 2


async def records(house: House) -> list[Record]:
    return [
        decode(body) for body in await house.gateway.ledger.entries(house.gateway.keys.first_log(), 0, 500)
    ]


async def tariffs(house: House) -> list[TariffDraft]:
    return [record.draft for record in await records(house) if isinstance(record.draft, TariffDraft)]


async def priced_again(house: House) -> list[Record]:
    """Every record, all of which come to what they charge."""
    known = await records(house)
    repricing = Repricing()
    for record in known:
        repricing.take(record.seq, record.draft)
    assert repricing.notes == ()
    return known


async def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.02)


def around_now(*, hours: int, price: int = 10**11) -> PriceSeries:
    """Half-hourly prices that rise, from two days ago until `hours` from now."""
    start = wall_us() // HALF * HALF - 96 * HALF
    return PriceSeries.of(
        PriceSlot(start + at * HALF, start + (at + 1) * HALF, price + at) for at in range(96 + 2 * hours)
    )


async def configure(house: House, **settings: Any) -> None:
    async with house.post("/config", settings, key=house.operator) as reply:
        assert reply.status == 200, await reply.text()


async def test_prices_by_the_hour_are_recorded_for_a_day_and_the_next_and_billed(build: Build) -> None:
    house = await build(tariff="hours", tariff_hours="00:00-12:00 0.50; 12:00-24:00 -0.25", time_zone="UTC")
    async with house.post("/api/chat", chat(stream=False)) as reply:
        figures = (await reply.json())["_gateway"]
    (terms,) = await tariffs(house)
    morning = datetime.now(UTC).hour < 12
    assert (figures["estimated_cost"] > 0) is morning
    assert len(json.loads(terms.content)) == 4
    await priced_again(house)


async def test_a_price_that_changes_while_a_request_runs_is_taken_from_then_on_and_only_then(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await build(speed=1.0)
    edge_us = wall_us() + 2_000_000
    books_at = house.gateway.settings._books
    books_at.series = PriceSeries.of(
        [PriceSlot(edge_us - HOUR_US, edge_us, 10**11), PriceSlot(edge_us, edge_us + HOUR_US, 9 * 10**11)]
    )
    monkeypatch.setattr(tariff_watch, "LOOK_EVERY_S", 3600.0)
    await configure(house, tariff="series")
    async with house.post("/api/chat", chat("[simulate: 200 tokens]", tokens=200)) as reply:
        await reply.content.readline()
        while wall_us() < edge_us + 1_200_000:
            await reply.content.readline()
    await until(lambda: not house.gateway.snapshot().running)
    known = await priced_again(house)
    (usage,) = [record.draft for record in known if isinstance(record.draft, UsageDraft)]
    assert usage.e_parts is not None
    (first_us, first_uj), (second_us, second_uj) = json.loads(usage.e_parts)
    assert (first_us, second_us) == (usage.t0, edge_us)
    assert first_uj > 0
    assert second_uj > 0
    terms = pricing_of_record((await tariffs(house))[-1])
    assert usage.cost == cost_of_record(terms, usage)


async def test_dedicated_bills_of_requests_side_by_side_and_of_uptime_can_be_priced_again(
    build: Build,
) -> None:
    house = await build(billing_mode="dedicated", base_rate_per_hour="36", speed=20.0)

    async def ask() -> None:
        async with house.post("/api/chat", chat("[simulate: 40 tokens]", stream=False, tokens=40)) as reply:
            assert reply.status == 200

    await asyncio.gather(*(ask() for _ in range(4)))
    await configure(house, electricity_rate="0.60")
    await configure(house, electricity_rate="0.30")
    known = await priced_again(house)
    usage = [record.draft for record in known if isinstance(record.draft, UsageDraft)]
    assert any(draft.share_us is not None and draft.share_us < draft.dur_us for draft in usage)
    uptime = [record.draft for record in known if isinstance(record.draft, UptimeDraft)]
    assert uptime
    priced = {draft.tariff: pricing_of_record(draft) for draft in await tariffs(house)}
    assert [draft.cost for draft in uptime] == [
        cost_of_record(priced[draft.tariff], draft) for draft in uptime
    ]
    assert [draft.cost for draft in usage] == [cost_of_record(priced[draft.tariff], draft) for draft in usage]


async def test_uptime_is_billed_at_the_moment_when_its_price_changes(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await build(billing_mode="dedicated")
    edge_us = wall_us() + 1_500_000
    house.gateway.settings._books.series = PriceSeries.of(
        [PriceSlot(edge_us - HOUR_US, edge_us, 10**11), PriceSlot(edge_us, edge_us + HOUR_US, -(10**11))]
    )
    monkeypatch.setattr(tariff_watch, "LOOK_EVERY_S", 3600.0)
    await configure(house, tariff="series")
    async with asyncio.timeout(20):
        while wall_us() < edge_us + 500_000:
            await asyncio.sleep(0.1)
        await configure(house, tariff="flat")
        uptime: list[UptimeDraft] = []
        while len(uptime) < 3:  # before the series, until the edge, after it
            await asyncio.sleep(0.02)
            uptime = [
                record.draft for record in await priced_again(house) if isinstance(record.draft, UptimeDraft)
            ]
    _, before, after = uptime
    assert 0 <= before.t1 - edge_us < 300_000
    assert before.cost > 0 > after.cost


async def test_a_series_of_a_year_is_recorded_by_the_day(build: Build, tmp_path: Path) -> None:
    house = await build(tariff="series", time_zone="UTC")
    data = next(tmp_path.rglob("ledger.sqlite3")).parent
    import_prices(data, around_now(hours=24 * 365), UTC, wall_us())
    house.gateway.view._prices._seen_ns = 0
    await until(lambda: len(house.gateway.settings._books.series.slots) > 17_000, 60)
    async with asyncio.timeout(10):
        while len(told := await tariffs(house)) < 2:
            await asyncio.sleep(0.02)
    terms = told[-1]
    assert len(terms.content) < 8000
    assert len(json.loads(terms.content)) == 96


async def test_at_midnight_the_next_days_prices_are_recorded_once_and_a_restart_adds_nothing(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "tariff": "hours",
        "tariff_hours": "mon 00:00-12:00 0.50; 12:00-13:00 0.1",
        "time_zone": "UTC",
    }
    house = await build(**settings)
    before = await tariffs(house)
    book = house.gateway.settings._books
    assert book.day.span.to_us is not None
    tomorrow_us = book.day.span.to_us + 1
    monkeypatch.setattr("app.gateway.books.wall_us", lambda: tomorrow_us)
    monkeypatch.setattr("app.gateway.configuration.wall_us", lambda: tomorrow_us)
    for _ in range(3):
        async with house.post("/api/chat", chat(stream=False)) as reply:
            assert reply.status == 200
    after = await tariffs(house)
    assert len(after) == len(before) + 1
    assert book.day.span.from_us == tomorrow_us - 1
    house.gateway.settings.renew_prices()
    assert len(await tariffs(house)) == len(after)


async def test_where_the_prices_end_the_last_one_goes_on_and_faces_say_so(
    build: Build, tmp_path: Path
) -> None:
    house = await build(tariff="series", time_zone="UTC")
    assert "No electricity price is known since" in (house.gateway.snapshot().notice or "")
    async with house.post("/api/chat", chat(stream=False)) as reply:
        assert reply.status == 200
    await priced_again(house)


@pytest.fixture
async def publisher() -> AsyncIterator[tuple[str, list[web.Request], dict[str, Any]]]:
    """A Home Assistant whose price entity answers what the test says."""
    asked: list[web.Request] = []
    says: dict[str, Any] = {"status": 200, "body": {}}

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        return web.json_response(says["body"], status=says["status"])

    app = web.Application()
    app.router.add_get("/api/states/sensor.price", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"{site.name}/api/states/sensor.price", asked, says
    await runner.cleanup()


def entity(price: float) -> dict[str, Any]:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [now + timedelta(hours=hour) for hour in range(-24, 49)]
    rows = [{"start": a.isoformat(), "end": b.isoformat(), "value": price} for a, b in pairwise(hours)]
    return {"state": str(price), "attributes": {"unit_of_measurement": "USD/kWh", "raw_today": rows}}


async def test_prices_are_fetched_from_a_home_assistant_with_its_token_and_kept(
    build: Build, publisher: tuple[str, list[web.Request], dict[str, Any]], tmp_path: Path
) -> None:
    url, asked, says = publisher
    says["body"] = entity(0.25)
    house = await build(tariff="series", tariff_url=url, tariff_token="secret-42", tariff_surcharge="0.10")
    await until(lambda: house.gateway.snapshot().money.price_pico_per_kwh == 35 * 10**10)
    assert asked[0].headers["Authorization"] == "Bearer secret-42"
    assert house.gateway.snapshot().notice is None
    assert next(tmp_path.rglob("prices.csv")).stat().st_mode & 0o077 == 0
    async with house.get("/config", key=house.operator) as reply:
        assert "secret-42" not in await reply.text()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, {}, "answered 401"),
        (302, {}, "answered 302"),
        (200, {"state": "unavailable", "attributes": {}}, "no price"),
    ],
)
async def test_an_address_that_has_no_prices_changes_nothing_and_is_said(
    build: Build,
    publisher: tuple[str, list[web.Request], dict[str, Any]],
    status: int,
    body: dict[str, Any],
    says: str,
) -> None:
    url, asked, answer = publisher
    answer |= {"status": status, "body": body}
    house = await build(tariff="series", tariff_url=url)
    await until(lambda: says in (house.gateway.snapshot().notice or ""))
    assert house.gateway.snapshot().money.price_pico_per_kwh == 15 * 10**10
    assert len(asked) == 1
