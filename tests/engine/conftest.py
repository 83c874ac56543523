"""A fast simulator, an engine onto it, and servers that follow a script, for whatever a real engine would not do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from app.simulator import Simulator, SimulatorEngine

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Ten thousand times as fast as a real card: waits for nothing."""
    simulator = Simulator(speed=10_000)
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
async def engine(simulator: Simulator) -> AsyncIterator[SimulatorEngine]:
    engine = SimulatorEngine(simulator.url)
    yield engine
    await engine.close()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server that treats every connection with the given function; gives its URL."""
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()

    async def start(handler: Handler) -> str:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await handler(reader, writer)
            except ConnectionError:
                pass
            finally:
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for server in servers:
        await server.wait_closed()
