"""A disk that takes nothing: it is known before the engine is asked, and nobody waits for it without end.

RLIMIT_FSIZE stands for it: no file may grow beyond the bound, as no file can where nothing is free.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.ledger.sqlite import durable, store, writer
from tests.gateway.conftest import MODEL, Build, House, chat

NEARLY_FULL_B = 512 * 1024
"""The ledger can still grow a little; its reserve of 1 MiB does not fit."""
FULL_B = 1
SMALL_FILES_B = 8192
"""The settings can be written, and the ledger cannot."""

Disk = Callable[[int | None], None]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """`disk(bytes)` lets no file be larger from now on; None lets them grow again."""
    monkeypatch.setattr(writer, "RETRY_S", (0.05, 0.1))
    monkeypatch.setattr(durable, "FAULT_PATIENCE_S", 0.2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def bound(size_b: int | None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft if size_b is None else size_b, hard))

    yield bound
    bound(None)


async def until(house: House, code: str | None) -> dict[str, Any]:
    """Wait until `/health` gives this code as the reason."""
    async with asyncio.timeout(20):
        while True:
            async with house.get("/health") as reply:
                told = dict(await reply.json())
            if told["code"] == code:
                return told
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_disk_that_was_nearly_full_at_the_start_serves_nobody_and_bills_nobody(
    build: Build, disk: Disk, stream: bool
) -> None:
    disk(NEARLY_FULL_B)
    house = await build()
    told = await until(house, "storage_fault")
    assert not told["accepting"]
    for _ in range(20):
        async with house.post("/api/chat", chat(stream=stream)) as reply:
            assert reply.status == 503
            assert (await reply.json())["error"] == told["reason"]
    assert house.simulator.asked == 0
    assert await house.usage() == []
    disk(None)
    await until(house, None)
    async with house.post("/api/chat", chat(stream=stream)) as reply:
        assert reply.status == 200
        await reply.read()
    assert len(await house.usage()) == 1


async def test_a_request_whose_body_came_while_the_disk_filled_up_is_not_asked_of_the_engine(
    house: House, disk: Disk
) -> None:
    begun = asyncio.Event()
    full = asyncio.Event()

    async def body() -> Any:
        yield b'{"model": "' + MODEL.encode() + b'", "stream": false, '
        begun.set()
        await full.wait()
        yield b'"messages": [{"role": "user", "content": "Hi"}]}'

    async def ask() -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {house.key}"}
        async with house.session.post("/api/chat", data=body(), headers=headers) as reply:
            return reply.status, (await reply.json())["error"]

    asking = asyncio.create_task(ask())
    await begun.wait()
    # Once this is answered, what was sent before it has been admitted and its body is being read.
    async with house.get("/health") as reply:
        assert (await reply.json())["accepting"]
    disk(FULL_B)
    async with house.post("/admin/keys", {"label": "laptop"}, key=house.operator) as reply:
        assert reply.status == 507
    told = await until(house, "storage_fault")
    full.set()
    status, error = await asking
    assert (status, error) == (507, told["reason"])
    assert house.simulator.asked == 0
    disk(None)
    await until(house, None)


async def test_what_the_disk_keeps_from_being_handed_over_is_recorded_and_nobodys_bill(
    build: Build, disk: Disk
) -> None:
    house = await build(speed=1.0, parallel=16)
    endless = "[simulate: 30000 tokens]"

    async def whole() -> int:
        async with house.post("/api/chat", chat(endless, stream=False, tokens=30_000)) as reply:
            await reply.read()
            return int(reply.status)

    asking = [asyncio.create_task(whole()) for _ in range(5)]
    async with house.post("/api/chat", chat(endless, tokens=30_000)) as stream:
        await stream.content.readline()
        async with asyncio.timeout(5):
            while len(house.gateway.snapshot().running) < 6:
                await asyncio.sleep(0.01)
        disk(FULL_B)
        async with house.post("/admin/keys", {"label": "laptop"}, key=house.operator) as reply:
            assert reply.status == 507
        assert await asyncio.gather(*asking) == [507] * 5
        await stream.read()
    disk(None)
    await until(house, None)
    async with asyncio.timeout(10):
        while len(rows := await house.usage()) < 6:
            await asyncio.sleep(0.02)
    assert len(rows) == 6
    assert {row.outcome for row in rows} == {"stopped"}
    assert sorted(row.cost_pico > 0 for row in rows) == [False] * 5 + [True], "only what was seen costs"
    assert all(row.e_uj for row in rows)
    async with house.get("/reconcile", key=house.operator) as reply:
        assert (await reply.json())["status"] == "OK"


async def test_an_answer_whose_record_is_the_first_thing_that_the_disk_does_not_take_is_nobodys_bill(
    house: House, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "HOLD_LATER_S", 60.0)
    disk(FULL_B)
    async with house.post("/api/chat", chat(stream=False)) as reply:
        assert reply.status == 507
    money = house.gateway.snapshot().money
    assert (money.spent_pico, money.held_pico) == (0, 0)
    disk(None)
    await until(house, None)
    async with asyncio.timeout(10):
        while not (rows := await house.usage()):
            await asyncio.sleep(0.02)
    (row,) = rows
    assert (row.outcome, row.cost_pico) == ("stopped", 0)
    assert row.tok_out, "what it took is told all the same"
    assert row.e_uj
    assert house.gateway.snapshot().money.spent_pico == 0
    async with house.get("/reconcile", key=house.operator) as reply:
        assert (await reply.json())["status"] == "OK"


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_whose_record_only_the_reserve_had_room_for_goes_out_and_is_paid(
    build: Build, disk: Disk, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    give_up = writer.Reserve.give_up
    given_up: list[bool] = []

    def make_room(reserve: writer.Reserve) -> None:
        give_up(reserve)
        given_up.append(True)
        disk(None)

    monkeypatch.setattr(store, "HOLD_LATER_S", 60.0)
    monkeypatch.setattr(writer.Reserve, "give_up", make_room)
    house = await build(speed=10.0)  # the answer takes a while: nothing of its record is written yet
    words = chat("[simulate: 50 tokens]", stream=stream, tokens=50)
    if stream:
        async with house.post("/api/chat", words) as reply:
            await reply.content.readline()  # the hold is durable
            disk(FULL_B)
            assert b'"outcome":"complete"' in await reply.read()
    else:
        disk(FULL_B)
        async with house.post("/api/chat", words) as reply:
            assert reply.status == 200
            assert (await reply.json())["_gateway"]["outcome"] == "complete"
    assert given_up
    (row,) = await house.usage()
    assert row.cost_pico == house.gateway.snapshot().money.spent_pico > 0


async def test_a_key_is_refused_in_a_sentence_and_leaves_none_behind_that_works(
    house: House, disk: Disk
) -> None:
    disk(FULL_B)
    async with asyncio.timeout(10):
        async with house.post("/admin/keys", {"label": "laptop"}, key=house.operator) as reply:
            assert reply.status == 507
            assert "disk" in (await reply.json())["error"]
    disk(None)
    await until(house, None)
    async with asyncio.timeout(10):
        while True:
            async with house.get("/admin/keys", key=house.operator) as reply:
                unseen = [key for key in (await reply.json())["keys"] if key["label"] == "laptop"]
            if unseen and unseen[0]["revoked"] is not None:
                break
            await asyncio.sleep(0.02)
    async with house.post("/admin/keys", {"label": "laptop"}, key=house.operator) as reply:
        assert reply.status == 201


async def test_a_key_that_is_revoked_while_nothing_can_be_written_opens_nothing_any_more(
    house: House, disk: Disk
) -> None:
    async with house.post("/admin/keys", {"label": "laptop"}, key=house.operator) as reply:
        plain = (await reply.json())["key"]
    disk(FULL_B)
    async with asyncio.timeout(10):
        async with house.session.delete(
            "/admin/keys", json={"key": "laptop"}, headers={"Authorization": f"Bearer {house.operator}"}
        ) as reply:
            assert reply.status == 507
    async with house.get("/stats", key=plain) as reply:
        assert reply.status == 401
    disk(None)
    await until(house, None)
    async with house.get("/stats", key=plain) as reply:
        assert reply.status == 401


async def test_a_price_is_changed_without_waiting_for_the_disk(house: House, disk: Disk) -> None:
    disk(SMALL_FILES_B)
    async with asyncio.timeout(5):
        async with house.post("/config", {"electricity_rate": "0.3"}, key=house.operator) as reply:
            assert reply.status == 200, await reply.text()
    await until(house, "storage_fault")
    disk(None)
    await until(house, None)
    async with house.post("/api/chat", chat(stream=False)) as reply:
        assert reply.status == 200
    kinds = [row.kind for row in (await house.gateway.ledger.page(None, 10)).rows]
    assert kinds.index("usage") < kinds.index("tariff")
