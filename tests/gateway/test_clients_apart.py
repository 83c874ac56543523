"""Clients beside each other: what one sees of the other, and what becomes of a key's requests when it is revoked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.gateway.conftest import Build, House, chat


async def another(house: House, label: str = "other", client: str | None = "Another") -> dict[str, Any]:
    """A new key, of a client of its own unless said otherwise."""
    async with house.post("/admin/keys", {"label": label, "client": client}, key=house.operator) as reply:
        assert reply.status == 201, await reply.text()
        return dict(await reply.json())


async def revoke(house: House, key: str) -> None:
    headers = {"Authorization": f"Bearer {house.operator}"}
    async with house.session.delete("/admin/keys", json={"key": key}, headers=headers) as reply:
        assert reply.status == 200, await reply.text()


async def seen(house: House, path: str, key: str) -> dict[str, Any]:
    async with house.get(path, key=key) as reply:
        assert reply.status == 200
        return dict(await reply.json())


async def test_a_clients_figures_do_not_tell_what_another_has_spent(house: House) -> None:
    other = await another(house)
    for _ in range(3):
        async with house.post("/api/chat", chat(stream=False)) as reply:
            await reply.read()
    async with house.post("/api/chat", chat(stream=False), key=other["key"]) as reply:
        told = (await reply.json())["_gateway"]
    rows = {row.id: row for row in await house.usage()}
    own = rows[told["request_id"]].cost_pico
    whole = sum(row.cost_pico for row in rows.values())
    assert 0 < own < whole
    assert told["total_cost_pico"] == str(own), "nor does an answer"
    stats = await seen(house, "/stats", other["key"])
    assert stats["total_cost_pico"] == str(own)
    assert stats["requests"] == 1
    room = 10 * 10**12 - whole
    assert stats["budget_remaining_pico"] == str(room)
    assert stats["spending_cap"] == pytest.approx((own + room) / 1e12, abs=1e-12), (
        "as far as it could come itself"
    )
    everything = await seen(house, "/stats", house.operator)
    assert everything["total_cost_pico"] == str(whole)
    assert everything["spending_cap"] == 10


async def test_what_runs_for_a_client_shows_to_it_and_to_the_operator_and_to_nobody_else(
    build: Build,
) -> None:
    house = await build(speed=1.0)
    other = await another(house)
    async with house.post("/api/chat", chat(tokens=500)) as reply:
        await reply.content.readline()
        mine = await seen(house, "/stats", house.key)
        theirs = await seen(house, "/stats", other["key"])
        everything = await seen(house, "/stats", house.operator)
        assert [one["running"] for one in (mine, theirs, everything)] == [1, 0, 1]
        assert mine["held"] == everything["held"] > 0
        assert theirs["held"] == 0
        assert (await seen(house, "/reconcile", other["key"]))["holds"] == 0
        assert (await seen(house, "/reconcile", house.key))["holds"] == 1


async def test_records_of_another_client_are_in_no_answer(house: House) -> None:
    other = await another(house)
    async with house.post("/api/chat", chat(stream=False)) as reply:
        await reply.read()
    (row,) = await house.usage()
    for path in ("/ledger", "/ledger?limit=1000", "/ledger?before=1000", "/reconcile", "/stats"):
        text = json.dumps(await seen(house, path, other["key"]))
        assert row.id not in text
        assert row.key not in text
        assert row.log not in text
        assert "First client" not in text


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_a_revoked_keys_stream_ends_well_formed_and_settled_and_others_go_on(
    build: Build, path: str
) -> None:
    house = await build(speed=1.0)
    guest = await another(house, "guest", None)
    body = chat(tokens=1000) | {"max_tokens": 1000}
    async with house.post(path, body, key=guest["key"]) as cut, house.post(path, body) as kept:
        await cut.content.readline()
        await kept.content.readline()
        await revoke(house, guest["id"])
        async with asyncio.timeout(5):
            rest = (await cut.content.read()).decode()
        if path == "/api/chat":
            last = json.loads(rest.splitlines()[-1])
            assert last["done"] is True
        else:
            frames = rest.strip().split("\n\n")
            assert frames[-1] == "data: [DONE]"
            last = json.loads(frames[-2].removeprefix("data: "))
            assert last["choices"][0]["finish_reason"] == "length"
        assert last["_gateway"]["outcome"] == "stopped"
        (row,) = await house.usage()
        assert (row.id, row.key, row.outcome) == (last["_gateway"]["request_id"], guest["id"], "stopped")
        assert await kept.content.readline(), "the other key's stream runs on"
        assert (await seen(house, "/stats", house.key))["running"] == 1


async def test_an_unstreamed_answer_of_a_revoked_key_is_refused_and_recorded(build: Build) -> None:
    house = await build(speed=1.0)
    guest = await another(house, "guest", None)

    async def ask() -> tuple[int, str]:
        async with house.post("/api/chat", chat(tokens=1000, stream=False), key=guest["key"]) as reply:
            return reply.status, (await reply.json())["error"]

    asked = asyncio.create_task(ask())
    while not house.gateway.snapshot().running:
        await asyncio.sleep(0.01)
    await revoke(house, "guest")
    async with asyncio.timeout(5):
        status, sentence = await asked
    assert status == 401
    assert "revoked" in sentence
    (row,) = await house.usage()
    assert row.outcome == "stopped"


async def test_a_request_whose_body_is_still_coming_when_its_key_is_revoked_is_not_served(
    house: House,
) -> None:
    guest = await another(house, "guest", None)
    text = json.dumps(chat(stream=False)).encode()
    began = asyncio.Event()
    gone = asyncio.Event()

    async def body() -> Any:
        yield text[:10]
        began.set()
        await gone.wait()
        yield text[10:]

    async def ask() -> int:
        headers = {"Authorization": f"Bearer {guest['key']}"}
        async with house.session.post("/api/chat", data=body(), headers=headers) as reply:
            return int(reply.status)

    asked = asyncio.create_task(ask())
    await began.wait()
    # The server has read the headers once it has asked the next request something.
    await seen(house, "/stats", house.key)
    await revoke(house, guest["id"])
    gone.set()
    assert await asked == 401
    assert house.simulator.asked == 0
    assert await house.usage() == []
