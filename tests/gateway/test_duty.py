"""Going on and off duty while something is under way: the last word counts, and what is said is true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from app.basics.signal import Signal
from app.commands import operator as asking
from app.commands.operator import operator
from app.engine.base import Loaded
from app.engine.health import EngineState
from app.engine.host import HostCare, HostPhase, HostState, NoHost
from app.gateway.assembly import running
from app.gateway.duty import Duty
from app.gateway.gateway import Gateway
from app.gateway.release import Released
from app.power.sensors.base import NullSensor, Sensor
from app.power.sensors.simulated import SimulatedSensor
from app.presence.blockers import Blocker, Lending, Weight
from app.presence.conduct import STARTING, Conduct, Wish
from app.settings.folders import Folders
from app.settings.instance import InstanceLock
from app.settings.store import SettingsStore
from app.simulator import Faults, Simulator, SimulatorEngine
from app.vault.memory import MemoryVault
from tests.gateway.conftest import House, chat


class Stage:
    """What Duty has around it, with every wait and the clock in the test's hands. It stands for the queue, jobs,
    upstream and uptime, and `way` is what stands in the way."""

    def __init__(self, *, contribute: bool = False) -> None:
        self.unbilled_s = self.billed_s = 0
        self.lent = False
        self.running = 0
        self.cuts = 0
        self.sent_away = 0
        self.ups = 0
        self.releases = 0
        self.called_off = 0
        self.asked_to_unload: list[tuple[set[str], bool]] = []
        self.models = {"qwen2.5:3b"}
        self.told = asyncio.Event()
        self.found = asyncio.Event()
        self.way: Blocker | None = None
        self.now_us = 0
        self.ended: Signal[[Any]] = Signal()
        self.moved: Signal[[]] = Signal()
        self.host, self.watch = NoHost(), self
        self.state = EngineState(reachable=True, problem=None, version=None, models=(), loaded=(LOADED,))
        self.looks = self.said = 0
        self.conduct = Conduct([self.rule], now_us=lambda: self.now_us)
        here = cast(Any, self)
        self.duty = Duty(self.conduct, here, here, here, here, changed=self.say, now_us=lambda: self.now_us)
        self.duty.started(contribute=contribute)

    def rule(self, _: int) -> Blocker | None:
        self.looks += 1
        return self.way

    def say(self) -> None:
        self.said += 1

    def stands(self, lending: Lending) -> None:
        self.way = Blocker("game", "A game runs.", "It ends with the game.", Weight.CHOSEN, lending=lending)
        self.conduct.look()

    def goes(self) -> None:
        self.way = None
        self.conduct.look()

    def ends(self) -> None:
        self.running -= 1
        self.ended(cast(Any, SimpleNamespace(call=SimpleNamespace(model=LOADED.name))))

    def __len__(self) -> int:
        return self.running

    def begin(self) -> None:
        self.lent = True
        self.unbilled_s = 0

    def end(self) -> None:
        self.billed_s += self.unbilled_s if self.lent else 0
        self.unbilled_s = 0
        self.lent = False

    def look_again(self) -> None:
        self.sent_away += 1

    def end_all(self, _: object) -> None:
        self.cuts += self.running
        while self.running:
            self.ends()

    async def wait_idle(self, _: float) -> bool:
        return True

    async def up(self) -> None:
        self.ups += 1

    async def exposure(self) -> str:
        await self.found.wait()
        return "The engine answers at 192.0.2.1:11434."

    async def release(self, used: set[str], *, others: bool = False) -> Released:
        self.releases += 1
        self.asked_to_unload.append((set(used), others))
        try:
            await self.told.wait()
        except asyncio.CancelledError:
            self.called_off += 1
            raise
        left = () if others else ("somebody-elses:7b",)
        return Released(tuple(used), (), 0, None, "Released 5.0 GB of the GPU's memory.", left)


LOADED = Loaded("qwen2.5:3b", "", 2 * 10**9, 2 * 10**9, "")


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


@pytest.mark.parametrize("lending", [Lending.ENDS, Lending.ENDS_WITH_REQUESTS])
async def test_a_blocker_that_ends_lending_ends_uptime_and_gives_the_gpu_back_though_the_wish_is_to_contribute(
    lending: Lending,
) -> None:
    stage = Stage(contribute=True)
    await turn()
    stage.unbilled_s = 60
    stage.stands(lending)
    await turn()
    assert not stage.duty.on
    assert (stage.billed_s, stage.releases) == (60, 1)
    assert stage.conduct.wish is Wish.CONTRIBUTE
    stage.unbilled_s = 3600
    stage.goes()
    await turn()
    assert stage.duty.on
    assert (stage.billed_s, stage.called_off, stage.ups) == (60, 1, 2)
    await stage.duty.stop()


async def test_a_blocker_that_passes_keeps_the_models_the_uptime_and_what_runs() -> None:
    stage = Stage(contribute=True)
    await turn()
    stage.running, stage.unbilled_s = 1, 60
    stage.stands(Lending.GOES_ON)
    await turn()
    assert stage.duty.on
    assert (stage.cuts, stage.releases, stage.billed_s, stage.ups) == (0, 0, 0, 1)
    stage.goes()
    await turn()
    assert stage.ups == 1
    await stage.duty.stop()


async def test_lending_that_ends_with_the_requests_waits_for_the_last_one() -> None:
    stage = Stage(contribute=True)
    stage.running = 2
    stage.stands(Lending.ENDS_WITH_REQUESTS)
    stage.ends()
    await turn()
    assert stage.duty.on
    assert (stage.cuts, stage.releases) == (0, 0)
    stage.ends()
    await turn()
    assert not stage.duty.on
    assert stage.releases == 1
    await stage.duty.stop()


async def test_a_thousand_requests_that_end_at_once_ask_the_rules_twice_and_tell_the_faces_nothing() -> None:
    """Once at once, and once for all the others: the last of them may have spent what was left under the cap."""
    stage = Stage(contribute=True)
    stage.running = 1000
    looks, said = stage.looks, stage.said
    while stage.running:
        stage.ends()
    assert (stage.looks, stage.said) == (looks + 1, said)
    stage.way = Blocker("full", "The cap is reached.", "Raise it.", Weight.CHOSEN)
    async with asyncio.timeout(10):
        while not stage.conduct.blockers:
            await asyncio.sleep(0.001)
    assert stage.looks == looks + 2
    await stage.duty.stop()


async def test_lending_that_ends_at_once_cuts_what_runs() -> None:
    stage = Stage(contribute=True)
    stage.running = 2
    stage.stands(Lending.ENDS)
    await turn()
    assert (stage.cuts, stage.releases) == (2, 1)
    await stage.duty.stop()


async def test_what_keeps_the_gpu_from_being_lent_is_not_ended_by_pressing_contribute() -> None:
    stage = Stage()
    stage.stands(Lending.ENDS)
    stage.duty.contribute()
    await turn()
    assert not stage.duty.on
    assert stage.ups == 0
    stage.goes()
    await turn()
    assert stage.ups == 1
    await stage.duty.stop()


async def test_contributing_again_while_a_fault_stands_tries_again() -> None:
    stage = Stage(contribute=True)
    stage.stands(Lending.GOES_ON)
    stage.duty.contribute()
    await turn()
    assert stage.ups == 2
    await stage.duty.stop()


async def test_a_snooze_ends_lending_and_brings_the_engine_up_when_it_is_over() -> None:
    stage = Stage(contribute=True)
    await turn()
    stage.duty.snooze(3600.0)
    await turn()
    assert not stage.duty.on
    assert stage.releases == 1
    stage.now_us = 3600 * 10**6
    stage.conduct.look()
    await turn()
    assert stage.duty.on
    assert (stage.called_off, stage.ups) == (1, 2)
    await stage.duty.stop()


async def test_what_was_loaded_without_us_is_named_and_unloaded_when_that_is_asked_for() -> None:
    stage = Stage(contribute=True)
    stage.told.set()
    stage.duty.unload_others()
    await turn()
    assert stage.releases == 0, "the machine is lent"
    stage.duty.pause_now()
    await stage.duty.released()
    assert stage.asked_to_unload == [({"qwen2.5:3b"}, False)]
    assert stage.duty.others == ("somebody-elses:7b",)
    stage.duty.unload_others()
    await stage.duty.released()
    assert stage.asked_to_unload[1] == (set(), True), "what was unloaded is not ours any more"
    assert stage.duty.others == ()
    stage.duty.pause_now()
    await stage.duty.released()
    assert stage.duty.others == ("somebody-elses:7b",)
    stage.duty.contribute()
    assert stage.duty.others == ()
    await stage.duty.stop()


async def test_quitting_bills_the_last_stretch_and_leaves_the_models_to_the_engine() -> None:
    stage = Stage(contribute=True)
    await turn()
    stage.unbilled_s = 60
    await stage.duty.stop()
    await turn()
    assert (stage.billed_s, stage.releases) == (60, 0)


@asynccontextmanager
async def gateway(
    folder: Path, engine: SimulatorEngine, sensor: Sensor, host: Any = None
) -> AsyncIterator[Gateway]:
    folders = Folders.for_profile("default", folder)
    store = SettingsStore.load(cli={"port": 0, "vault": "memory"}, env={}, file=folders.settings_file)
    async with running(
        store, folders, MemoryVault(), engine, sensor, contribute=True, host=host or (lambda care: NoHost())
    ) as made:
        yield made


async def test_choosing_the_processor_ends_at_once_that_the_gpu_is_missed(tmp_path: Path) -> None:
    simulator = Simulator(speed=500.0, faults=Faults(cpu_only=True))
    await simulator.start()
    sensor = SimulatedSensor(simulator.gpu_state)
    try:
        async with gateway(tmp_path, SimulatorEngine(simulator.url), sensor) as made:
            headers = {"Authorization": f"Bearer {await made.keys.plain()}"}
            async with (
                aiohttp.ClientSession(made.address, headers=headers) as session,
                session.post("/api/chat", json=chat()) as reply,
            ):
                await reply.read()
            async with asyncio.timeout(5):
                while (made.snapshot().blocker or STARTING).code != "gpu_unused":
                    await asyncio.sleep(0.01)
            await made.settings.configure({"engine_gpu": "cpu"})
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
        made.duty.pause_now()
        assert await made.duty.released() is None


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

    def full(_: InstanceLock, address: str, *_token: str) -> None:
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


async def test_a_snooze_tells_a_client_its_seconds_and_ends_by_itself(house: House) -> None:
    house.gateway.duty.snooze(3600.0)
    async with house.post("/api/chat", chat()) as reply:
        assert reply.status == 503
        assert 3590 <= int(reply.headers["Retry-After"]) <= 3600
    house.gateway.duty.snooze(0.05)
    async with asyncio.timeout(5):
        while house.gateway.snapshot().blocker is not None:
            await asyncio.sleep(0.01)
    async with house.post("/api/chat", chat()) as reply:
        assert reply.status == 200


async def test_pause_unloads_what_was_used_through_us_and_offers_to_unload_the_rest(house: House) -> None:
    theirs = "llama3.1:8b"
    async with house.post("/api/chat", chat(stream=False)) as reply:
        assert reply.status == 200
    async with (
        aiohttp.ClientSession(house.simulator.url) as past_us,
        past_us.post("/api/generate", json={"model": theirs}) as reply,
    ):
        assert reply.status == 200
        await reply.read()
    async with house.post("/admin/pause", {"wait": True}, key=house.operator) as reply:
        told = await reply.json()
    assert told["notice"].startswith("Released ")
    assert f"{theirs} (" in told["notice"]
    assert told["others"] == [theirs]
    assert house.gateway.snapshot().others == (theirs,)
    assert [model.name for model in await house.gateway.upstream.engine.loaded()] == [theirs]
    async with house.post("/admin/pause", {"wait": True, "others": True}, key=house.operator) as reply:
        told = await reply.json()
    assert told["others"] == []
    assert await house.gateway.upstream.engine.loaded() == ()


async def test_what_the_contributor_loaded_here_is_unloaded_with_a_pause(house: House) -> None:
    async with house.post("/admin/models/load", {"model": "llama3.1:8b"}, key=house.operator) as reply:
        assert reply.status == 200, await reply.text()
        await reply.read()
    async with house.post("/admin/pause", {"wait": True}, key=house.operator) as reply:
        assert (await reply.json())["others"] == []
    assert await house.gateway.upstream.engine.loaded() == ()
