"""An answer that the gateway ends: what each client makes of the end, in the budget's case and in the contributor's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import ollama
import openai
import pytest

from tests.clients.conftest import PLAIN
from tests.gateway.conftest import Build, House

LONG = "[simulate: 4000 tokens]"
ASK: list[Any] = [{"role": "user", "content": LONG}]
Hear = Callable[[House, Callable[[], None]], Awaitable[tuple[object, dict[str, Any]]]]
"""Asks, calls the function with the first piece, and gives back why the answer ended, and `_gateway`."""


async def hear_ollama(house: House, begun: Callable[[], None]) -> tuple[object, dict[str, Any]]:
    client = ollama.AsyncClient(house.gateway.address, headers={"Authorization": f"Bearer {house.key}"})
    parts: list[ollama.ChatResponse] = []
    async for part in await client.chat(PLAIN, ASK, stream=True, options={"num_predict": 4000}):
        parts.append(part)
        begun()
    await client._client.aclose()
    gateway = (parts[-1].model_extra or {}).get("_gateway")
    return parts[-1].done_reason, gateway or {"outcome": None}


async def hear_chat(house: House, begun: Callable[[], None]) -> tuple[object, dict[str, Any]]:
    async with openai.AsyncOpenAI(base_url=f"{house.gateway.address}/v1", api_key=house.key) as client:
        chunks = []
        async for chunk in await client.chat.completions.create(
            model=PLAIN, messages=ASK, max_tokens=4000, stream=True
        ):
            chunks.append(chunk)
            begun()
    return chunks[-1].choices[0].finish_reason, (chunks[-1].model_extra or {})["_gateway"]


async def hear_completion(house: House, begun: Callable[[], None]) -> tuple[object, dict[str, Any]]:
    async with openai.AsyncOpenAI(base_url=f"{house.gateway.address}/v1", api_key=house.key) as client:
        chunks = []
        async for chunk in await client.completions.create(
            model=PLAIN, prompt=LONG, max_tokens=4000, stream=True
        ):
            chunks.append(chunk)
            begun()
    return chunks[-1].choices[0].finish_reason, (chunks[-1].model_extra or {})["_gateway"]


async def hear_response(house: House, begun: Callable[[], None]) -> tuple[object, dict[str, Any]]:
    async with openai.AsyncOpenAI(base_url=f"{house.gateway.address}/v1", api_key=house.key) as client:
        text, events = "", []
        async for event in await client.responses.create(
            model=PLAIN, input=LONG, max_output_tokens=4000, stream=True
        ):
            events.append(event)
            text += event.delta if event.type == "response.output_text.delta" else ""
            begun()
    last: Any = events[-1]
    assert [event.sequence_number for event in events] == list(range(len(events)))  # type: ignore[union-attr]
    assert last.type == "response.incomplete"
    assert last.response.output_text == text
    return last.response.incomplete_details.reason, (last.model_extra or {})["_gateway"]


async def hear_message(house: House, begun: Callable[[], None]) -> tuple[object, dict[str, Any]]:
    gateway: dict[str, Any] = {}
    async with (
        anthropic.AsyncAnthropic(base_url=house.gateway.address, api_key=house.key) as client,
        client.messages.stream(model=PLAIN, max_tokens=4000, messages=ASK) as stream,
    ):
        async for _ in stream.text_stream:
            begun()
        final = await stream.get_final_message()
    assert final.content[0].type == "text"
    (row,) = await house.usage()
    assert final.usage.output_tokens == row.tok_out
    gateway["outcome"] = row.outcome  # the helper keeps nothing of ours
    return final.stop_reason, gateway


HEARD = pytest.mark.parametrize(
    ("hear", "reason"),
    [
        (hear_ollama, "length"),
        (hear_chat, "length"),
        (hear_completion, "length"),
        (hear_response, "max_output_tokens"),
        (hear_message, "max_tokens"),
    ],
    ids=["ollama", "chat", "completion", "response", "message"],
)


@HEARD
async def test_a_cut_by_the_budget_ends_like_a_token_limit(build: Build, hear: Hear, reason: str) -> None:
    # Five seconds at 59 W and 0.15 $/kWh are 0.0000122917 $: one hold fits, its renewal does not.
    house = await build(speed=1.0, hold_seconds=5, spending_cap="0.000013")
    why, gateway = await hear(house, lambda: None)
    (row,) = await house.usage()
    assert (why, row.outcome, row.tok_src) == (reason, "budget_cut", "counted")
    assert gateway["outcome"] in ("budget_cut", None)


@HEARD
async def test_so_does_a_cut_by_the_contributor(build: Build, hear: Hear, reason: str) -> None:
    house = await build(speed=1.0)
    paused: list[bool] = []

    def pause() -> None:
        if not paused:
            paused.append(True)
            house.gateway.duty.pause_now()

    why, gateway = await hear(house, pause)
    (row,) = await house.usage()
    assert (why, row.outcome) == (reason, "stopped")
    assert gateway["outcome"] in ("stopped", None)
