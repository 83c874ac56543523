"""A machine whose clock stands before 1970, as with an empty battery: it serves, and says nothing of a fault."""

from __future__ import annotations

import logging
import time

import pytest

from tests.gateway.conftest import Build, chat


@pytest.mark.parametrize("stream", [True, False])
async def test_a_gateway_whose_clock_stands_before_1970_serves_and_records(
    build: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    house = await build()
    monkeypatch.setattr(time, "time_ns", lambda: -86_400_000_000_000)
    async with house.post("/api/chat", chat(stream=stream)) as reply:
        assert reply.status == 200
        await reply.read()
    (row,) = await house.usage()
    assert (row.outcome, row.t0_us) == ("complete", 0)
    for path in ("/health", "/stats", "/ledger", "/dashboard/data"):
        async with house.get(path, key=house.operator) as reply:
            assert reply.status == 200, path
    async with house.get("/reconcile", key=house.operator) as reply:
        assert (await reply.json())["status"] == "OK"
    async with house.get("/nowhere") as reply:
        assert reply.status == 404
    async with house.post("/admin/keys", {"label": "laptop"}, key=house.operator) as reply:
        assert reply.status == 201
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
