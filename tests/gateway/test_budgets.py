"""A key's money for a day or a month: never overspent, also by its first requests and by many at once, and kept apart
from the contributor's cap and from other keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web

from app.access.limits import Limits
from app.billing.money import PICO, pico_to_decimal, to_pico
from app.simulator import Simulator
from tests.gateway.conftest import MODEL, Build, House, Scripted, chat
from tests.gateway.delivery.test_lost_tail import Garage
from tests.gateway.wall import Wall

HOLD = 59 * 30 * 150_000_000_000 // 3_600_000
"""59 W for 30 s at 0.15 a kWh: what a request holds when it begins."""
ZONE = "Europe/Berlin"


def amount(pico: int) -> str:
    return format(pico_to_decimal(pico), "f")


async def limited(house: House, label: str = "laptop", **limits: str) -> str:
    body = {"label": label, "limits": limits}
    async with house.post("/admin/keys", body, key=house.operator) as reply:
        assert reply.status == 201, await reply.text()
        return str((await reply.json())["key"])


async def limit(house: House, key: str = "laptop", **limits: str | None) -> None:
    body = {"key": key, "limits": limits}
    async with house.session.patch(
        "/admin/keys", json=body, headers={"Authorization": f"Bearer {house.operator}"}
    ) as reply:
        assert reply.status == 200, await reply.text()


async def asked(house: House, key: str, **more: Any) -> tuple[int, dict[str, Any], int]:
    async with house.post("/api/chat", chat(stream=False, tokens=3), key=key, **more) as reply:
        return int(reply.status), dict(await reply.json()), int(reply.headers.get("Retry-After", 0))


async def budgets(house: House, key: str) -> list[dict[str, Any]]:
    async with house.get("/stats", key=key) as reply:
        return list((await reply.json())["budgets"])


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    return Wall(monkeypatch, "2026-11-28T15:00", ZONE)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    made = Simulator(speed=500.0)
    await made.start()
    yield made
    await made.stop()


@pytest.mark.both_loops
@pytest.mark.parametrize("stream", [True, False])
async def test_of_a_keys_first_thousand_at_once_exactly_the_ten_that_have_room_are_served(
    build: Build, scripted: Scripted, stream: bool
) -> None:
    refused_all = asyncio.Event()
    refused = reached = 0

    async def answer(response: web.StreamResponse) -> None:
        nonlocal reached
        reached += 1
        if reached > 10:
            refused_all.set()  # one too many: nobody need wait to see it
        await refused_all.wait()  # no hold is given back before everybody else has been told
        await response.write(json.dumps({"model": MODEL, "done": True, "eval_count": 1}).encode() + b"\n")

    house = await build(upstream=await scripted(answer), parallel=64, hold_seconds=30)
    key = await limited(house, cost_per_day=amount(10 * HOLD), cost_per_month=amount(11 * HOLD))

    async def one() -> int:
        nonlocal refused
        async with everybody.post("/api/chat", json=chat(stream=stream), headers=headers) as reply:
            said = await reply.json(content_type=None) if reply.status == 402 else await reply.read()
            if reply.status == 402:
                refused += 1
                assert "has no room for another request beside those that run" in said["error"]
                assert int(reply.headers["Retry-After"]) > 0
            if refused == 990:
                refused_all.set()
            return int(reply.status)

    headers = {"Authorization": f"Bearer {key}"}
    unbounded = aiohttp.TCPConnector(limit=0)  # the usual session lets only a hundred ask at once
    async with (
        aiohttp.ClientSession(house.gateway.address, connector=unbounded) as everybody,
        asyncio.timeout(60),
    ):
        statuses = await asyncio.gather(*(one() for _ in range(1000)))
    assert (statuses.count(200), statuses.count(402)) == (10, 990)
    rows = await house.usage()
    assert len(rows) == 10
    day, month = await budgets(house, key)
    assert (day["held"], month["held"]) == (0, 0)
    assert int(day["spent_pico"]) == int(month["spent_pico"]) == sum(row.cost_pico for row in rows)
    assert int(day["spent_pico"]) <= 10 * HOLD
    assert house.gateway.snapshot().money.held_pico == 0


async def test_a_spent_budget_is_402_until_its_day_ends_and_other_keys_do_not_notice(
    build: Build, wall: Wall
) -> None:
    house = await build(time_zone=ZONE)
    key = await limited(house, cost_per_day=amount(HOLD + 10))
    status, answer, _ = await asked(house, key)
    assert status == 200
    assert answer["_gateway"]["budget_remaining_pico"] == (await budgets(house, key))[0]["left_pico"]
    status, answer, wait_s = await asked(house, key)
    assert status == 402
    assert "This key's budget of" in answer["error"]
    assert "a day is spent: it begins anew at Sunday 00:00." in answer["error"]
    assert 9 * 3600 - 60 <= wait_s <= 9 * 3600
    assert (await asked(house, house.key))[0] == 200
    client = openai.AsyncOpenAI(base_url=house.gateway.address + "/v1", api_key=key, max_retries=0)
    async with client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hi"}])
    assert (caught.value.status_code, caught.value.code) == (402, "key_budget_reached")
    wall.set("2026-11-29T00:00:01")
    assert (await asked(house, key))[0] == 200


async def test_a_running_stream_that_its_budget_has_no_more_room_for_ends_well_formed(build: Build) -> None:
    house = await build(speed=1.0, hold_seconds=5)
    hold = HOLD // 6
    key = await limited(house, cost_per_month=amount(hold * 3 // 2))
    async with house.post("/api/chat", chat("[simulate: 30000 tokens]", tokens=30_000), key=key) as reply:
        assert reply.status == 200
        frames = [json.loads(line) for line in (await reply.content.read()).splitlines()]
    assert frames[-1]["done"] is True
    assert frames[-1]["_gateway"]["outcome"] == "budget_cut"
    (month,) = await budgets(house, key)
    assert month["held"] == 0
    assert 0 < int(month["spent_pico"]) <= int(month["budget_pico"])
    assert (await asked(house, house.key))[0] == 200


async def test_a_budget_that_is_lowered_ends_what_it_has_no_room_for(build: Build) -> None:
    house = await build(speed=1.0)
    key = await limited(house, cost_per_day=amount(10 * HOLD))
    long = chat("[simulate: 30000 tokens]", tokens=30_000)
    async with house.post("/api/chat", long, key=key) as reply, asyncio.timeout(20):
        await reply.content.readline()
        await limit(house, cost_per_day=amount(HOLD // 2))
        last = json.loads((await reply.content.read()).splitlines()[-1])
    assert last["_gateway"]["outcome"] == "budget_cut"
    (day,) = await budgets(house, key)
    assert int(day["spent_pico"]) <= HOLD // 2


async def test_a_budget_that_is_smaller_than_a_requests_hold_says_so(house: House) -> None:
    key = await limited(house, cost_per_day="0.000001")
    status, answer, wait_s = await asked(house, key)
    assert (status, wait_s) == (402, 0)
    assert "is less than the" in answer["error"]
    assert "that a request holds" in answer["error"]


async def test_a_key_that_is_limited_later_has_spent_what_it_had_spent_while_requests_run(
    build: Build, wall: Wall
) -> None:
    house = await build(parallel=16, time_zone=ZONE)
    key = str((await house.gateway.keys.create("laptop", None, Limits()))["key"])
    wall.set("2026-11-10T12:00")
    for _ in range(5):
        assert (await asked(house, key))[0] == 200
    wall.set("2026-11-28T15:00")
    running = asyncio.gather(*(asked(house, key) for _ in range(60)))
    for _ in range(20):
        await limit(house, cost_per_day="5", cost_per_month="9")
        await limit(house, cost_per_day=None)
    await limit(house, cost_per_day="5", cost_per_month="9")
    assert {status for status, _, _ in await running} == {200}
    rows = await house.usage()
    day, month = await budgets(house, key)
    assert int(day["spent_pico"]) == sum(row.cost_pico for row in rows[5:])
    assert int(month["spent_pico"]) == sum(row.cost_pico for row in rows)
    assert (day["held"], month["held"]) == (0, 0)


async def test_after_a_restart_the_same_is_left_and_a_key_without_a_budget_has_none(
    tmp_path: Path, simulator: Simulator, wall: Wall
) -> None:
    garage = Garage(tmp_path / "gateway")
    async with garage.open(simulator, time_zone=ZONE) as house:
        first = house.key
        wall.set("2026-11-27T12:00")
        key = await limited(house, cost_per_day="1", cost_per_month="2")
        await asyncio.gather(*(asked(house, key) for _ in range(4)), asked(house, house.key))
        wall.set("2026-11-28T15:00")
        await asyncio.gather(*(asked(house, key) for _ in range(3)))
        before = await budgets(house, key)
    async with garage.open(simulator, time_zone=ZONE) as house:
        assert await budgets(house, key) == before
        assert await budgets(house, first) == []
        (ident,) = {one.id for one in house.gateway.ledger.keys() if one.label == "laptop"}
        costs = [row.cost_pico for row in await house.usage() if row.key == ident]
        spent = {one["period"]: int(one["spent_pico"]) for one in before}
        assert spent == {"day": sum(costs[4:]), "month": sum(costs)}
        async with house.get("/admin/keys", key=house.operator) as reply:
            keys = {one["label"]: one for one in (await reply.json())["keys"]}
        assert keys["laptop"]["limits"] == {"cost_per_day": 1, "cost_per_month": 2}
        assert [one["left_pico"] for one in keys["laptop"]["budgets"]] == [one["left_pico"] for one in before]
        assert keys["first key"]["budgets"] == []


async def test_an_address_of_a_key_spends_its_keys_budget(house: House) -> None:
    key = await limited(house, cost_per_day=amount(HOLD + 10))
    async with house.post("/admin/keys", {"address_of": "laptop"}, key=house.operator) as reply:
        url = (await reply.json())["url"]
    async with house.session.post(f"{url}/api/chat", json=chat(stream=False, tokens=3)) as reply:
        assert reply.status == 200
    assert (await asked(house, key))[0] == 402


async def limit_client(house: House, **limits: str) -> None:
    async with house.session.patch(
        "/admin/keys",
        json={"client": "Ann", "limits": limits},
        headers={"Authorization": f"Bearer {house.operator}"},
    ) as reply:
        assert reply.status == 200, await reply.text()


async def test_all_keys_of_a_client_spend_its_budget_together_and_each_its_own_besides(
    build: Build, wall: Wall
) -> None:
    house = await build(time_zone=ZONE, parallel=16)
    ann = str((await house.gateway.keys.create("ann 1", "Ann", Limits()))["key"])
    await asyncio.gather(*(asked(house, ann) for _ in range(3)))
    await limit_client(house, cost_per_month="1", cost_per_day=amount(HOLD * 3 // 2))
    made = await house.gateway.keys.create("ann 2", "Ann", Limits.of({"cost_per_day": "1"}))
    second = str(made["key"])
    statuses = await asyncio.gather(*(asked(house, key) for key in (ann, second) * 20))
    assert {status for status, _, _ in statuses} == {200, 402}, "one at a time has room"
    spent = sum(row.cost_pico for row in await house.usage())
    await limit_client(house, cost_per_day=amount(spent + HOLD))
    assert (await asked(house, second))[0] == 200
    for key in (ann, second):
        status, answer, wait_s = await asked(house, key)
        assert status == 402
        assert "This client's budget of" in answer["error"]
        assert "a day is spent: it begins anew at Sunday 00:00." in answer["error"]
        assert wait_s > 8 * 3600
    rows = [row.cost_pico for row in await house.usage()]
    shown = {(one["of"], one["period"]): one for one in await budgets(house, second)}
    assert shown.keys() == {("key", "day"), ("client", "day"), ("client", "month")}
    assert (
        int(shown["client", "day"]["spent_pico"]) == int(shown["client", "month"]["spent_pico"]) == sum(rows)
    )
    assert 0 < int(shown["key", "day"]["spent_pico"]) < sum(rows)
    assert (await asked(house, house.key))[0] == 200
    async with house.get("/admin/keys", key=house.operator) as reply:
        told = await reply.json()
    (client,) = (one for one in told["clients"] if one["client"] == "Ann")
    assert [one["period"] for one in client["budgets"]] == ["day", "month"]


@pytest.mark.parametrize("value", [0, -1, "0", "1,50", "$1", True, [], "1e99", 1e-13, 9_000_001, "nan", {}])
async def test_a_budget_that_is_no_amount_is_refused_in_one_sentence(house: House, value: Any) -> None:
    body = {"label": "laptop", "limits": {"cost_per_day": value}}
    async with house.post("/admin/keys", body, key=house.operator) as reply:
        assert reply.status == 400
        assert "cost_per_day must be an amount above 0" in (await reply.json())["error"]


@pytest.mark.parametrize(
    ("value", "pico"), [("0.50", PICO // 2), (5, 5 * PICO), (0.1, PICO // 10), ("0.000000000001", 1)]
)
def test_a_budget_is_kept_to_the_last_pico_unit(value: Any, pico: int) -> None:
    limits = Limits.of({"cost_per_month": value})
    assert limits.budgets == {"month": pico}
    assert Limits.load(limits.dump()) == limits
    assert to_pico(str(limits.to_json()["cost_per_month"])) == pico
