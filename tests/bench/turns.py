"""Turns at the engine: whether alike requests cost the same however long they waited, and where one comes beside many.

The gateway meters the simulator by its sensor, as it would a card: 8 alike requests, unstreamed, through 2 places.
Beside them, of two keys, one with 50 requests queued and one with 1, the place at which the one came.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.tools import gateway

ALIKE = 8
PLACES = 2
CROWD = 50
BODY = {
    "model": "qwen2.5:3b",
    "messages": [{"role": "user", "content": "Tell me about the sea."}],
    "stream": False,
    "options": {"num_predict": 256},
}


def measure(rounds: int = 3) -> dict[str, float]:
    """`spread`: by how much the dearest of 8 alike took more energy than the cheapest, at the worst of `rounds`;
    `waited`: the same between those that waited for most and those that waited for nothing, the mean of each, negative
    where waiting ones took less; `place`: at which the one came beside 50: 1 is the next to begin."""
    with (
        tempfile.TemporaryDirectory() as name,
        gateway(Path(name), "--simulate", "--set", f"engine_parallel={PLACES}") as (_, line),
    ):
        return asyncio.run(_measure(line, rounds))


async def _measure(line: dict[str, Any], rounds: int) -> dict[str, float]:
    other = await asyncio.to_thread(_second_key, line)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(line["url"], connector=connector) as session:

        async def ask(key: str, tokens: int) -> dict[str, Any]:
            body = {**BODY, "options": {"num_predict": tokens}}
            async with session.post(
                "/api/chat", json=body, headers={"Authorization": f"Bearer {key}"}
            ) as reply:
                answer: dict[str, Any] = await reply.json(content_type=None)
                return answer["_gateway"] | {
                    "waited": float(reply.headers["X-Queue-Wait"]),
                    "place": int(reply.headers["X-Queue-Position"]),
                }

        await ask(line["api_key"], 1)  # the model is loaded
        spreads: list[float] = []
        at_once: list[float] = []
        last: list[float] = []
        for _ in range(rounds):
            alike = await asyncio.gather(*(ask(line["api_key"], 256) for _ in range(ALIKE)))
            energies = [figures["energy_wh"] for figures in alike]
            spreads.append(max(energies) / min(energies) - 1)
            in_turn = sorted(alike, key=lambda figures: figures["waited"])
            at_once += [figures["energy_wh"] for figures in in_turn[:PLACES]]
            last += [figures["energy_wh"] for figures in in_turn[-PLACES:]]
        ended = 0

        async def of_the_crowd() -> None:
            nonlocal ended
            await ask(line["api_key"], 16)
            ended += 1

        crowd = [asyncio.create_task(of_the_crowd()) for _ in range(CROWD + PLACES)]
        while ended == 0:
            await asyncio.sleep(0.001)
        lone = await ask(other, 16)
        await asyncio.gather(*crowd)
    return {"spread": max(spreads), "waited": sum(last) / sum(at_once) - 1, "place": lone["place"]}


def _second_key(line: dict[str, Any]) -> str:
    request = urllib.request.Request(
        line["url"] + "/admin/keys",
        json.dumps({"label": "the one"}).encode(),
        {"Authorization": f"Bearer {line['operator_token']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return str(json.load(reply)["key"])


if __name__ == "__main__":
    print(measure())
