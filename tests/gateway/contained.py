"""A real gateway whose engine is a container of a real Docker Engine, and what its contributor reads and says."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.commands.common import Ground
from app.commands.parts import UNPLACED, finder
from app.engine.host import EngineHost, HostCare
from app.engine.ollama import OllamaEngine
from app.gateway.assembly import running
from app.gateway.gateway import Gateway
from app.managed.gpu_choice import Machine
from app.managed.names import names_of
from app.managed.recipe import Recipe
from app.managed.supervisor import ManagedOllama
from app.power.sensors.base import NullSensor
from app.settings.folders import Folders
from app.settings.store import SettingsStore
from app.vault.memory import MemoryVault
from tests.managed.hosting import entry
from tests.real.docker_engine import Engine
from tests.real.docker_images import Images

MODEL = "qwen3:0.6b"
NAMES = names_of("default")

_JARGON = re.compile(
    r"Errno|Traceback|Exception|\w+Error\b|http\+docker|HTTP|\b[45]\d\d\b|0x|[{}]|\bNone\b|b'|OCI|runc|json|\\n|\n"
)
_ENDS = re.compile(r"[.!?»](?:\s+(?=[A-Z«])|$)")


def assert_for_a_person(sentence: str, at_most: int = 1) -> None:
    """Whole sentences that somebody who knows nothing of Docker's insides can read; `at_most` so many."""
    assert sentence, "nothing was said"
    assert sentence.endswith("."), sentence
    assert "!" not in sentence, sentence
    assert not _JARGON.search(sentence), sentence
    assert 1 <= len(_ENDS.findall(sentence)) <= at_most, sentence
    assert len(sentence) <= 250 * at_most, sentence


async def until(true: Callable[[], Any], what: object, seconds: float = 30.0) -> Any:
    """Wait until `true()`, which may be a coroutine's function; what it gave. Fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        came = true()
        if asyncio.iscoroutine(came):
            came = await came
        if came:
            return came
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(0.02)


@dataclass
class Contained:
    """A running gateway with a container, seen from outside: over HTTP, and with the daemon's own client."""

    gateway: Gateway
    store: SettingsStore
    dockerd: Engine
    session: aiohttp.ClientSession
    key: str
    operator: str
    hosts: list[EngineHost]
    leave: Callable[[], Awaitable[None]]
    """Stop the gateway, before the test ends."""

    async def health(self) -> dict[str, Any]:
        async with self.session.get("/health") as reply:
            assert reply.status == 200
            return dict(await reply.json())

    async def healthy(self, seconds: float = 30.0) -> dict[str, Any]:
        """What /health says once it accepts."""

        async def accepts() -> Any:
            health = await self.health()
            return health if health["accepting"] else None

        return dict(await until(accepts, "accepting", seconds))

    async def blocked(self, code: str, says: str = "", seconds: float = 30.0) -> dict[str, Any]:
        """What /health says once it names `code`, with the words `says` in its reason."""
        heard: dict[str, Any] = {}

        async def told() -> bool:
            heard.update(await self.health())
            return heard["code"] == code and says in heard["reason"]

        await until(told, f"{code} «{says}»; it says {heard}", seconds)
        return heard

    async def operate(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Ask as the operator; status and answer."""
        given = {"Authorization": f"Bearer {self.operator}", **headers}
        async with self.session.request(method, path, json=body, headers=given) as reply:
            return reply.status, await reply.json(content_type=None)

    async def lines(self, path: str, body: Any) -> list[dict[str, Any]]:
        """An operator's request whose answer comes in lines."""
        given = {"Authorization": f"Bearer {self.operator}"}
        async with self.session.post(path, json=body, headers=given) as reply:
            assert reply.status == 200, await reply.text()
            return [json.loads(line) for line in (await reply.text()).splitlines()]

    def ask(self, *, stream: bool = False, tokens: int = 5) -> Any:
        """A client's request."""
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": f"[simulate: {tokens} tokens]"}],
            "stream": stream,
            "options": {"num_predict": tokens},
        }
        return self.session.post("/api/chat", json=body, headers={"Authorization": f"Bearer {self.key}"})

    async def have_model(self) -> None:
        """Pull the model where it is not here."""
        _, listed = await self.operate("GET", "/admin/models")
        if not any(entry["name"] == MODEL and entry["installed"] for entry in listed["models"]):
            last = (await self.lines("/admin/models/pull", {"model": MODEL}))[-1]
            assert last.get("status") == "success", last

    async def serves(self) -> None:
        """It accepts, and a client's request is answered."""
        await self.healthy()
        await self.have_model()
        await self.healthy()
        async with self.ask() as reply:
            answer = await reply.json()
            assert reply.status == 200, answer
            assert answer["message"]["content"]

    def container(self) -> Any:
        """The engine's container as the daemon's own client sees it."""
        return self.dockerd.client.containers.get(NAMES.container)

    def networks(self) -> set[str]:
        return set(self.container().attrs["NetworkSettings"]["Networks"])


@asynccontextmanager
async def contained_gateway(
    home: Path,
    dockerd: Engine,
    images: Images,
    *,
    contribute: bool = True,
    machine: Machine | None = None,
    pauses_s: tuple[float, ...] = (0.01,),
    healthy_s: float = 20.0,
    **settings: Any,
) -> AsyncIterator[Contained]:
    """The gateway as `commands.parts.contained` makes it, but with a GPU that a test chooses, and less waiting."""
    folders = Folders.for_profile("default", home)
    given = {
        "port": 0,
        "vault": "memory",
        "engine": "container",
        "engine_image": images.simulator,
        "engine_gpu": "cpu",
        "tunnel_image": images.cloudflared,
        "docker_host": dockerd.socket,
        **settings,
    }
    # From the file, not from the command line: a contributor can change all of it while the gateway runs.
    fixed = {name: given.pop(name) for name in ("port", "vault", "docker_host")}
    store = SettingsStore.load(cli=fixed, env={}, file=folders.settings_file)
    folders.prepare()
    store.update(given, before_start=True)
    base = Ground(folders, store, "default")
    engine = OllamaEngine(UNPLACED)
    hosts: list[EngineHost] = []

    def host(care: HostCare) -> EngineHost:
        hosts.append(
            ManagedOllama(
                engine,
                lambda: Recipe.of(store.current, "default"),
                find=finder(base),
                on_change=care.changed,
                busy=care.busy,
                quietly=care.quietly,
                pauses_s=pauses_s,
                healthy_s=healthy_s,
                machine=lambda: machine or Machine(),
            )
        )
        return hosts[-1]

    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(AsyncExitStack())
        gateway = await opened.enter_async_context(
            running(
                store,
                folders,
                MemoryVault(),
                engine,
                NullSensor(),
                contribute=contribute,
                host=host,
                docker=finder(base),
            )
        )
        session = await stack.enter_async_context(aiohttp.ClientSession(gateway.address))
        key = await gateway.keys.plain()
        yield Contained(
            gateway, store, dockerd, session, key, gateway.identity.operator_token, hosts, opened.aclose
        )


def seen(container: Any) -> tuple[str, ...]:
    """What would show that somebody touched a container."""
    container.reload()
    state = container.attrs["State"]
    networks = sorted(container.attrs["NetworkSettings"]["Networks"])
    return (container.id, container.name, state["Status"], state["StartedAt"], *networks)


def slow_image(dockerd: Engine, images: Images, speed: float) -> str:
    """The simulator's image, computing `speed` times as fast as a GPU."""
    return variant(dockerd, images, f"at-speed-{speed:g}", [], [f"ENV SIMULATOR_SPEED={speed:g}"])


def variant(
    dockerd: Engine,
    images: Images,
    name: str,
    arguments: list[str],
    changes: list[str] | None = None,
    prelude: str = "",
) -> str:
    """The simulator's image with more arguments, and a line of code that comes first."""
    code = f"""
import pathlib
{prelude}
code = pathlib.Path("/entry/simulator.py").read_text()
exec(code.replace("runpy.run_module(", "sys.argv += {arguments!r}\\nrunpy.run_module(", 1))
"""
    return entry(dockerd, images, name, code, ["ENV OLLAMA_HOST=0.0.0.0:11434", *(changes or [])])


def no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing in the log is a fault of ours."""
    faults = [record.getMessage() for record in caplog.records if record.exc_info]
    assert not faults, faults
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.CRITICAL]
