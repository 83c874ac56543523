"""A real gateway in front of a real simulator, in this process and over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from app.engine.base import Engine
from app.gateway.assembly import running
from app.gateway.gateway import Gateway
from app.ledger.listing import LedgerRow
from app.power.sensors.base import NullSensor
from app.settings.folders import Folders
from app.settings.store import SettingsStore
from app.simulator import Simulator, SimulatorEngine
from app.vault.memory import MemoryVault
from tests.gateway.contained import Contained, contained_gateway
from tests.real.docker_engine import Engine as Docker
from tests.real.docker_images import Images

MODEL = "qwen2.5:3b"


@dataclass
class House:
    """A running gateway and what a test needs around it."""

    gateway: Gateway
    simulator: Simulator
    session: aiohttp.ClientSession
    key: str
    operator: str

    def post(self, path: str, body: Any, *, key: str | None = None, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key if key is None else key}", **more.pop("headers", {})}
        return self.session.post(path, json=body, headers=headers, **more)

    def get(self, path: str, *, key: str | None = None, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key if key is None else key}", **more.pop("headers", {})}
        return self.session.get(path, headers=headers, **more)

    async def usage(self) -> list[LedgerRow]:
        """Every usage record, oldest first."""
        page = await self.gateway.ledger.page(None, 500)
        return [row for row in reversed(page.rows) if row.kind == "usage"]


Build = Callable[..., Awaitable[House]]


@pytest.fixture
async def build(tmp_path: Path) -> AsyncIterator[Build]:
    """Make a house: `speed`, `parallel`, settings and what the gateway takes for its `engine` of one's choice."""
    async with AsyncExitStack() as stack:

        async def make(
            *,
            speed: float = 500.0,
            parallel: int = 4,
            contribute: bool = True,
            upstream: str | None = None,
            engine: Callable[[str], Engine] = SimulatorEngine,
            **settings: Any,
        ) -> House:
            simulator = Simulator(speed=speed, parallel=parallel)
            await simulator.start()
            stack.push_async_callback(simulator.stop)
            folders = Folders.for_profile("default", tmp_path)
            given = {"port": 0, "vault": "memory", "engine_parallel": parallel, **settings}
            store = SettingsStore.load(cli=given, env={}, file=folders.settings_file)
            behind = engine(upstream or simulator.url)
            gateway = await stack.enter_async_context(
                running(store, folders, MemoryVault(), behind, NullSensor(), contribute=contribute)
            )
            session = await stack.enter_async_context(aiohttp.ClientSession(gateway.address))
            key = await gateway.keys.plain()
            return House(gateway, simulator, session, key, gateway.identity.operator_token)

        yield make


@pytest.fixture
async def house(build: Build) -> House:
    """The usual house: fast, contributing, with room under its cap."""
    return await build()


def chat(text: str = "Hello", *, stream: bool = True, tokens: int = 20, **more: Any) -> dict[str, Any]:
    """A body for /api/chat."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": text}],
        "stream": stream,
        "options": {"num_predict": tokens},
        **more,
    }


Scripted = Callable[[Callable[[web.StreamResponse], Awaitable[None]]], Awaitable[str]]


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    """An engine that is Ollama until it is asked to think: then it does what the test says."""
    runners: list[web.AppRunner] = []

    async def start(answer: Callable[[web.StreamResponse], Awaitable[None]]) -> str:
        async def ask(request: web.Request) -> web.StreamResponse:
            kind = "text/event-stream" if request.path.startswith("/v1") else "application/x-ndjson"
            if not (await request.json()).get("stream"):
                kind = "application/json"
            response = web.StreamResponse(headers={"Content-Type": kind})
            await response.prepare(request)
            await answer(response)
            return response

        async def told(request: web.Request) -> web.Response:
            return web.json_response(
                {
                    "/": {},
                    "/api/version": {"version": "0.32.0-simulated"},
                    "/api/tags": {"models": [{"name": MODEL, "model": MODEL, "digest": "0" * 64}]},
                    "/api/ps": {"models": []},
                }.get(request.path, {})
            )

        app = web.Application()
        app.router.add_post(
            "/{path:api/chat|api/generate|v1/chat/completions|v1/completions|v1/responses|v1/messages}", ask
        )
        app.router.add_route("*", "/{path:.*}", told)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return site.name

    yield start
    for runner in runners:
        await runner.cleanup()


Contain = Callable[..., Awaitable[Contained]]


@pytest.fixture
async def contain(tmp_path: Path, dockerd: Docker, images: Images) -> AsyncIterator[Contain]:
    """`contain(…)` is one gateway with a container of its own (see `contained_gateway`); all is cleared away after."""
    dockerd.clean()
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> Contained:
            options.setdefault("dockerd", dockerd)
            return await stack.enter_async_context(
                contained_gateway(options.pop("home", tmp_path), images=images, **options)
            )

        yield make
    dockerd.clean()
