"""The managed Ollama: carries out what the engine's life wishes for, at the daemon (see `engine.host.EngineHost`).

Rule 1: nothing is decided here. What happens is told to `EngineLife`, and what that wishes for is done. Rule 2: one
piece of work on the container at a time; who comes while it is being started waits for that start. Rule 3: every
failure ends in a state that says what is wrong and what to do, and `start` is the way out of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress

from app.containers.base import Container, ContainerError, DaemonUnreachable, PullProgress
from app.containers.docker import Docker
from app.containers.life import Happening, LifeWish
from app.engine.base import Loaded
from app.engine.host import HostPhase, HostState, Processor
from app.engine.ollama import OllamaEngine
from app.managed import faults, life
from app.managed.faults import EngineCrashed, NeverHealthy, NotRunning
from app.managed.gpu_choice import Machine, choose, look
from app.managed.life import EngineLife
from app.managed.making import GRACE_S, Making, clear, find_ours, put_in_place
from app.managed.names import names_of
from app.managed.pulling import PullRate
from app.managed.recipe import Recipe, drift_now
from app.managed.tasks import Tasks, outcome_of, over
from app.managed.upbringing import TAIL, Upbringing
from app.managed.watching import DaemonInUse, Watch
from app.managed.way_out import WayOut

_CLOSE_S = 3.0
_PAUSES_S = (0.5, 2.0, 5.0)
"""Before the first, the second, every further restart."""

log = logging.getLogger(__name__)


class ManagedOllama:
    """Keeps the Ollama of one profile in a container. Make it inside the running loop.

    `recipe` gives the present settings; `find` a daemon (raising ContainerError) which is closed here; `on_change` is
    called after `state` changed; `clock` gives seconds that never run backwards; `healthy_s`: how long a started engine
    may take to answer; `pauses_s`: before the first, second, … restart; `machine`: which GPUs there are; `busy`:
    whether requests are under way, which a restart that only finds something out must not cut; `quietly`: inside it no
    request is under way, because giving or taking a way out moves the engine's port and breaks them.
    """

    managed = True

    def __init__(
        self,
        engine: OllamaEngine,
        recipe: Callable[[], Recipe],
        *,
        find: Callable[[], Awaitable[Docker]],
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        healthy_s: float = 60.0,
        pauses_s: tuple[float, ...] = _PAUSES_S,
        machine: Callable[[], Machine] = look,
        busy: Callable[[], bool] = lambda: False,
        quietly: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        self._recipe = recipe
        self._daemon = DaemonInUse(find)
        self._clock = clock
        self._machine = machine
        self._on_change = on_change
        self._life = EngineLife(names_of(recipe().profile).container, pauses_s)
        self._way_out = WayOut(self._open, self._shut)
        self._upbringing = Upbringing(
            engine,
            self._life,
            self._tell,
            healthy_s=healthy_s,
            busy=busy,
            quietly=quietly,
            way_out=lambda: self._way_out.needed,
        )
        self._turn = asyncio.Lock()
        self._tasks = Tasks()
        self._starting: asyncio.Task[None] | None = None
        self._looks: list[asyncio.Task[None]] = []
        self._checking: asyncio.Task[Processor] | None = None
        self._watch = Watch(
            self.state.container,
            find=self._daemon.get,
            look=lambda: self.look_again(),
            back=self._back,
            gone=self._gone,
            reloaded=lambda: self._tasks.begin(self._check()),
        )

    @property
    def state(self) -> HostState:
        """What is known now."""
        return self._life.state

    async def start(self) -> None:
        """Bring the engine up and keep it up (see `EngineHost.start`)."""
        task = self._begin_start(renew=True)
        # Before a daemon is found, which may take seconds: whoever has just pressed Contribute is not told to press it.
        self._tell(life.Start())
        await outcome_of(task)

    async def stop(self) -> None:
        """Stop the container; it stays, with its models."""
        self._tell(life.Stop())
        async with self._work() as docker:
            container = await find_ours(docker, self._recipe())
            if container is not None:
                await docker.stop(container.id, GRACE_S)
            self._tell(life.Rests(container))

    async def remove(self, *, models: bool) -> None:
        """Stop and remove the container, and the models' volume where `models`."""
        self._tell(life.Stop())
        async with self._work() as docker:
            await clear(docker, self._recipe(), models=models)
            self._tell(life.Rests(None))

    async def update(self, image: str = "") -> str:
        """Re-create the container from the newest image and go back where that one does not come up."""
        # A piece of work of its own: whoever asked may go away in the middle, when the old one is gone already.
        return await outcome_of(self._tasks.begin(self._update(image)))

    async def _update(self, image: str) -> str:
        before = self.state
        async with self._work(spoils=False) as docker:
            making = self._making(docker, "Downloading the new Ollama")
            newest = await making.pull(image or making.reference)
            self._tell(life.PullEnds(before))
        async with self._work() as docker:
            making = self._making(docker)
            old = await making.existing()
            if old is not None and old.image_id == newest.id:
                return "Ollama is up to date."
            self._tell(life.Remake(keep=old is not None and old.running))
            said = await put_in_place(making, old, newest, lambda made: self._upbringing.bring(making, made))
            made = await making.existing()
            if made is not None and not self._life.life.wanted:
                await docker.stop(made.id, GRACE_S)
                self._tell(life.Rests(made))
        return said

    async def recreate(self) -> None:
        """Make the container anew with the present settings; models stay."""
        await outcome_of(self._tasks.begin(self._recreate()))

    async def _recreate(self) -> None:
        async with self._work() as docker:
            making = self._making(docker)
            self._tell(life.Remake(keep=True))
            old = await making.existing()
            if old is None:
                made = await making.make_of(await making.image())
            else:
                made = await making.make_again(old)
            await self._upbringing.bring(making, made)

    async def log_tail(self, lines: int = 200) -> str:
        """The end of the container's log; empty where there is no container."""
        docker = await self._daemon.get()
        container = await find_ours(docker, self._recipe())
        return await docker.logs(container.id, lines) if container is not None else ""

    def way_out(self) -> AbstractAsyncContextManager[None]:
        """While it is open, the engine may reach the network."""
        return self._way_out.open()

    async def check_processor(self) -> Processor:
        """Find out whether the GPU is used; where it is not, restart the container once, which is the known cure
        (nvidia-container-toolkit#251), and look again."""
        return await self._check()

    async def resumed(self) -> Processor:
        """The machine woke up: what the log said when the engine started is no evidence any more. Where no model is
        loaded and no request is under way the engine is restarted, so that it looks for its GPU again."""
        self._tell(Happening.DOUBT)
        return await self._check(if_unknown=True)

    def noticed(self, loaded: Iterable[Loaded]) -> None:
        """Somebody has heard from the engine what is loaded: look closer where that does not lie on the GPU."""
        if LifeWish.CHECK in self._tell(life.Heard(tuple(loaded))) and over(self._checking):
            with suppress(NotRunning):
                self._checking = self._tasks.begin(self._check())

    def settings_changed(self) -> None:
        """The recipe may have changed: say in `state` which settings wait for a re-create."""
        if self._life.container is None:
            self._tell(life.Drifted(()))
        elif self._daemon.found is not None:
            daemon, machine = self._daemon.found.daemon, self._machine()
            self._tell(life.Drifted(drift_now(self._recipe(), daemon, machine, self._life.container)))

    async def close(self) -> None:
        """Look after it no more; the container is left as it is. Never raises, and is over within seconds."""
        with suppress(TimeoutError, ContainerError):
            async with asyncio.timeout(_CLOSE_S):
                self._tell(life.Stop())
                await self._tasks.close()
                await self._way_out.settle(_CLOSE_S)
                await self._daemon.close()

    # Bringing up

    def _begin_start(self, *, renew: bool) -> asyncio.Task[None]:
        if self._starting is None or over(self._starting):
            self._starting = self._tasks.begin(self._start(renew=renew))
        return self._starting

    async def _start(self, *, renew: bool) -> None:
        async with self._work() as docker:
            self._follow()
            await self._upbringing.patiently(self._making(docker), renew=renew)

    async def _recover(self) -> None:
        """The container may have ended: bring it up again where that is so."""
        async with self._work() as docker:
            if not self._life.life.wanted or not over(self._starting):
                # A start that waits for its turn sees to it, with all of its restarts.
                return
            container = await find_ours(docker, self._recipe())
            if container is not None and container.running:
                return
            tail = await docker.logs(container.id, TAIL) if container is not None else ""
            await self._upbringing.once_more(faults.crashed(container, tail))
            await self._upbringing.patiently(self._making(docker), renew=False)

    # Watching

    def _follow(self) -> None:
        if self._life.life.wanted:
            self._watch.follow()

    def look_again(self) -> None:
        """Something may be wrong with the container: look, and restart it where it has ended."""
        self._tell(Happening.HINT)

    def _gone(self, error: DaemonUnreachable) -> None:
        self._daemon.lose()
        self._tell(life.Lost(error))

    async def _back(self) -> None:
        if LifeWish.BRING_UP in self._tell(Happening.FOUND):
            await asyncio.shield(self._begin_start(renew=False))

    async def _check(self, *, if_unknown: bool = False) -> Processor:
        if self.state.phase is not HostPhase.RUNNING:
            return self.state.processor
        async with self._work() as docker:
            making = self._making(docker)
            making.closed = self._life.closed
            container = await making.existing()
            # Not running: its end has been noticed, and is somebody else's work.
            if container is not None and container.running:
                try:
                    await self._upbringing.judge(making, container, if_unknown=if_unknown)
                except EngineCrashed as error:
                    await self._upbringing.once_more(error)
                    await self._upbringing.patiently(making, renew=False)
        return self.state.processor

    # One piece of work

    @asynccontextmanager
    async def _work(self, *, spoils: bool = True) -> AsyncIterator[Docker]:
        """The daemon, for one piece of work at a time; what fails in it is also in `state`.

        `spoils` False: it touches no container, so other work may go on beside it, and its failure leaves the engine as
        it was; that is not in `state` unless the daemon is gone.
        """
        before = self.state
        async with self._turn if spoils else nullcontext():
            try:
                yield await self._daemon.get()
                self._follow()
                self.settings_changed()
            except DaemonUnreachable as error:
                self._daemon.lose()
                self._tell(life.Lost(error))
                raise
            except ContainerError as error:
                if not spoils:
                    self._tell(life.PullEnds(before))
                elif LifeWish.GIVE_UP in self._tell(life.Impossible(error)):
                    await self._give_up(error)
                raise

    async def _give_up(self, error: ContainerError) -> None:
        self._watch.stop()
        tail: tuple[str, ...] = ()
        with suppress(ContainerError):
            docker = await self._daemon.get()
            container = await find_ours(docker, self._recipe())
            if container is not None:
                tail = tuple((await docker.logs(container.id, TAIL)).splitlines())
                if isinstance(error, NeverHealthy):
                    # What does not answer would hold a GPU for nothing.
                    await docker.stop(container.id, GRACE_S)
        self._tell(life.GivenUp(error, tail))

    def _tell(self, event: life.Event) -> tuple[LifeWish, ...]:
        """Tell the engine's life, and whoever shows it. What it wishes for and nobody waits for is done here; the rest
        is up to whoever told it."""
        before = self.state
        wishes = self._life.told(event, self._clock())
        if self.state != before:
            self._on_change()
        for wish in wishes:
            if wish is LifeWish.CALL_OFF:
                # It ends before the next piece of work begins.
                self._watch.stop()
                self._tasks.call_off()
            elif wish is LifeWish.LOOK:
                self._look()
            elif wish is LifeWish.AWAIT_DAEMON and isinstance(event, life.Lost):
                self._watch.await_daemon(event.error)
        return wishes

    def _look(self) -> None:
        # One under way may have looked before what was just heard; so one more waits for its turn behind it.
        self._looks = [look for look in self._looks if not over(look)]
        if len(self._looks) < 2:
            self._looks.append(self._tasks.begin(self._recover()))

    def _making(self, docker: Docker, what: str = "Downloading Ollama") -> Making:
        recipe = self._recipe()
        rate = PullRate(what)

        def pulled(progress: PullProgress) -> None:
            shown = rate.at(self._clock(), progress)
            if shown is not None:
                self._tell(life.Pulls(shown))

        return Making(docker, recipe, choose(recipe.processor, docker.daemon, self._machine()), pulled)

    # The way out

    async def _open(self) -> None:
        async with self._turn:
            making = self._making(await self._daemon.get())
            container = await making.existing()
            if container is None:
                raise NotRunning("The engine has no container yet. Start the engine first.")
            await self._upbringing.moved(making, container, making.open, waits=self._serves(container))
            self._tell(life.WayMoved(isolated=False))

    async def _shut(self) -> None:
        async with self._turn:
            making = self._making(await self._daemon.get())
            container = await making.existing()
            if container is not None:
                if making.is_open(container):
                    await self._upbringing.moved(making, container, making.cut, waits=self._serves(container))
                self._tell(life.WayMoved(isolated=self._life.closed and container.running))

    def _serves(self, container: Container) -> bool:
        return container.running and self.state.phase is HostPhase.RUNNING
