"""A gateway in this process for clients that nobody here wrote, in front of a simulator that thinks, sees and calls."""

from __future__ import annotations

import pytest

from tests.gateway.conftest import House, build, house

__all__ = ["build", "house"]

MODEL = "qwen3-vl:4b"
"""Writes, sees, thinks and calls tools."""
PLAIN = "qwen2.5:3b"
VECTORS = "nomic-embed-text:latest"
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""One pixel, a PNG in base64."""
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
CALL = "What is the weather? [simulate: call a tool]"


async def settle(house: House, status: int) -> None:
    """Bring the gateway into the state in which it answers with `status`."""
    if status == 402:
        async with house.post("/config", {"spending_cap": 0.0000001}, key=house.operator) as reply:
            assert reply.status == 200, await reply.text()
    elif status == 503:
        async with house.post("/admin/pause", {}, key=house.operator) as reply:
            assert reply.status == 200, await reply.text()


@pytest.fixture
async def seeing(house: House) -> House:
    """The usual house, whose engine has a model of every capability."""
    async with house.session.post(
        f"{house.simulator.url}/api/pull", json={"model": MODEL, "stream": False}
    ) as reply:
        assert (await reply.json())["status"] == "success"
    await house.gateway.upstream.watch.refresh()
    return house
