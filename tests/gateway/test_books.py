"""What a gateway counts with outlives it: what a crash cut off is recorded at the next start."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from app.gateway.assembly import running
from app.ledger.holds import HoldRow
from app.ledger.ids import new_id
from app.power.sensors.base import NullSensor
from app.settings.folders import Folders
from app.settings.store import SettingsStore
from app.simulator import Simulator, SimulatorEngine
from app.vault.memory import MemoryVault

NOW_US = 1_763_650_000_000_000


@pytest.fixture
async def start(tmp_path):
    """`async with start() as gateway`: one profile and one vault, however often it is started."""
    vault, folders = MemoryVault(), Folders.for_profile("default", tmp_path)
    async with AsyncExitStack() as stack:
        simulator = Simulator(speed=500)
        await simulator.start()
        stack.push_async_callback(simulator.stop)

        @asynccontextmanager
        async def begin():
            store = SettingsStore.load(cli={"port": 0, "vault": "memory"}, env={}, file=folders.settings_file)
            engine = SimulatorEngine(simulator.url)
            async with running(store, folders, vault, engine, NullSensor(), contribute=True) as gateway:
                yield gateway

        yield begin


async def test_what_a_crash_cut_off_is_told_by_its_id_and_by_nothing_that_a_client_chose(start, caplog):
    async with start() as gateway:
        log = gateway.ledger.clients()[0].log
        row = HoldRow(
            new_id(NOW_US), log, "k_secret", "a/model:x", "/api/chat", "t_1", NOW_US, 5, NOW_US, 7, 9
        )
        await gateway.ledger.hold(row)
    async with start() as gateway:
        assert [draft.id for draft in gateway.ledger.recovered] == [row.request_id]
    (told,) = [record.getMessage() for record in caplog.records if "cut off" in record.getMessage()]
    assert row.request_id in told
    assert not any(word in told for word in ("k_secret", "a/model", "/api/chat", "UsageDraft"))
