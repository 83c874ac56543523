"""Going on and off duty while something is under way: the last word counts, and what is said is true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from app.billing.budget import Budget
from app.commands import operator as asking
from app.commands.operator import operator
from app.engine.host import HostCare, HostPhase, HostState, NoHost
from app.gateway.duty import Duty
from app.gateway.gateway import Gateway
from app.gateway.release import Released
from app.power.sensors.base import NullSensor, Sensor
from app.power.sensors.simulated import SimulatedSensor
from app.presence.conduct import STARTING, Conduct
from app.settings.folders import Folders
from app.settings.instance import InstanceLock
from app.settings.store import SettingsStore
from app.simulator import Faults, Simulator, SimulatorEngine
from app.vault.memory import MemoryVault
from tests.gateway.conftest import House, chat


class Stage:
    """What Duty has around it, with every wait in the test's hands. It stands for jobs, upstream and uptime."""

    def __init__(self) -> None:
        self.unbilled_s = self.billed_s = 0
        self.releases = 0
        self.called_off = 0
        self.told = asyncio.Event()
        self.found = asyncio.Event()
        self.conduct = Conduct(lambda: None)
        self.duty = Duty(self.conduct, budget=Budget(10**15, 0), currency=lambda: "EUR", changed=lambda: None)
        here = cast(Any, self)
        self.duty.attach(here, here, here)
        self.duty.started(contribute=False)

    def __len__(self) -> int:
        return 0

    def begin(self) -> None:
        self.unbilled_s = 0

    def bill(self) -> None:
        self.billed_s += self.unbilled_s if self.duty.on else 0
        self.unbilled_s = 0

    def stop(self) -> None: ...

    def end_all(self, _: object) -> None: ...

    async def wait_idle(self, _: float) -> bool:
        return True

    async def up(self) -> None: ...

    async def exposure(self) -> str:
        await self.found.wait()
        return "The engine answers at 192.0.2.1:11434."

    async def release(self) -> Released:
        self.releases += 1
        try:
            await self.told.wait()
        except asyncio.CancelledError:
            self.called_off += 1
            raise
        return Released((), (), 0, None, "Released 5.0 GB of the GPU's memory.")


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_contributing_calls_off_every_release_however_often_pause_was_pressed() -> None:
    stage = Stage()
    for _ in range(3):
        stage.duty.pause_now()
        await turn()
    stage.duty.contribute()
    await turn()
    assert (stage.releases, stage.called_off) == (3, 3)
    await stage.duty.stop()


async def test_what_a_pause_gave_back_is_not_written_over_by_a_start_that_ends_later() -> None:
    stage = Stage()
    stage.duty.contribute()
    await turn()
    stage.duty.pause_now()
    await turn()
    stage.told.set()
    assert await stage.duty.released() == "Released 5.0 GB of the GPU's memory."
    stage.found.set()
    await turn()
    assert stage.duty.notice == "Released 5.0 GB of the GPU's memory."
    await stage.duty.stop()


async def test_finishing_while_paused_bills_nobody_for_the_pause() -> None:
    stage = Stage()
    stage.unbilled_s = 200
    stage.duty.finish_then_pause()
    assert stage.billed_s == 0
    stage.duty.contribute()
    stage.unbilled_s = 100
    stage.duty.finish_then_pause()
    assert stage.billed_s == 100
    await stage.duty.stop()


@asynccontextmanager
async def gateway(
    folder: Path, engine: SimulatorEngine, sensor: Sensor, host: Any = None
) -> AsyncIterator[Gateway]:
    folders = Folders.for_profile("default", folder)
    store = SettingsStore.load(cli={"port": 0, "vault": "memory"}, env={}, file=folders.settings_file)
    made = Gateway(store, folders, MemoryVault(), engine, sensor, host=host or (lambda care: NoHost()))
    await made.start(contribute=True)
    async with made:
        yield made


async def test_choosing_the_processor_ends_at_once_that_the_gpu_is_missed(tmp_path: Path) -> None:
    simulator = Simulator(speed=500.0, faults=Faults(cpu_only=True))
    await simulator.start()
    sensor = SimulatedSensor(simulator.gpu_state)
    try:
        async with gateway(tmp_path, SimulatorEngine(simulator.url), sensor) as made:
            headers = {"Authorization": f"Bearer {await made.client_key()}"}
            async with (
                aiohttp.ClientSession(made.address, headers=headers) as session,
                session.post("/api/chat", json=chat()) as reply,
            ):
                await reply.read()
            async with asyncio.timeout(5):
                while (made.snapshot().blocker or STARTING).code != "gpu_unused":
                    await asyncio.sleep(0.01)
            await made.configure({"engine_gpu": "cpu"})
            assert made.snapshot().blocker is None
    finally:
        await simulator.stop()


class Coming(NoHost):
    """A container of ours that is not there yet."""

    managed = True
    state = HostState(HostPhase.STARTING)


async def test_a_pause_before_the_container_runs_says_nothing_of_memory_in_use(tmp_path: Path) -> None:
    def host(_: HostCare) -> Coming:
        return Coming()

    async with gateway(tmp_path, SimulatorEngine("http://127.0.0.1:9"), NullSensor(), host) as made:
        made.pause_now()
        assert await made.released() is None


async def test_the_operator_waits_for_an_answer_that_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "SILENCE_S", 0.1)

    async def answer(_: web.BaseRequest) -> web.Response:
        await asyncio.sleep(0.5)  # an image that is being fetched
        return web.json_response({"said": "The engine runs."})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with operator(cast(Any, None), f"http://127.0.0.1:{port}", "token") as owner:
            said = await owner.ask("POST", "/admin/engine", {"verb": "start"})
        assert said == {"said": "The engine runs."}
    finally:
        await runner.cleanup()


async def test_a_start_that_fails_half_way_leaves_the_door_shut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses: list[str] = []

    def full(_: InstanceLock, address: str) -> None:
        addresses.append(address)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(InstanceLock, "announce", full)
    with pytest.raises(OSError, match="No space left"):
        async with gateway(tmp_path, SimulatorEngine("http://127.0.0.1:9"), NullSensor()):
            pass
    port = int(addresses[0].rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    InstanceLock.acquire(Folders.for_profile("default", tmp_path).state).release()


@pytest.mark.parametrize("body", [{}, {"verb": None}, {"verb": ["stop"]}])
async def test_an_engines_verb_that_is_none_is_refused_in_words(house: House, body: dict[str, Any]) -> None:
    async with house.post("/admin/engine", body, key=house.operator) as reply:
        assert reply.status == 400
        assert await reply.json() == {"error": "verb must name what to do, such as start or stop."}
