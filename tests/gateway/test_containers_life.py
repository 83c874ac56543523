"""The whole life of a gateway with a container, as processes: foreign containers, kill -9, quitting, a hung Docker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import docker
import pytest

from app.containers.base import LABEL_PROFILE, LABEL_ROLE
from tests.gateway.contained import MODEL, NAMES, assert_for_a_person, seen, until
from tests.gateway.processes import Process, gateway, run
from tests.gateway.test_processes import client
from tests.real.docker_engine import Engine
from tests.real.docker_images import QUICK_ADDRESS, Images
from tests.real.docker_registry import Registry

pytestmark = pytest.mark.real

TUNNEL = {"label": f"{LABEL_ROLE}=tunnel"}
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "[simulate: 5 tokens]"}], "stream": False}


@pytest.fixture
def home(
    tmp_path: Path, dockerd: Engine, images: Images, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A home whose settings lead to the tests' own Docker Engine, in the environment of every process."""
    dockerd.clean()
    for name, value in {
        "ENGINE": "container",
        "ENGINE_IMAGE": registry.push(images.simulator, "ollama/life"),
        "ENGINE_GPU": "cpu",
        "DOCKER_HOST": dockerd.socket,
        "TUNNEL_IMAGE": images.cloudflared,
        "VAULT": "file",
        "PORT": "0",
    }.items():
        monkeypatch.setenv(f"MORTDECAI_{name}", value)
    yield tmp_path
    dockerd.start()
    dockerd.clean()


def say(home: Path, *words: str) -> str:
    """A command that must succeed; what it printed."""
    done = run(home, *words)
    assert done.returncode == 0, f"{words}: {done.stdout} {done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def set_up(home: Path) -> dict[str, Any]:
    """`setup --yes`, from nothing; the connection."""
    return dict(json.loads(say(home, "setup", "--yes", "--json", "--engine", "container", "--model", MODEL)))


async def operate(process: Process, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Ask a process as its operator; status and answer."""
    told = process.connection
    given = {"Authorization": f"Bearer {told['operator_token']}", **headers}
    async with (
        aiohttp.ClientSession(told["url"]) as session,
        session.request(method, path, json=body, headers=given) as reply,
    ):
        return reply.status, await reply.json(content_type=None)


async def health(process: Process) -> dict[str, Any]:
    async with client(process) as session, session.get("/health") as reply:
        return dict(await reply.json())


async def served(process: Process) -> None:
    """A client's request is answered, as soon as the engine is ready."""

    told: dict[str, Any] = {}

    async def accepts() -> Any:
        told.update(await health(process))
        return told["accepting"]

    try:
        await until(accepts, "accepting")
    except pytest.fail.Exception:
        _, engine = await operate(process, "GET", "/admin/engine")
        pytest.fail(f"not accepting: {told}, {engine}")
    async with client(process) as session, session.post("/api/chat", json=ASK) as reply:
        assert reply.status == 200, await reply.text()


def ours(dockerd: Engine) -> Any:
    return dockerd.client.containers.get(NAMES.container)


def tunnels(dockerd: Engine) -> list[Any]:
    return [
        one
        for one in dockerd.client.containers.list(all=True, ignore_removed=True, filters=TUNNEL)
        if one.labels[LABEL_PROFILE] == "default"
    ]


@pytest.fixture
def foreign(home: Path, dockerd: Engine, images: Images) -> list[Any]:
    """Containers of somebody else's: some look much like ours."""
    start = dockerd.client.containers.run
    engine = {LABEL_PROFILE: "work", LABEL_ROLE: "engine"}
    return [
        start(images.simulator, name="ollama", ports={"11434/tcp": ("127.0.0.1", None)}, detach=True),
        start(images.deaf, name=f"{NAMES.container}-2", detach=True),
        start(images.deaf, name=f"x-{NAMES.container}", detach=True),
        start(images.deaf, name=f"{NAMES.container}-work", labels=engine, detach=True),
        start(
            images.deaf,
            name="mortdecai-work-tunnel",
            labels={**engine, LABEL_ROLE: "tunnel"},
            detach=True,
        ),
        start(images.deaf, name="cloudflared", detach=True),
    ]


async def test_nothing_that_we_did_not_start_is_stopped_in_a_whole_life(
    home: Path, dockerd: Engine, foreign: list[Any]
) -> None:
    before = [seen(one) for one in foreign]

    def unharmed(after: str) -> None:
        assert [seen(one) for one in foreign] == before, after

    await asyncio.to_thread(set_up, home)
    unharmed("setup")
    with gateway(home) as process:
        await served(process)
        unharmed("serving")
        for words, says in {
            ("pause",): "Released",
            ("resume",): "",
            ("engine", "stop"): "stopped",
            ("engine", "start"): "runs",
            ("engine", "restart"): "restarted",
            ("engine", "update"): "up to date",
            ("engine", "recreate"): "anew",
            ("public-address", "quick"): QUICK_ADDRESS,
            ("public-address", "off"): "Off",
            ("status",): "Contributing",
        }.items():
            said = await asyncio.to_thread(say, home, *words)
            assert says in said, (words, said)
            unharmed(" ".join(words))
        assert tunnels(dockerd) == []
        await served(process)
        await asyncio.to_thread(say, home, "public-address", "quick")
        process.popen.kill()
        await asyncio.to_thread(process.popen.wait)
    unharmed("kill -9")
    assert ours(dockerd).status == "running"
    with gateway(home) as process:
        await served(process)
        unharmed("a start after kill -9")
    unharmed("quitting")
    assert ours(dockerd).status == "exited"
    assert tunnels(dockerd) == []
    await asyncio.to_thread(say, home, "engine", "start")
    unharmed("engine start")
    assert "models too" in await asyncio.to_thread(say, home, "engine", "remove", "--models", "--yes")
    unharmed("engine remove")
    with pytest.raises(docker.errors.NotFound):
        ours(dockerd)
    mine = [one.name for one in dockerd.client.containers.list(all=True, ignore_removed=True)]
    assert sorted(mine) == sorted(one.name for one in foreign)


async def test_after_kill_9_the_running_container_is_adopted_and_a_tunnel_that_was_left_is_swept_away(
    home: Path, dockerd: Engine
) -> None:
    set_up(home)
    with gateway(home) as process:
        await served(process)
        assert (await operate(process, "POST", "/admin/public-address", {"mode": "quick"}))[0] == 200
        process.popen.kill()
        process.popen.wait()
    before = seen(ours(dockerd))
    (left,) = tunnels(dockerd)
    # The contributor does not want it any more.
    with gateway(home, "--set", "public_address=off") as process:
        await served(process)
        assert seen(ours(dockerd)) == before, "the same container, never restarted"
        await until(lambda: tunnels(dockerd) == [], "swept away")
        assert (await operate(process, "GET", "/admin/public-address"))[1]["phase"] == "off"
    with pytest.raises(docker.errors.NotFound):
        left.reload()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_quitting_stops_the_container_and_closes_the_tunnel_within_seconds(
    home: Path, dockerd: Engine, number: signal.Signals
) -> None:
    set_up(home)
    with gateway(home) as process:
        await served(process)
        await operate(process, "POST", "/admin/public-address", {"mode": "quick"})
        assert len(tunnels(dockerd)) == 1
        began = time.monotonic()
        process.popen.send_signal(number)
        assert await asyncio.to_thread(process.popen.wait, 20) == 0
        assert time.monotonic() - began < 8
    assert ours(dockerd).status == "exited"
    assert ours(dockerd).attrs["State"]["ExitCode"] == 0, "it was asked to end, not killed"
    assert tunnels(dockerd) == []
    assert "Traceback" not in (home / "stderr.txt").read_text()


@pytest.fixture
def hang(dockerd: Engine) -> Iterator[Callable[[], None]]:
    """`hang()`: the Docker Engine takes connections and answers nothing; it goes on when the test has ended."""
    pid = int((dockerd.folder / "pid").read_text())

    def do() -> None:
        os.kill(pid, signal.SIGSTOP)

    yield do
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


async def test_a_hung_docker_keeps_neither_health_from_answering_nor_requests_nor_quitting(
    home: Path, hang: Callable[[], None]
) -> None:
    set_up(home)
    with gateway(home) as process:
        await served(process)
        hang()
        verb = asyncio.create_task(operate(process, "POST", "/admin/engine", {"verb": "start"}))
        for _ in range(20):
            began = time.monotonic()
            await health(process)
            assert time.monotonic() - began < 1
        # What is there already goes on serving.
        async with client(process) as session, session.post("/api/chat", json=ASK) as reply:
            assert reply.status == 200
        began = time.monotonic()
        process.popen.terminate()
        assert await asyncio.to_thread(process.popen.wait, 40) == 0
        assert time.monotonic() - began < 25
        with suppress(aiohttp.ClientError):
            await verb
    assert "Traceback" not in (home / "stderr.txt").read_text()


async def test_a_docker_that_hangs_at_the_start_is_said_and_contributing_again_serves(
    home: Path, dockerd: Engine, hang: Callable[[], None]
) -> None:
    set_up(home)
    hang()
    with gateway(home) as process:
        # Whoever contributes is not told to press Contribute while Docker is being looked for.
        assert (await health(process))["code"] == "engine_starting"
        told: dict[str, Any] = {}

        async def said() -> bool:
            told.update(await health(process))
            return told["code"] == "engine_failed"

        await until(said, "said")
        assert_for_a_person(told["reason"])
        assert_for_a_person(told["ends"], at_most=2)
        assert "does not answer" in told["reason"]
        os.kill(int((dockerd.folder / "pid").read_text()), signal.SIGCONT)
        await operate(process, "POST", "/admin/resume")
        await served(process)
