"""The contributor hears at 80 and at 95 % of the spending cap, once each, and clients hear nothing of it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.simulator import Simulator
from tests.gateway.conftest import House
from tests.gateway.delivery.test_lost_tail import Garage


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    made = Simulator(speed=500.0)
    await made.start()
    yield made
    await made.stop()


async def spend(house: House, hours: str) -> None:
    async with house.post("/admin/labor", {"hours": hours}, key=house.operator) as reply:
        assert reply.status == 201, await reply.text()


async def told(house: House, key: str) -> int | None:
    async with house.get("/stats", key=key) as reply:
        level: int | None = json.loads(await reply.text())["cap_warning_percent"]
        return level


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "of the spending cap" in record.getMessage()]


async def test_each_level_is_said_once_also_over_a_restart_and_to_the_contributor_alone(
    tmp_path: Path, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    garage = Garage(tmp_path / "gateway")
    async with garage.open(simulator, labor_rate_per_hour="1", spending_cap="10") as house:
        await spend(house, "7.9")
        assert (warnings(caplog), house.gateway.snapshot().money.cap_warning_pct) == ([], 0)
        await spend(house, "0.1")
        await spend(house, "0.5")
        assert warnings(caplog) == ["80 % of the spending cap is spent: $8.00 of $10.00."]
        assert house.gateway.snapshot().money.cap_warning_pct == 80
        assert (await told(house, house.operator), await told(house, house.key)) == (80, None)
    async with garage.open(simulator, labor_rate_per_hour="1", spending_cap="10") as house:
        assert house.gateway.snapshot().money.cap_warning_pct == 80
        assert len(warnings(caplog)) == 1
        await spend(house, "1.5")
        assert warnings(caplog)[1:] == ["95 % of the spending cap is spent: $10.00 of $10.00."]
        async with house.post("/config", {"spending_cap": 100}, key=house.operator) as reply:
            assert reply.status == 200
        assert house.gateway.snapshot().money.cap_warning_pct == 0
        await spend(house, "70")
        assert warnings(caplog)[2:] == ["80 % of the spending cap is spent: $80.00 of $100.00."]
