"""A request's way through the running gateway: what the client gets, and what the ledger keeps."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from app.presence.conduct import STARTING
from tests.gateway.conftest import MODEL, Build, House, Scripted, chat

pytestmark = pytest.mark.both_loops
HUNDREDS = 300
"""Enough that room comes and goes often while others ask; a thousand are asked where the ten are counted."""


async def lines(reply: Any) -> list[dict[str, Any]]:
    return [json.loads(line) async for line in reply.content]


async def events(reply: Any) -> list[Any]:
    found = []
    async for line in reply.content:
        if line.startswith(b"data: "):
            data = line[6:].strip()
            found.append("[DONE]" if data == b"[DONE]" else json.loads(data))
    return found


async def test_ollama_streams_and_the_last_line_says_what_it_cost(house: House) -> None:
    async with house.post("/api/chat", chat()) as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "application/x-ndjson"
        frames = await lines(reply)
        request_id = reply.headers["X-Request-Id"]
    assert [frame["done"] for frame in frames] == [False] * 20 + [True]
    assert all("_gateway" not in frame for frame in frames[:-1])
    figures = frames[-1]["_gateway"]
    assert figures["request_id"] == request_id
    assert figures["completion_tokens"] == frames[-1]["eval_count"] == 20
    assert figures["outcome"] == "complete"
    (row,) = await house.usage()
    assert row.id == request_id
    assert (row.tok_out, row.tok_src, row.outcome, row.model) == (20, "engine", "complete", MODEL)
    assert str(row.cost_pico) == figures["estimated_cost_pico"]
    assert str(row.e_uj) == figures["energy_uj"]


async def test_the_figures_follow_from_each_other(house: House) -> None:
    """59 W for the time it took, at 0.15 a kilowatt-hour; nothing is measured here, and it says so."""
    async with house.post("/api/generate", {"model": MODEL, "prompt": "Hello", "stream": False}) as reply:
        figures = (await reply.json())["_gateway"]
    (row,) = await house.usage()
    assert figures["energy_source"] == row.e_src == "model"
    assert row.dur_us is not None
    assert row.e_uj == 59 * row.dur_us
    exact = Decimal(row.e_uj) * Decimal("0.15") / Decimal(3_600_000_000_000) * 10**12
    assert row.cost_pico == exact.to_integral_value()
    assert figures["marginal_watts"] == 59
    assert figures["budget_remaining"] == pytest.approx(10 - figures["total_cost"])
    assert figures["billing_mode"] == "marginal"


async def test_openai_streams_and_the_last_data_event_says_what_it_cost(house: House) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": True, "max_tokens": 5}
    async with house.post("/v1/chat/completions", body) as reply:
        assert reply.headers["Content-Type"] == "text/event-stream"
        got = await events(reply)
    assert got[-1] == "[DONE]"
    assert got[-2]["choices"][0]["finish_reason"] == "length"
    assert got[-2]["_gateway"]["completion_tokens"] == 5
    assert all("usage" not in event or event["usage"] is None for event in got[:-1]), "nobody asked for usage"


async def test_openai_unstreamed_has_usage_and_gateway(house: House) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
    async with house.post("/v1/chat/completions", body) as reply:
        answer = await reply.json()
    assert answer["object"] == "chat.completion"
    assert answer["usage"]["completion_tokens"] == answer["_gateway"]["completion_tokens"] == 5


@pytest.mark.parametrize("spelling", ["QWEN2.5:3B", "registry.ollama.ai/library/qwen2.5:3b", " qwen2.5:3b "])
async def test_every_spelling_of_a_model_is_the_same_model(house: House, spelling: str) -> None:
    async with house.post("/api/chat", chat(stream=False, model=spelling)) as reply:
        assert reply.status == 200
    (row,) = await house.usage()
    assert row.model == MODEL


async def test_an_error_in_mid_stream_is_passed_on_and_recorded_once(house: House) -> None:
    async with house.post("/api/chat", chat("[simulate: error after 3 tokens]")) as reply:
        frames = await lines(reply)
    assert "error" in frames[-1]
    assert frames[-1]["_gateway"]["outcome"] == "upstream_error"
    (row,) = await house.usage()
    assert (row.outcome, row.tok_out, row.tok_src) == ("upstream_error", 3, "counted")


@pytest.mark.parametrize(
    ("path", "stream"), [("/api/chat", True), ("/api/chat", False), ("/v1/chat/completions", True)]
)
async def test_an_engine_that_dies_is_told_in_the_clients_dialect_and_recorded_once(
    house: House, path: str, stream: bool
) -> None:
    async with house.post(path, chat("[simulate: close after 3 tokens]", stream=stream)) as reply:
        if not stream:
            assert reply.status == 502
            assert "error" in await reply.json()
        elif path == "/api/chat":
            assert isinstance((await lines(reply))[-1]["error"], str)
        else:
            last = (await events(reply))[-1]
            assert last["error"]["message"]
            assert last["error"]["type"] == "api_error"
    (row,) = await house.usage()
    assert row.outcome == "upstream_error"


async def test_an_engine_that_is_not_there_is_503_and_leaves_no_record(build: Build) -> None:
    house = await build()
    await house.simulator.stop()
    async with house.post("/api/chat", chat()) as reply:
        assert reply.status == 503
        assert int(reply.headers["Retry-After"]) > 0
    async with house.session.get("/health") as reply:
        health = await reply.json()
    assert health["code"] == "engine_down"
    assert health["accepting"] is False
    assert await house.usage() == []


async def test_a_client_that_leaves_is_settled_once_and_the_engine_stops(build: Build) -> None:
    house = await build(speed=1.0)
    reply = await house.post("/api/chat", chat("[simulate: 4000 tokens]", tokens=4000))
    await reply.content.readline()
    assert house.simulator.running == 1
    reply.close()
    async with asyncio.timeout(10):
        while not await house.usage() or house.simulator.running:
            await asyncio.sleep(0.02)
    (row,) = await house.usage()
    assert row.outcome == "client_abort"
    assert row.tok_src == "counted"
    assert house.gateway.snapshot().money.held_pico == 0
    assert house.gateway.snapshot().running == ()


async def test_pausing_cuts_a_stream_with_a_well_formed_end_and_a_record(build: Build) -> None:
    house = await build(speed=1.0)
    async with house.post("/api/chat", chat("[simulate: 4000 tokens]", tokens=4000)) as reply:
        await reply.content.readline()
        house.gateway.duty.pause_now()
        frames = await lines(reply)
    assert frames[-1]["done"] is True
    assert frames[-1]["_gateway"]["outcome"] == "stopped"
    (row,) = await house.usage()
    assert row.outcome == "stopped"
    async with house.post("/api/chat", chat()) as reply:
        assert reply.status == 503
        assert "Paused" in (await reply.json())["error"]


async def test_finishing_lets_the_stream_end_refuses_new_ones_and_then_pauses(build: Build) -> None:
    house = await build(speed=5.0)
    async with house.post("/api/chat", chat(tokens=60)) as reply:
        await reply.content.readline()
        house.gateway.duty.finish_then_pause()
        async with house.post("/api/chat", chat()) as refused:
            assert refused.status == 503
        frames = await lines(reply)
    assert frames[-1]["_gateway"]["outcome"] == "complete"
    async with asyncio.timeout(10):
        while (house.gateway.snapshot().blocker or STARTING).code != "paused":
            await asyncio.sleep(0.01)


async def test_pausing_frees_the_gpu_and_says_so(house: House) -> None:
    async with house.post("/api/chat", chat()) as reply:
        await reply.read()
    house.gateway.duty.pause_now()
    async with asyncio.timeout(10):
        while house.gateway.snapshot().notice is None:
            await asyncio.sleep(0.01)
    notice = house.gateway.snapshot().notice
    assert notice is not None
    assert "Released" in notice
    assert "GB" in notice
    async with house.session.get("/health") as reply:
        assert (await reply.json())["models"] == []


async def test_a_request_that_runs_out_of_cap_ends_well_formed_within_it(build: Build) -> None:
    # Five seconds at 59 W and 0.15 $/kWh are 0.0000122917 $: one hold fits, its renewal does not.
    house = await build(speed=1.0, hold_seconds=5, spending_cap="0.000013")
    async with house.post("/api/chat", chat("[simulate: 4000 tokens]", tokens=4000)) as reply:
        assert reply.status == 200
        frames = await lines(reply)
    assert frames[-1]["done"] is True
    assert frames[-1]["_gateway"]["outcome"] == "budget_cut"
    money = house.gateway.snapshot().money
    assert money.spent_pico <= money.cap_pico
    assert money.held_pico == 0


async def test_an_exhausted_cap_is_402_and_raising_it_opens_the_door_at_once(build: Build) -> None:
    house = await build(spending_cap="0.0000001")
    async with house.post("/api/chat", chat()) as reply:
        assert reply.status == 402
        assert "cap" in (await reply.json())["error"]
    await house.gateway.settings.set_cap(10**12)
    async with house.post("/api/chat", chat()) as reply:
        assert reply.status == 200
        await reply.read()


async def test_hundreds_at_once_against_room_for_ten_never_overspend_as_room_comes_and_goes(
    build: Build,
) -> None:
    house = await build(speed=1.0, parallel=64, hold_seconds=30)
    hold = 59 * 30 * 150_000_000_000 // 3_600_000  # 59 W for 30 s at 0.15 a kWh
    await house.gateway.settings.set_cap(hold * 10)
    worst = 0

    async def one() -> int:
        nonlocal worst
        async with house.post("/api/chat", chat(tokens=5)) as reply:
            money = house.gateway.snapshot().money
            worst = max(worst, money.spent_pico + money.held_pico)
            said = await reply.read()
            if reply.status == 402:
                assert int(reply.headers["Retry-After"]) > 0
                assert b"when one has ended" in said
            return int(reply.status)

    statuses = await asyncio.gather(*(one() for _ in range(HUNDREDS)))
    assert set(statuses) == {200, 402}
    assert worst <= hold * 10
    assert len(await house.usage()) == statuses.count(200)


async def test_of_a_thousand_at_once_exactly_the_ten_that_have_room_are_served(
    build: Build, scripted: Scripted
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
    cap = 10 * (59 * 30 * 150_000_000_000 // 3_600_000)  # ten times 59 W for 30 s at 0.15 a kWh
    await house.gateway.settings.set_cap(cap)

    async def one(stream: bool) -> int:
        nonlocal refused
        async with everybody.post("/api/chat", json=chat(stream=stream), headers=headers) as reply:
            await reply.read()
            if reply.status == 402:
                refused += 1
                money = house.gateway.snapshot().money
                assert money.spent_pico + money.held_pico <= cap
            if refused == 990:
                refused_all.set()
            return int(reply.status)

    headers = {"Authorization": f"Bearer {house.key}"}
    unbounded = aiohttp.TCPConnector(limit=0)  # the usual session lets only a hundred ask at once
    async with (
        aiohttp.ClientSession(house.gateway.address, connector=unbounded) as everybody,
        asyncio.timeout(60),
    ):
        statuses = await asyncio.gather(*(one(number % 2 == 0) for number in range(1000)))
    assert (statuses.count(200), statuses.count(402)) == (10, 990)
    assert len(await house.usage()) == 10
    money = house.gateway.snapshot().money
    assert money.held_pico == 0
    assert money.spent_pico <= cap


async def test_a_record_for_each_of_many_at_once_and_a_ledger_in_order(build: Build) -> None:
    house = await build(parallel=16)

    async def one(number: int) -> None:
        async with house.post("/api/chat", chat(stream=number % 2 == 0, tokens=3)) as reply:
            assert reply.status == 200
            await reply.read()

    await asyncio.gather(*(one(number) for number in range(100)))
    rows = await house.usage()
    assert len(rows) == len({row.id for row in rows}) == 100
    async with house.get("/reconcile") as reply:
        verdict = await reply.json()
    assert verdict["status"] == "OK"
    assert verdict["discrepancy"] == 0
    assert verdict["hash_verification"]["invalid"] == 0


async def test_what_waits_in_the_engines_queue_uses_no_energy(build: Build) -> None:
    house = await build(speed=2.0, parallel=1)
    await asyncio.gather(*(_read(house, chat(tokens=30)) for _ in range(3)))
    rows = await house.usage()
    joules = sorted(row.e_uj or 0 for row in rows)
    whole = max(row.t0_us + (row.dur_us or 0) for row in rows) - min(row.t0_us for row in rows)
    assert sum(joules) <= 59 * whole, "three requests in a queue use one GPU, not three"
    assert joules[0] > 0


async def _read(house: House, body: dict[str, Any]) -> None:
    async with house.post("/api/chat", body) as reply:
        await reply.read()


async def test_dedicated_mode_bills_the_uptime_that_no_request_carries(build: Build) -> None:
    house = await build(billing_mode="dedicated", base_rate_per_hour="36")
    async with house.post("/api/chat", chat(stream=False)) as reply:
        figures = (await reply.json())["_gateway"]
    assert figures["billing_mode"] == "dedicated"
    await house.gateway.settings.configure({"billing_mode": "marginal"})
    async with asyncio.timeout(10):
        while not any(row.kind == "uptime" for row in (await house.gateway.ledger.page(None, 50)).rows):
            await asyncio.sleep(0.01)
    rows = (await house.gateway.ledger.page(None, 50)).rows
    billed_us = sum(row.dur_us or 0 for row in rows if row.kind in ("uptime", "usage"))
    spent = house.gateway.snapshot().money.spent_pico
    # A base rate of a hundredth a second, and a little electricity on top.
    assert spent == pytest.approx(billed_us * 10**4, rel=0.01)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_model_that_was_loaded_for_a_request_shows_as_loaded(house: House, stream: bool) -> None:
    await _read(house, chat(stream=stream))
    async with asyncio.timeout(10):
        while MODEL not in house.gateway.snapshot().engine.loaded:
            await asyncio.sleep(0.01)
    async with house.session.get("/health") as reply:
        assert (await reply.json())["models"] == [MODEL]
