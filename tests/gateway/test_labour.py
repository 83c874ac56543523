"""The contributor's own time: logged once, charged under the cap as it is recorded, and seen by its client alone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.refusals import Refusal
from app.billing.money import to_pico
from app.ledger.drafts import LaborDraft
from app.ledger.ids import new_id
from app.ledger.records import decode
from app.proxy.labour import HOURS_MOST, _duration_us
from tests.gateway.conftest import House

HOUR_US = 3_600_000_000


async def log(house: House, *, key: str | None = None, **said: Any) -> tuple[int, dict[str, Any]]:
    async with house.post("/admin/labor", said, key=key or house.operator) as reply:
        return reply.status, json.loads(await reply.text())


async def configure(house: House, **settings: Any) -> None:
    async with house.post("/config", settings, key=house.operator) as reply:
        assert reply.status == 200, await reply.text()


async def stats(house: House, key: str) -> dict[str, Any]:
    async with house.get("/stats", key=key) as reply:
        told: dict[str, Any] = json.loads(await reply.text())
        return told


async def labour_records(house: House) -> list[LaborDraft]:
    ledger = house.gateway.ledger
    found = []
    for client in ledger.clients():
        for body in await ledger.entries(client.log, 0, 1024):
            draft = decode(body).draft
            if isinstance(draft, LaborDraft):
                found.append(draft)
    return found


async def test_an_hour_and_a_half_is_charged_recorded_and_told_to_its_client(house: House) -> None:
    await configure(house, labor_rate_per_hour=1.1)
    before = house.gateway.snapshot().money.spent_pico
    status, done = await log(house, hours="1.5", note="new disk")
    assert (status, done["cost_pico"], done["hours"]) == (201, str(to_pico("1.65")), 1.5)
    (record,) = await labour_records(house)
    assert (record.id, record.dur_us, record.note) == (done["id"], 3 * HOUR_US // 2, "new disk")
    assert record.cost == to_pico("1.65") == house.gateway.snapshot().money.spent_pico - before
    for key in (house.key, house.operator):
        told = await stats(house, key)
        assert (told["labor_hours"], told["labor_cost_pico"]) == (1.5, str(record.cost))
    async with house.get("/admin/labor", key=house.operator) as reply:
        assert json.loads(await reply.text())["clients"] == [
            {
                "client": "First client",
                "labor_hours": 1.5,
                "labor_us": str(record.dur_us),
                "labor_cost": 1.65,
                "labor_cost_pico": str(record.cost),
            }
        ]
    async with house.get("/reconcile") as reply:
        assert json.loads(await reply.text())["status"] == "OK"


async def test_labour_for_one_client_is_nothing_that_another_sees(house: House) -> None:
    await configure(house, labor_rate_per_hour=1)
    async with house.post("/admin/keys", {"label": "b", "client": "Second"}, key=house.operator) as reply:
        other = json.loads(await reply.text())["key"]
    assert (await log(house, hours=2, client="Second"))[0] == 201
    assert (await stats(house, house.key))["labor_hours"] == 0
    assert (await stats(house, other))["labor_hours"] == 2
    assert (await stats(house, house.operator))["labor_hours"] == 2


async def test_who_asks_twice_with_the_same_id_is_billed_once(house: House) -> None:
    await configure(house, labor_rate_per_hour=1)
    mine = new_id(1_700_000_000_000_000)
    answers = await asyncio.gather(*[log(house, hours=1, id=mine) for _ in range(5)])
    assert sorted(status for status, _ in answers) == [201, 409, 409, 409, 409]
    assert len(await labour_records(house)) == 1
    assert house.gateway.snapshot().money.spent_pico == to_pico("1")
    assert (await stats(house, house.key))["labor_hours"] == 1


async def test_what_the_cap_has_no_room_for_is_not_recorded_and_the_last_cent_is(house: House) -> None:
    await configure(house, labor_rate_per_hour=1, spending_cap=3)
    assert (await log(house, hours=2))[0] == 201
    status, said = await log(house, hours=1.01)
    assert status == 402
    assert "Nothing was recorded" in said["error"]
    assert len(await labour_records(house)) == 1
    assert (await log(house, hours=1))[0] == 201
    assert house.gateway.snapshot().money.spent_pico == to_pico("3")
    blocker = house.gateway.snapshot().blocker
    assert blocker is not None
    assert blocker.code == "cap_reached"


async def test_what_fails_was_only_held_and_warns_of_no_cap(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await configure(house, labor_rate_per_hour=1, spending_cap=10)
    mine = new_id(1_700_000_000_000_000)
    assert (await log(house, hours=4, id=mine))[0] == 201
    assert (await log(house, hours=5, id=mine))[0] == 409
    money = house.gateway.snapshot().money
    assert (money.spent_pico, money.held_pico, money.cap_warning_pct) == (to_pico("4"), 0, 0)
    assert "of the spending cap" not in caplog.text


async def test_without_a_rate_the_time_is_recorded_and_costs_nothing(house: House) -> None:
    status, done = await log(house, hours=0.25)
    assert (status, done["cost_pico"]) == (201, "0")
    assert (await stats(house, house.key))["labor_hours"] == 0.25


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({}, 400),
        ({"hours": None}, 400),
        ({"hours": True}, 400),
        ({"hours": 0}, 400),
        ({"hours": -1}, 400),
        ({"hours": "NaN"}, 400),
        ({"hours": "Infinity"}, 400),
        ({"hours": 1e308}, 400),
        ({"hours": "1e999999999"}, 400),
        ({"hours": 745}, 400),
        ({"hours": "1e-12"}, 400),
        ({"hours": [1]}, 400),
        ({"hours": 1, "note": 7}, 400),
        ({"hours": 1, "note": "x" * 257}, 400),
        ({"hours": 1, "note": "a\nb"}, 400),
        ({"hours": 1, "id": "7"}, 400),
        ({"hours": 1, "price": 7}, 400),
        ({"hours": 1, "client": "Nobody"}, 404),
        ({"hours": 1, "client": {"a": 1}}, 404),
        ({"hours": 1, "client": "x" * 4000}, 404),
    ],
)
async def test_what_is_no_labour_is_said_and_leaves_nothing(
    house: House, said: dict[str, Any], status: int
) -> None:
    got, answer = await log(house, **said)
    assert got == status, answer
    assert answer["error"].endswith(".")
    assert await labour_records(house) == []
    assert house.gateway.snapshot().money.spent_pico == 0


async def test_a_client_cannot_log_the_contributors_time(house: House) -> None:
    status, _ = await log(house, key=house.key, hours=1)
    assert status in (401, 403)
    assert await labour_records(house) == []


@given(st.decimals(min_value="0.0000001", max_value=HOURS_MOST, places=7))
def test_hours_become_the_nearest_microsecond(hours: Any) -> None:
    exact = hours * HOUR_US
    try:
        assert abs(_duration_us(str(hours)) - exact) <= 0.5
    except Refusal:
        assert exact <= 0.5 or len(str(hours)) > 32
