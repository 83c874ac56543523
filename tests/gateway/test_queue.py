"""Whoever waits, waits at the gateway: in turn, told how long, at no cost, and sent away with a word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
import pytest
from aiohttp import web

from app.commands.verbs import status
from app.engine.ollama import OllamaEngine
from tests.gateway.conftest import MODEL, Build, House, Scripted, chat
from tests.gateway.speaking import refusal as worded

DIALECTS = ("/api/chat", "/v1/chat/completions", "/v1/messages", "/v1/responses")


@dataclass
class Gate:
    """An engine that answers one request each time the test says so, the oldest first."""

    there: list[asyncio.Event] = field(default_factory=list)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)
    most: int = 0

    async def answer(self, response: web.StreamResponse) -> None:
        mine = asyncio.Event()
        async with self.came:
            self.there.append(mine)
            self.most = max(self.most, len(self.there))
            self.came.notify_all()
        try:
            await mine.wait()
        finally:
            if mine in self.there:
                self.there.remove(mine)
        if response.content_type == "text/event-stream":
            chunk = {
                "id": "a",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": MODEL,
                "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}],
            }
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n")
        else:
            said = {
                "model": MODEL,
                "message": {"role": "assistant", "content": "x"},
                "done": True,
                "eval_count": 1,
            }
            await response.write(json.dumps(said).encode() + b"\n")

    def let_one_go(self) -> None:
        self.there.pop(0).set()

    async def has(self, count: int) -> None:
        """Wait until so many are at the engine."""
        async with asyncio.timeout(10), self.came:
            await self.came.wait_for(lambda: len(self.there) == count)


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    made = Gate()
    yield made
    for event in made.there:
        event.set()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


def waiting(house: House) -> int:
    return sum(request.queued for request in house.gateway.snapshot().running)


async def asked(house: House, **more: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
    key = more.pop("key", None)
    async with house.post("/api/chat", chat(stream=False, **more), key=key) as reply:
        return reply.status, dict(reply.headers), await reply.json(content_type=None)


async def test_one_request_beside_fifty_of_another_key_waits_for_one_answer(
    build: Build, scripted: Scripted, gate: Gate
) -> None:
    house = await build(upstream=await scripted(gate.answer), parallel=1)
    other = (await house.gateway.keys.create("other", None))["key"]
    crowd = [asyncio.create_task(asked(house)) for _ in range(51)]
    await gate.has(1)
    await until(lambda: waiting(house) == 50)
    lone = asyncio.create_task(asked(house, key=other))
    await until(lambda: waiting(house) == 51)
    for _ in range(2):
        await gate.has(1)
        gate.let_one_go()
    status, headers, _ = await lone
    assert (status, headers["X-Queue-Position"]) == (200, "1")
    assert sum(task.done() for task in crowd) == 1
    for _ in range(50):
        await gate.has(1)
        gate.let_one_go()
    assert [status for status, _, _ in await asyncio.gather(*crowd)] == [200] * 51
    assert gate.most == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_eight_alike_through_two_places_cost_the_same_and_waiting_costs_nothing(
    build: Build, stream: bool
) -> None:
    house = await build(parallel=2, speed=1.0)

    async def one() -> float:
        async with house.post("/api/chat", chat(tokens=80, stream=stream)) as reply:
            assert reply.status == 200
            await reply.read()
            return float(reply.headers["X-Queue-Wait"])

    await one()  # the model is loaded once
    waits = await asyncio.gather(*(one() for _ in range(8)))
    rows = (await house.usage())[1:]
    # How long each takes is the machine's matter (`make bench` compares the joules themselves); two always share.
    watts = [(row.e_uj or 0) / (row.dur_us or 1) for row in rows]
    assert len(rows) == 8
    assert max(watts) <= 1.15 * min(watts)
    assert sum(wait > 0 for wait in waits) == 6
    began = sorted(row.t0_us for row in rows)
    ended = sorted(row.t0_us + (row.dur_us or 0) for row in rows)
    for third, first in zip(began[2:], ended, strict=False):
        assert third >= first - 1000, "a record begins with its turn: nobody is billed for waiting"


async def test_nothing_is_held_for_whoever_waits(build: Build, scripted: Scripted, gate: Gate) -> None:
    house = await build(upstream=await scripted(gate.answer), parallel=1)
    tasks = [asyncio.create_task(asked(house)) for _ in range(3)]
    await gate.has(1)
    await until(lambda: waiting(house) == 2)
    shown = house.gateway.snapshot().running
    assert [request.queued for request in shown] == [False, True, True]
    assert sum(request.held_pico for request in shown) == house.gateway.snapshot().money.held_pico
    assert [request.held_pico for request in shown[1:]] == [0, 0]
    async with house.get("/stats") as reply:
        stats = await reply.json()
    assert (stats["running"], stats["waiting"]) == (1, 2)
    for _ in range(3):
        await gate.has(1)
        gate.let_one_go()
    answers = await asyncio.gather(*tasks)
    assert gate.most == 1
    assert sorted(headers["X-Queue-Position"] for _, headers, _ in answers) == ["0", "1", "2"]
    assert all(
        (float(headers["X-Queue-Wait"]) > 0) == (headers["X-Queue-Position"] != "0")
        for _, headers, _ in answers
    )


async def test_a_client_that_leaves_gives_its_place_back_and_leaves_no_record(
    build: Build, scripted: Scripted, gate: Gate
) -> None:
    house = await build(upstream=await scripted(gate.answer), parallel=1)
    first = asyncio.create_task(asked(house))
    await gate.has(1)
    leaver = asyncio.create_task(asked(house))
    await until(lambda: waiting(house) == 1)
    last = asyncio.create_task(asked(house))
    await until(lambda: waiting(house) == 2)
    leaver.cancel()
    await until(lambda: waiting(house) == 1)
    gate.let_one_go()
    await gate.has(1)
    gate.let_one_go()
    assert [status for status, _, _ in await asyncio.gather(first, last)] == [200, 200]
    assert len(await house.usage()) == 2
    assert house.gateway.snapshot().running == ()


@pytest.mark.parametrize("path", DIALECTS)
async def test_a_full_queue_is_429_in_the_callers_dialect(
    build: Build, scripted: Scripted, gate: Gate, path: str
) -> None:
    house = await build(
        upstream=await scripted(gate.answer), parallel=1, queue_length=1, queue_length_per_key=1
    )
    tasks = [asyncio.create_task(asked(house))]
    await gate.has(1)
    tasks.append(asyncio.create_task(asked(house)))
    await until(lambda: waiting(house) == 1)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 5, "input": "x"}
    async with house.post(path, body) as reply:
        answer = await reply.json(content_type=None)
        assert reply.status == 429
        assert 1 <= int(reply.headers["Retry-After"]) <= 600
        assert (reply.headers["X-Queue-Position"], int(reply.headers["X-Queue-Wait"]) >= 1) == ("2", True)
    assert "wait for their turn already" in worded(path, answer)
    for _ in range(2):
        await gate.has(1)
        gate.let_one_go()
    assert [status for status, _, _ in await asyncio.gather(*tasks)] == [200, 200]


async def test_one_key_cannot_take_every_place(build: Build, scripted: Scripted, gate: Gate) -> None:
    house = await build(
        upstream=await scripted(gate.answer), parallel=1, queue_length=9, queue_length_per_key=1
    )
    other = (await house.gateway.keys.create("other", None))["key"]
    tasks = [asyncio.create_task(asked(house))]
    await gate.has(1)
    tasks.append(asyncio.create_task(asked(house)))
    await until(lambda: waiting(house) == 1)
    status, _, answer = await asked(house)
    assert (status, "of this key" in answer["error"]) == (429, True)
    tasks.append(asyncio.create_task(asked(house, key=other)))
    await until(lambda: waiting(house) == 2)
    for _ in range(3):
        await gate.has(1)
        gate.let_one_go()
    assert [status for status, _, _ in await asyncio.gather(*tasks)] == [200] * 3


async def test_who_waits_too_long_is_told_so(build: Build, scripted: Scripted, gate: Gate) -> None:
    house = await build(upstream=await scripted(gate.answer), parallel=1, queue_seconds=1)
    first = asyncio.create_task(asked(house))
    await gate.has(1)
    status, headers, answer = await asked(house)
    assert (status, "No turn came within 1 s" in answer["error"]) == (429, True)
    assert int(headers["Retry-After"]) >= 1
    gate.let_one_go()
    assert (await first)[0] == 200


async def test_a_pause_sends_everybody_away_at_once(build: Build, scripted: Scripted, gate: Gate) -> None:
    house = await build(upstream=await scripted(gate.answer), parallel=1)
    tasks = [asyncio.create_task(asked(house)) for _ in range(4)]
    await gate.has(1)
    await until(lambda: waiting(house) == 3)
    house.gateway.duty.finish_then_pause()
    await until(lambda: waiting(house) == 0)
    gate.let_one_go()
    answers = await asyncio.gather(*tasks)
    assert sorted(status for status, _, _ in answers) == [200, 503, 503, 503]
    assert all(int(headers["Retry-After"]) > 0 for status, headers, _ in answers if status == 503)
    assert len(await house.usage()) == 1


async def test_a_reached_cap_sends_everybody_away_at_once(
    build: Build, scripted: Scripted, gate: Gate
) -> None:
    house = await build(upstream=await scripted(gate.answer), parallel=1)
    tasks = [asyncio.create_task(asked(house)) for _ in range(3)]
    await gate.has(1)
    await until(lambda: waiting(house) == 2)
    async with house.post("/config", {"SPENDING_CAP": 0}, key=house.operator) as reply:
        assert reply.status == 200
    assert {status for status, _, _ in await asyncio.gather(*tasks)} == {402}


async def test_a_revoked_key_waits_no_longer(build: Build, scripted: Scripted, gate: Gate) -> None:
    house = await build(upstream=await scripted(gate.answer), parallel=1)
    made = await house.gateway.keys.create("other", None)
    first = asyncio.create_task(asked(house))
    await gate.has(1)
    waits = asyncio.create_task(asked(house, key=made["key"]))
    await until(lambda: waiting(house) == 1)
    await house.gateway.keys.revoke(made["id"])
    assert (await waits)[0] == 401
    gate.let_one_go()
    assert (await first)[0] == 200


async def test_the_contributor_can_send_away_one_that_waits(
    build: Build, scripted: Scripted, gate: Gate
) -> None:
    house = await build(upstream=await scripted(gate.answer), parallel=1)
    first = asyncio.create_task(asked(house))
    await gate.has(1)
    waits = asyncio.create_task(asked(house))
    await until(lambda: waiting(house) == 1)
    (shown,) = [request for request in house.gateway.snapshot().running if request.queued]
    house.gateway.duty.stop_request(shown.id)
    assert (await waits)[0] == 503
    gate.let_one_go()
    assert (await first)[0] == 200


async def test_a_stream_that_asks_is_told_its_place_in_comments(
    build: Build, scripted: Scripted, gate: Gate
) -> None:
    house = await build(upstream=await scripted(gate.answer), parallel=1)
    first = asyncio.create_task(asked(house))
    await gate.has(1)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "stream": True}
    headers = {"X-Queue-Updates": "1"}
    async with house.post("/v1/chat/completions", body, headers=headers) as reply:
        assert (reply.status, reply.content_type) == (200, "text/event-stream")
        assert (reply.headers["X-Queue-Position"], int(reply.headers["X-Queue-Wait"]) >= 1) == ("1", True)
        line = await reply.content.readline()
        assert line.startswith(b": queue position=1 wait=")
        gate.let_one_go()
        await gate.has(1)
        gate.let_one_go()
        rest = await reply.read()
    assert rest.rstrip().endswith(b"data: [DONE]")
    assert b"_gateway" in rest
    assert (await first)[0] == 200
    lone = (await house.usage())[-1]
    assert lone.id == reply.headers["X-Request-Id"]


@pytest.mark.parametrize("path", DIALECTS[1:])
async def test_a_stream_that_was_told_its_place_and_is_sent_away_ends_in_its_dialect(
    build: Build, scripted: Scripted, gate: Gate, path: str
) -> None:
    house = await build(upstream=await scripted(gate.answer), parallel=1)
    first = asyncio.create_task(asked(house))
    await gate.has(1)
    told = {"X-Queue-Updates": "1"}
    address = house.gateway.address
    messages: Any = [{"role": "user", "content": "x"}]

    async def ask() -> None:
        if path == "/v1/messages":
            claude = anthropic.AsyncAnthropic(
                base_url=address, api_key=house.key, max_retries=0, default_headers=told
            )
            async with claude, claude.messages.stream(model=MODEL, max_tokens=5, messages=messages) as stream:
                await stream.get_final_message()
            return
        client = openai.AsyncOpenAI(
            base_url=address + "/v1", api_key=house.key, max_retries=0, default_headers=told
        )
        async with client:
            if path == "/v1/responses":
                async for event in await client.responses.create(model=MODEL, input="x", stream=True):
                    if event.type == "response.failed":
                        error = event.response.error
                        assert error is not None
                        raise openai.OpenAIError(error.message)
            else:
                async for _ in await client.chat.completions.create(
                    model=MODEL, messages=messages, stream=True
                ):
                    pass

    asking = asyncio.create_task(ask())
    await until(lambda: waiting(house) == 1)
    house.gateway.duty.finish_then_pause()
    with pytest.raises((openai.OpenAIError, anthropic.AnthropicError)) as caught:
        await asking
    assert "then the gateway pauses" in str(caught.value)
    gate.let_one_go()
    assert (await first)[0] == 200
    assert len(await house.usage()) == 1


async def test_an_sdk_overlooks_the_comments(build: Build) -> None:
    house = await build(parallel=1, speed=50.0)
    crowd = [asyncio.create_task(asked(house, tokens=60)) for _ in range(3)]
    await until(lambda: waiting(house) == 2)
    told = {"X-Queue-Updates": "1"}
    address = house.gateway.address
    messages: Any = [{"role": "user", "content": "x"}]
    client = openai.AsyncOpenAI(
        base_url=address + "/v1", api_key=house.key, max_retries=0, default_headers=told
    )
    claude = anthropic.AsyncAnthropic(
        base_url=address, api_key=house.key, max_retries=0, default_headers=told
    )
    async with client, claude:
        stream = await client.chat.completions.create(model=MODEL, messages=messages, stream=True)
        said = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        async with claude.messages.stream(model=MODEL, max_tokens=5, messages=messages) as answer:
            message = await answer.get_final_message()
    assert "".join(said)
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert [status for status, _, _ in await asyncio.gather(*crowd)] == [200] * 3


async def test_what_the_engine_refuses_after_comments_ends_the_stream_in_its_words(
    build: Build, scripted: Scripted
) -> None:
    go = asyncio.Event()

    async def answer(response: web.StreamResponse) -> None:
        await go.wait()
        await response.write(b'{"error": {"message": "the model is too large", "type": "x"}}')

    # The engine answers in one piece whatever it is asked for.
    house = await build(upstream=await scripted(answer), parallel=1)
    first = asyncio.create_task(asked(house))
    await until(lambda: len(house.gateway.snapshot().running) == 1)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "stream": True}
    async with house.post("/v1/chat/completions", body, headers={"X-Queue-Updates": "1"}) as reply:
        await reply.content.readline()
        go.set()
        rest = await reply.read()
    assert b"error" in rest
    assert b"[DONE]" not in rest
    await first


async def test_the_terminal_says_how_many_run_and_wait(build: Build, scripted: Scripted, gate: Gate) -> None:
    house = await build(upstream=await scripted(gate.answer), parallel=1)

    async def said() -> list[str]:
        told = []
        for path in ("/health", "/stats", "/admin/engine", "/admin/public-address"):
            async with house.get(path, key=house.operator) as reply:
                told.append(await reply.json())
        return status(told[0], told[1], told[2], told[3], house.gateway.address)

    assert not any("waiting" in line for line in await said())
    tasks = [asyncio.create_task(asked(house)) for _ in range(3)]
    await gate.has(1)
    await until(lambda: waiting(house) == 2)
    assert "1 running now, 2 waiting for their turn." in await said()
    for _ in range(3):
        await gate.has(1)
        gate.let_one_go()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("stream", [True, False])
async def test_of_an_engine_that_tells_nothing_the_places_are_found_out(build: Build, stream: bool) -> None:
    house = await build(parallel=3, speed=2.0, engine=OllamaEngine, engine_parallel=0)
    simulator = house.simulator
    samples: list[tuple[int, int]] = []

    async def watch() -> None:
        while True:
            samples.append((simulator.running, simulator.waiting))
            await asyncio.sleep(0.005)

    async def one() -> None:
        async with house.post("/api/chat", chat(tokens=200, stream=stream)) as reply:
            assert reply.status == 200
            await reply.read()

    watching = asyncio.create_task(watch())
    for _ in range(3):
        await asyncio.gather(*(one() for _ in range(8)))
    watching.cancel()
    assert max(running for running, _ in samples) == 3
    # Only trials wait in the engine's own queue; between two answers it shows for a moment who is next.
    crowded = sum(waiting > 1 for _, waiting in samples)
    assert crowded < len(samples) / 20
    assert sum(waiting > 0 for _, waiting in samples) < len(samples) / 2


async def test_a_weight_gives_a_key_more_turns_from_the_moment_it_is_set(
    build: Build, scripted: Scripted, gate: Gate
) -> None:
    house = await build(upstream=await scripted(gate.answer), parallel=1)
    keys = {name: await house.gateway.keys.create(name, None) for name in ("heavy", "light")}
    await house.gateway.keys.limit(keys["heavy"]["id"], {"weight": 3})
    first = asyncio.create_task(asked(house))
    await gate.has(1)
    crowd = [asyncio.create_task(asked(house, key=key["key"])) for _ in range(12) for key in keys.values()]
    await until(lambda: waiting(house) == 24)
    for _ in range(25):
        await gate.has(1)
        gate.let_one_go()
    await asyncio.gather(first, *crowd)
    labels = ["heavy" if row.key == keys["heavy"]["id"] else "light" for row in await house.usage()][1:]
    assert [labels[at : at + 4].count("heavy") for at in (0, 4, 8, 12)] == [3] * 4
