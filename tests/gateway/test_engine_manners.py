"""What an Ollama does that its documentation does not dwell on, and what a client of ours sees of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.ledger.outcomes import RequestOutcome
from app.simulator import Faults
from tests.gateway.conftest import MODEL, House, chat

PATHS = ["/api/chat", "/api/generate", "/v1/chat/completions"]


def body(path: str, **more: Any) -> dict[str, Any]:
    """A body that each path takes."""
    asked: dict[str, Any] = {"model": MODEL}
    if path == "/api/generate":
        asked["prompt"] = "Hello"
    else:
        asked["messages"] = [{"role": "user", "content": "Hello"}]
    return asked | more


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", PATHS)
async def test_what_the_engine_refuses_is_a_refusal_and_costs_nothing(
    house: House, path: str, stream: bool
) -> None:
    house.simulator.faults = Faults(gone=MODEL)
    async with house.post(path, body(path, stream=stream)) as reply:
        assert reply.status == 404
        answer = await reply.json()
    assert answer["_gateway"]["outcome"] == "refused"
    assert answer["_gateway"]["estimated_cost_pico"] == "0"
    (row,) = await house.usage()
    assert (row.outcome, row.cost_pico, row.tok_src) == (RequestOutcome.REFUSED, 0, "none")
    money = house.gateway.snapshot().money
    assert (money.spent_pico, money.held_pico) == (0, 0)


async def test_a_capability_that_the_model_lacks_is_the_clients_mistake(house: House) -> None:
    async with house.post("/api/chat", chat(think=True)) as reply:
        assert reply.status == 400
        assert json.loads(await reply.read())["error"] == f'"{MODEL}" does not support thinking'
    (row,) = await house.usage()
    assert (row.outcome, row.cost_pico) == ("refused", 0)
