"""A simulated engine that keeps models in a folder, a shelf onto it, and servers of files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.engine.base import Loaded, Model
from app.engine.host import NoHost
from app.models.base import Operation
from app.models.download import Downloads
from app.models.shelf import Shelf
from app.models.updates import UpdateReport
from app.settings.parameters import Settings
from app.simulator import Library, Simulator, SimulatorEngine
from tests.models.file_server import FileServer


class CountingHost(NoHost):
    """A host that notes when the engine has a way out."""

    def __init__(self) -> None:
        self.open = 0
        self.opened = 0

    @asynccontextmanager
    async def way_out(self) -> AsyncIterator[None]:
        self.open += 1
        self.opened += 1
        try:
            yield
        finally:
            self.open -= 1


@dataclass
class Room:
    """A shelf and everything around it."""

    shelf: Shelf
    simulator: Simulator
    engine: SimulatorEngine
    host: CountingHost
    downloads: Path
    settings: dict[str, Any]
    free_b: list[int]
    reports: list[UpdateReport] = field(default_factory=list)
    models: tuple[Model, ...] = ()
    loaded: tuple[Loaded, ...] = ()
    changes: int = 0
    loading: list[bool] = field(default_factory=list)
    """What was told of models being loaded."""

    async def refresh(self) -> None:
        self.models = await self.engine.models()
        self.loaded = await self.engine.loaded()

    def names(self) -> set[str]:
        return {model.name for model in self.models}

    async def ended(self, operation: Operation) -> Operation:
        """How it ends, within 20 s."""
        async with asyncio.timeout(20):
            async for state in self.shelf.follow(operation.id):
                last = state
        return last

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.002)


Furnish = Callable[..., Awaitable[Room]]


@pytest.fixture
async def furnish(tmp_path: Path) -> AsyncIterator[Furnish]:
    """Make a room; `speed` of the simulator, `empty`, and settings of one's choice."""
    async with AsyncExitStack() as stack:

        async def make(*, speed: float = 10_000, empty: bool = False, **settings: Any) -> Room:
            library = Library(tmp_path / "engine") if empty else Library()
            simulator = Simulator(speed=speed, library=library)
            await simulator.start()
            stack.push_async_callback(simulator.stop)
            engine = SimulatorEngine(simulator.url)
            stack.push_async_callback(engine.close)
            given = {"model_update_http": True, "model_update_hosts": ("127.0.0.1",), **settings}
            host, free_b = CountingHost(), [10**12]
            folder = tmp_path / "downloads"
            downloads = Downloads(folder, free_b=lambda _: free_b[0], waits_s=(0.01, 0.01), silence_s=1.0)
            room: Room

            async def audit(report: UpdateReport) -> None:
                room.reports.append(report)

            def changed() -> None:
                room.changes += 1

            shelf = Shelf(
                engine=engine,
                models=lambda: room.models,
                loaded=lambda: room.loaded,
                refresh=lambda: room.refresh(),
                host=host,
                gpu_memory_b=lambda: 12 * 2**30,
                settings=lambda: Settings(**room.settings),
                changed=changed,
                folder=folder,
                audit=audit,
                loading=lambda active: room.loading.append(active),
                downloads=downloads,
                place=lambda url: None,
            )
            stack.push_async_callback(shelf.close)
            room = Room(shelf, simulator, engine, host, folder, given, free_b)
            await room.refresh()
            return room

        yield make


@pytest.fixture
async def files() -> AsyncIterator[FileServer]:
    server = await FileServer().start()
    yield server
    await server.stop()
