"""The shelf of models: what a face, a client and a command may see and do (see `base.ModelsFace`).

Rule 1: an engine that is not Ollama manages its models itself; here they are only listed. Rule 2: the engine has a way
out to the network only while something is pulled. Rule 3: asking for what is being done already joins it.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from app.basics.addresses import url_is_here
from app.basics.threads import Aside
from app.containers.base import ContainerError
from app.engine.base import Engine, Loaded, Model
from app.engine.host import EngineHost
from app.models import fits, listing, room
from app.models.base import Doing, Entry, ModelError, Operation
from app.models.catalogue import offer, smallest, suggest
from app.models.client import ManagementClient
from app.models.download import Downloads
from app.models.names import is_passing, same, spelled
from app.models.source import Refused, Rules, checked
from app.models.updates import UpdateReport, Updates, Wanted, asked
from app.models.work import Work, Workshop
from app.settings.parameters import Settings

MOST_PULLS = 2
_TOLD_EVERY_S = 0.25
_REPEATED_EVERY_S = 10.0
"""Whoever follows hears something so often: a proxy or a tunnel on the way takes silence for death."""
_is_sha256 = re.compile("[0-9a-fA-F]{64}").fullmatch


class Busy(ModelError):
    """Something else has to end first."""


class Shelf:
    """Implements `ModelsFace`. Make it inside the running loop.

    `models`, `loaded`: what the engine has, as last heard; `refresh` asks it anew. `folder`: where files of updates are
    fetched to. `changed` is called when a face should look again, `audit` once for each update that has ended,
    `loading` when a model begins to be loaded from here and when that ends: its energy is no request's.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        models: Callable[[], tuple[Model, ...]],
        loaded: Callable[[], tuple[Loaded, ...]],
        refresh: Callable[[], Awaitable[object]],
        host: EngineHost,
        gpu_memory_b: Callable[[], int | None],
        settings: Callable[[], Settings],
        changed: Callable[[], None],
        folder: Path,
        audit: Callable[[UpdateReport], Awaitable[None]],
        loading: Callable[[bool], None] = lambda _: None,
        downloads: Downloads | None = None,
        place: Callable[[str], Path | None] = room.place_of,
    ) -> None:
        self._engine = engine
        self._models = models
        self._loaded = loaded
        self._refresh = refresh
        self._host = host
        self._gpu_memory_b = gpu_memory_b
        self._settings = settings
        self._audit = audit
        self._loading = loading
        self._place = place
        self._client = ManagementClient(lambda: engine.url)
        self._workshop = Workshop(changed)
        self._updates = Updates(
            self._client,
            engine,
            downloads or Downloads(folder),
            folder,
            # The engine copies the file once; where its disk is ours too, that needs room here.
            copies=lambda: 1 if url_is_here(engine.url) else 0,
            refresh=refresh,
            require=self._require_quota,
        )
        self._shapes: dict[str, fits.Shape] = {}
        self.brought: set[str] = set()
        """Models that were loaded from here: giving the GPU back unloads them."""
        self._learning: asyncio.Task[None] | None = None

    def entries(self) -> tuple[Entry, ...]:
        """The engine's models, then the catalogue's that are not there."""
        self._learn()
        return listing.entries(
            self._models(), self._loaded(), self._shapes, self._machine(), native=self._native
        )

    def _machine(self) -> listing.Capacity:
        """What the estimates depend on."""
        settings = self._settings()
        return listing.Capacity(
            gpu_memory_b=self._gpu_memory_b(),
            main_memory_b=_main_memory_b(),
            tokens=settings.engine_context_length,
            parallel=settings.engine_parallel or 1,
        )

    def suggested(self) -> str:
        """The model to begin with on this machine: the smallest that is here, else one of the catalogue's that fits."""
        here = smallest(one for one in self._models() if not one.remote and not is_passing(one.name))
        return here.name if here else suggest(self._gpu_memory_b(), _main_memory_b()).name

    def operations(self) -> tuple[Operation, ...]:
        """What runs now and what has ended lately, the newest first."""
        return self._workshop.operations()

    async def follow(self, operation: str) -> AsyncIterator[Operation]:
        """An operation's states as they change, four a second at most, the same again where nothing changes for long;
        the last one is how it ended.

        Whoever stops following changes nothing. Raises ModelError where there is none of that id.
        """
        work = self._work(operation)
        told, told_s = None, 0.0
        clock_s = asyncio.get_running_loop().time
        while work.running:
            if work.state is not told or clock_s() - told_s >= _REPEATED_EVERY_S:
                told, told_s = work.state, clock_s()
                yield told
            with suppress(TimeoutError):
                await asyncio.wait_for(work.ended.wait(), _TOLD_EVERY_S)
        yield work.state

    def pull(self, name: str) -> Operation:
        """Begin to pull, or join the pull of this model that runs. Raises ModelError where it may not begin."""
        name = self._managed(name)
        pulls = self._workshop.running(Doing.PULL)
        for work in pulls:
            if same(work.state.model, name):
                return work.state
        self._require_idle(name, Doing.UPDATE)
        if len(pulls) >= MOST_PULLS:
            raise Busy("Two models are being pulled already: wait for one of them, or cancel it.")
        known = offer(name)
        self._require_quota(name, known.size_b if known else 0)
        work = self._workshop.begin(Doing.PULL, name, "Asking the library", self._pull)
        work.expected_b = known.size_b if known else 0
        return work.state

    def update(self, url: str, name: str, sha256: str = "", *, by: str = "operator") -> Operation:
        """Begin to make the file at `url` the model `name`, or join the update that does just that.

        `by`: the key that asks, for the audit trail. Raises Refused where it may not be, Busy while another one runs.
        """
        name = self._managed(name)
        if sha256 and not _is_sha256(sha256):
            raise ModelError("The SHA-256 must be 64 hexadecimal digits: leave it out, or copy it anew.")
        url = checked(url, self._rules())
        for work in self._workshop.running(Doing.UPDATE):
            if (work.url, work.state.model) == (url, name):
                return work.state
            raise Busy(f"The model {work.state.model} is being updated: wait until that has ended.")
        self._require_idle(name, Doing.PULL)
        wanted = Wanted(url, name, sha256.lower(), by)
        work = self._workshop.begin(
            Doing.UPDATE,
            name,
            "Asking for the file",
            lambda work: self._update(work, wanted),
            url=url,
            sha256=wanted.sha256,
        )
        return work.state

    def load(self, name: str) -> Operation:
        """Begin to load a model into the GPU's memory, or join that."""
        name = self._managed(name)
        for work in self._workshop.running(Doing.LOAD):
            if same(work.state.model, name):
                return work.state
        return self._workshop.begin(Doing.LOAD, name, "Loading", self._load).state

    def cancel(self, operation: str) -> None:
        """Stop an operation by its id; one that has ended is left alone. What has been pulled so far is kept."""
        self._work(operation).cancel()

    async def unload(self, name: str) -> None:
        """Give a model's memory back. Raises ModelError also where there is none of that name."""
        name = self._managed(name)
        if not self._has(name):
            await self._refresh()
            if not self._has(name):
                raise ModelError(f"The engine has no model {name}: look at the list of models.")
        await asked(self._engine.unload(name))
        await self._refresh()

    async def delete(self, name: str) -> None:
        """Remove a model from the disk."""
        name = self._managed(name)
        self._require_idle(name, None)
        await asked(self._engine.unload(name))
        await self._client.delete(name)
        await self._refresh()

    async def show(self, name: str) -> dict[str, Any]:
        """What the engine tells of a model: details, parameters, template, licence."""
        return await self._client.show(self._managed(name))

    async def recover(self) -> None:
        """Put in order what an update left that did not end. Raises ModelError where the engine cannot be asked."""
        if self._native and not self._workshop.running(Doing.UPDATE):
            await self._updates.recover(self._audit)

    async def close(self) -> None:
        """Stop everything that runs; what has come is kept."""
        if self._learning is not None:
            self._learning.cancel()
        await self._workshop.close()
        await self._client.close()

    @property
    def _native(self) -> bool:
        return bool(getattr(self._engine, "native", True))

    def _managed(self, name: str) -> str:
        """`name` as it is spelled. Raises ModelError where nothing can be done with it here."""
        if not self._native:
            raise ModelError(
                f"{self._engine.name} manages its models itself: do that where it was installed."
            )
        name = spelled(name)
        if is_passing(name):
            raise ModelError(f"{name} is a name that only updates give: choose another one.")
        return name

    def _has(self, name: str) -> bool:
        return any(same(model.name, name) for model in self._models())

    def _require_idle(self, name: str, doing: Doing | None) -> None:
        if any(same(work.state.model, name) for work in self._workshop.running(doing)):
            raise Busy(f"Something is being done with {name}: cancel that first.")

    def _work(self, operation: str) -> Work:
        work = self._workshop.find(operation)
        if work is None:
            raise ModelError("There is no such operation any more: look at the list.")
        return work

    def _rules(self) -> Rules:
        settings = self._settings()
        most_b = settings.model_update_max_gb * 1_000_000_000
        return Rules(settings.model_update_hosts, settings.model_update_http, most_b)

    def _require_quota(self, name: str, coming_b: int) -> None:
        """Raises ModelError where it would not fit beside what there is and what else is being pulled."""
        others_b = sum(
            work.expected_b for work in self._workshop.running() if not same(work.state.model, name)
        )
        occupied_b = room.occupied_b(self._models(), but=name)
        room.require_quota(self._settings().models_quota_gb, occupied_b + others_b, coming_b)

    async def _pull(self, work: Work) -> str:
        name = work.state.model
        totals: dict[str, int] = {}
        done: dict[str, int] = {}
        known_b = 0
        async with self._way_out(), aclosing(self._client.pull(name)) as lines:
            async for line in lines:
                if line.digest:
                    done[line.digest] = line.completed_b
                    totals[line.digest] = max(line.total_b, line.completed_b)
                    if sum(totals.values()) > known_b:
                        # What the library says goes before what the catalogue remembers; what came before a break
                        # is on the disk already.
                        known_b = sum(totals.values())
                        work.expected_b = max(work.expected_b, known_b)
                        self._require_quota(name, work.expected_b)
                        await self._require_disk(known_b - sum(done.values()))
                what = "Downloading" if line.digest else _STAGES.get(line.status, "Finishing")
                work.tell(what, sum(done.values()), sum(totals.values()))
        await self._refresh()
        return f"The model {name} is here."

    @asynccontextmanager
    async def _way_out(self) -> AsyncIterator[None]:
        try:
            async with self._host.way_out():
                yield
        except ContainerError as error:
            raise ModelError(str(error)) from error

    async def _require_disk(self, coming_b: int) -> None:
        aside = Aside("looking for room")
        try:
            # The volume of a container of ours may lie on any disk: the engine says itself when that one is full.
            place = (lambda url: None) if self._host.managed else self._place
            free_b = await aside.run(lambda: room.free_b(place(self._engine.url)), timeout_s=5.0)
        except TimeoutError:
            return
        finally:
            aside.close()
        room.require_disk(free_b, coming_b)

    async def _update(self, work: Work, wanted: Wanted) -> str:
        def tell(what: str, done_b: int, total_b: int) -> None:
            work.expected_b = total_b
            work.tell(what, done_b, total_b)

        try:
            return await self._updates.run(wanted, self._rules(), tell, self._audit)
        finally:
            await self._refresh()

    async def _load(self, work: Work) -> str:
        self.brought.add(work.state.model)
        self._loading(True)
        try:
            await self._client.load(work.state.model)
        finally:
            self._loading(False)
        await self._refresh()
        return f"The model {work.state.model} is loaded."

    def _learn(self) -> None:
        """Ask for the shapes of models that have not been asked for, one after the other, while nobody waits."""
        unknown = [model for model in self._models() if self._native and model.digest not in self._shapes]
        if unknown and (self._learning is None or self._learning.done()):
            self._learning = asyncio.create_task(self._ask_shapes(unknown), name="shapes of models")

    async def _ask_shapes(self, models: list[Model]) -> None:
        for model in models:
            # Noted first: an engine that cannot say is not asked again.
            self._shapes[model.digest] = fits.NO_SHAPE
            try:
                info = (await self._client.show(model.name)).get("model_info")
            except ModelError:
                continue
            if isinstance(info, dict):
                self._shapes[model.digest] = fits.shape_of(info)


_STAGES = {
    "pulling manifest": "Asking the library",
    "verifying sha256 digest": "Checking",
    "writing manifest": "Finishing",
}

__all__ = ["Busy", "Refused", "Shelf", "UpdateReport"]


@functools.cache
def _main_memory_b() -> int:
    """This machine's main memory. What asks for it is loaded with the first list of models, not with each start."""
    import psutil

    return int(psutil.virtual_memory().total)
