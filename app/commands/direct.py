"""The models of a profile whose gateway does not run: the same shelf, straight onto the engine.

Rule 1: the profile is locked meanwhile, so that no gateway and no other command gets in between. Rule 2: an engine in
Docker is brought up for it and stopped again, unless it ran before, or a model was loaded for somebody to use.
Rule 3: an update leaves its record in the ledger here too.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

from app.commands.common import CommandError, Ground
from app.commands.engine import alone
from app.commands.parts import finder, probed, recipe_of
from app.containers.base import ContainerError
from app.engine.base import Engine, EngineError, Loaded, Model
from app.engine.endpoint import EndpointEngine
from app.engine.host import EngineHost, NoHost, Processor
from app.gateway.books import Books
from app.models.base import ModelError, Operation
from app.models.shelf import Shelf
from app.models.updates import UpdateReport
from app.proxy.model_admin import as_entry, as_line
from app.settings.instance import InstanceLock

_OF_WHAT_IS_THERE = ("list", "show", "rm", "unload")
"""For these no engine is made, nor its image fetched."""


class Direct:
    """Asks a shelf of its own (see `models.Way`)."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def entries(self) -> list[dict[str, Any]]:
        """The engine's models, then the catalogue's that are not there."""
        return [as_entry(entry) for entry in self._shelf.entries()]

    async def show(self, name: str) -> dict[str, Any]:
        """What the engine tells of a model."""
        return await self._shelf.show(name)

    async def remove(self, name: str) -> None:
        """Remove a model from the disk."""
        await self._shelf.delete(name)

    async def unload(self, name: str) -> None:
        """Give a model's memory back."""
        await self._shelf.unload(name)

    async def begin(self, action: str, *names: str, sha256: str = "") -> AsyncGenerator[dict[str, Any], None]:
        """Begin to `pull`, `load` or `update`, and tell how far it is, in the words of the gateway's answer."""
        operation = self._begin(action, names, sha256)
        async for state in self._shelf.follow(operation.id):
            line = as_line(state)
            if "error" in line:
                raise CommandError(line["error"])
            yield line

    def _begin(self, action: str, names: tuple[str, ...], sha256: str) -> Operation:
        if action == "update":
            return self._shelf.update(names[0], names[1], sha256)
        return self._shelf.load(names[0]) if action == "load" else self._shelf.pull(names[0])

    async def cancel(self, operation: str) -> None:
        """Stop an operation; what has come is kept."""
        self._shelf.cancel(operation)


@contextlib.asynccontextmanager
async def direct(base: Ground, action: str) -> AsyncIterator[Direct]:
    """What `action` needs. Raises CommandError; also ModelError and EngineError, which are sentences, become one."""
    if action == "update" and base.store.current.vault == "memory":
        raise CommandError(
            "The memory vault keeps nothing, and an update has to be recorded. Name another one with --vault."
        )
    base.folders.prepare()
    with _sentences(), InstanceLock.acquire(base.folders.state):
        async with contextlib.AsyncExitStack() as stack:
            engine, host = await _engine(base, action, stack)
            yield Direct(await _shelf(base, action, engine, host, stack))


async def _engine(base: Ground, action: str, stack: contextlib.AsyncExitStack) -> tuple[Engine, EngineHost]:
    settings = base.store.current
    if settings.engine != "container":
        engine = EndpointEngine(settings.upstream_url, silence_s=settings.request_timeout_seconds)
        stack.push_async_callback(engine.close)
        return engine, NoHost()
    ran = await _runs(base, needed=action in _OF_WHAT_IS_THERE)
    host, managed = await stack.enter_async_context(alone(base))
    if not ran and action != "load":
        # Also where it did not come up: it is ours, and nobody asked for it to stay.
        stack.push_async_callback(_stopped, host)
    await host.start()
    return managed, host


async def _runs(base: Ground, *, needed: bool) -> bool:
    """Whether the profile's container runs already; CommandError where there is none and one is `needed`."""
    from app.managed.making import find_ours

    docker = await finder(base)()
    try:
        container = await find_ours(docker, recipe_of(base))
    finally:
        await docker.close()
    if container is None and needed:
        raise CommandError(
            "This profile's engine was never made, so there are no models yet: run mortdecai-gateway setup."
        )
    return container is not None and container.running


async def _stopped(host: EngineHost) -> None:
    # Whatever went wrong was said already; that it also cannot be stopped would only hide it.
    with contextlib.suppress(ContainerError):
        await host.stop()


async def _shelf(
    base: Ground, action: str, engine: Engine, host: EngineHost, stack: contextlib.AsyncExitStack
) -> Shelf:
    known: list[tuple[tuple[Model, ...], tuple[Loaded, ...]]] = []

    async def refresh() -> None:
        known[:] = [(await engine.models(), await engine.loaded())]

    async def refresh_if_it_answers() -> None:
        with contextlib.suppress(EngineError):
            await refresh()

    async def unrecorded(report: UpdateReport) -> None:
        """Only updates end with a report."""

    audit = unrecorded
    if action == "update":
        books = await Books.open(base.folders, await base.vault(), lambda: base.store.current)
        stack.push_async_callback(books.close)
        audit = books.record_update
    sensor = await probed(base.store.current.metered_gpus)
    stack.callback(sensor.close)
    await refresh()
    shelf = Shelf(
        engine=engine,
        models=lambda: known[0][0],
        loaded=lambda: known[0][1],
        refresh=refresh_if_it_answers,
        host=host,
        gpu_memory_b=lambda: 0 if host.state.processor is Processor.CPU else sensor.info.memory_total_b,
        settings=lambda: base.store.current,
        changed=lambda: None,
        folder=base.folders.data / "downloads",
        audit=audit,
    )
    stack.push_async_callback(shelf.close)
    return shelf


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except (ContainerError, EngineError, ModelError) as error:
        raise CommandError(str(error)) from None
