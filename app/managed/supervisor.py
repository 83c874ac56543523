"""The managed Ollama: brought up, watched, brought up again, updated, stopped (see `engine.host.EngineHost`).

Rule 1: one piece of work on the container at a time; who comes while it is being started waits for that start.
Rule 2: every failure ends in a state that says what is wrong and what to do, and `start` is the way out of it.
Rule 3: it restarts what ended by itself, three times within ten minutes, and never what a person has stopped here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress

from app.containers.base import Container, ContainerError, DaemonUnreachable, PullProgress
from app.containers.docker import Docker
from app.engine.base import Loaded
from app.engine.host import HostPhase, HostState, Processor
from app.engine.ollama import OllamaEngine
from app.managed import faults
from app.managed.crashes import LIMIT, WINDOW_S, Crashes
from app.managed.daemon import DaemonInUse
from app.managed.faults import EngineCrashed, NeverHealthy, NotRunning
from app.managed.gpu_choice import Machine, choose, look
from app.managed.judging import Judge
from app.managed.making import GRACE_S, Making, clear, find_ours
from app.managed.names import names_of
from app.managed.picture import Picture
from app.managed.pulling import PullRate
from app.managed.recipe import Recipe
from app.managed.tasks import Tasks, outcome_of, over
from app.managed.upbringing import TAIL, Up, Upbringing
from app.managed.updating import put_in_place
from app.managed.watching import Watch
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
        self._engine = engine
        self._recipe = recipe
        self._daemon = DaemonInUse(find)
        self._clock = clock
        self._pauses_s = pauses_s
        self._machine = machine
        self._quietly = quietly
        self._picture = Picture(names_of(recipe().profile).container, on_change)
        self._judge = Judge(engine)
        self._upbringing = Upbringing(engine, self._judge, healthy_s=healthy_s, busy=busy, quietly=quietly)
        self._crashes = Crashes()
        self._way_out = WayOut(self._open, self._shut)
        self._turn = asyncio.Lock()
        self._tasks = Tasks()
        self._wanted = False
        self._starting: asyncio.Task[None] | None = None
        self._looks: list[asyncio.Task[None]] = []
        self._checking: asyncio.Task[Processor] | None = None
        self._watch: Watch | None = None

    @property
    def state(self) -> HostState:
        """What is known now."""
        return self._picture.state

    async def start(self) -> None:
        """Bring the engine up and keep it up (see `EngineHost.start`)."""
        task = self._begin_start(renew=True)
        self._wanted = True
        self._crashes.forget()
        self._judge.forget()
        # Before a daemon is found, which may take seconds: whoever has just pressed Contribute is not told to press it.
        self._picture.starting()
        await outcome_of(task)

    async def stop(self) -> None:
        """Stop the container; it stays, with its models."""
        self._rest()
        async with self._work() as docker:
            container = await find_ours(docker, self._recipe())
            if container is not None:
                await docker.stop(container.id, GRACE_S)
            self._picture.stopped(container)

    async def remove(self, *, models: bool) -> None:
        """Stop and remove the container, and the models' volume where `models`."""
        self._rest()
        async with self._work() as docker:
            await clear(docker, self._recipe(), models=models)
            self._picture.stopped(None)

    async def update(self, image: str = "") -> str:
        """Re-create the container from the newest image and go back where that one does not come up."""
        # A piece of work of its own: whoever asked may go away in the middle, when the old one is gone already.
        return await outcome_of(self._tasks.begin(self._update(image)))

    async def _update(self, image: str) -> str:
        async with self._work(spoils=False) as docker:
            making = self._making(docker, "Downloading the new Ollama")
            newest = await making.pull(image or making.reference)
        async with self._work() as docker:
            making = self._making(docker)
            old = await making.existing()
            runs_on = (
                self._wanted or (old is not None and old.running) or self.state.phase is HostPhase.FAILED
            )
            said = await put_in_place(making, old, newest, lambda made: self._bring_up(making, made))
            self._picture.amend(progress=None)
            made = await making.existing()
            if runs_on:
                self._wanted = True
                self._follow()
            elif made is not None:
                await docker.stop(made.id, GRACE_S)
                self._picture.stopped(made)
        return said

    async def recreate(self) -> None:
        """Make the container anew with the present settings; models stay."""
        await outcome_of(self._tasks.begin(self._recreate()))

    async def _recreate(self) -> None:
        async with self._work() as docker:
            making = self._making(docker)
            old = await making.existing()
            if old is None:
                made = await making.make_of(await making.image())
            else:
                made = await making.make_again(old)
            self._wanted = True
            await self._bring_up(making, made)
            self._follow()

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
        self._judge.doubt()
        return await self._check(if_unknown=True)

    def noticed(self, loaded: Iterable[Loaded]) -> None:
        """Somebody has heard from the engine what is loaded: look closer where that does not lie on the GPU."""
        if self.state.phase is not HostPhase.RUNNING:
            return
        verdict, known = self._judge.by(loaded), self.state.processor
        if verdict is Processor.GPU and known in (Processor.UNKNOWN, Processor.FALLBACK):
            self._picture.amend(processor=verdict, problem=None, fix=None)
        elif verdict is Processor.FALLBACK is not known and over(self._checking) and not self._tasks.ended:
            self._checking = self._tasks.begin(self._check())

    def settings_changed(self) -> None:
        """The recipe may have changed: say in `state` which settings wait for a re-create."""
        self._picture.compare(self._recipe(), self._daemon.found, self._machine)

    async def close(self) -> None:
        """Look after it no more; the container is left as it is. Never raises, and is over within seconds."""
        with suppress(TimeoutError, ContainerError):
            async with asyncio.timeout(_CLOSE_S):
                self._rest()
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
            making = self._making(docker)
            await self._bring_up_patiently(making, renew=renew)

    async def _recover(self) -> None:
        """The container may have ended: bring it up again where that is so."""
        async with self._work() as docker:
            if not self._wanted or not over(self._starting):
                # A start that waits for its turn sees to it, with all of its restarts.
                return
            container = await find_ours(docker, self._recipe())
            if container is not None and container.running:
                return
            tail = await docker.logs(container.id, TAIL) if container is not None else ""
            await self._once_more(faults.crashed(container, tail))
            await self._bring_up_patiently(self._making(docker), renew=False)

    async def _bring_up_patiently(self, making: Making, *, renew: bool) -> None:
        """Once more after a crash, as often as that is allowed."""
        while True:
            try:
                self._picture.starting()
                await self._bring_up(making, await self._upbringing.container(making, renew=renew))
                return
            except EngineCrashed as error:
                await self._once_more(error)

    async def _bring_up(self, making: Making, container: Container) -> None:
        self._picture.starting(container)
        self._came_up(making, await self._upbringing.up(making, container, way_out=self._way_out.needed))
        self._picture.compare(making.recipe, making.docker, self._machine)

    def _came_up(self, making: Making, up: Up) -> None:
        notes = making.choice.notes
        if making.recipe.isolated and not up.closed:
            notes = (*notes, "This Docker cannot close a network, so the engine keeps its way out.")
        self._picture.running(up, isolated=up.closed and not self._way_out.needed, notes=notes)

    async def _once_more(self, error: EngineCrashed) -> None:
        """Count a restart and wait a moment; raises where it would be one too many."""
        if not self._crashes.may_restart(self._clock()):
            raise faults.gave_up(error, LIMIT, round(WINDOW_S / 60)) from error
        problem, fix = faults.problem_and_fix(error)
        log.warning("%s It is being restarted.", problem)
        self._picture.starting(problem=problem, fix=fix)
        await asyncio.sleep(self._pauses_s[min(self._crashes.count, len(self._pauses_s)) - 1])

    # Watching

    def _follow(self, away: DaemonUnreachable | None = None) -> None:
        if self._watch is None and self._wanted and not self._tasks.ended:
            self._watch = Watch(
                self.state.container,
                find=self._daemon.get,
                look=self.look_again,
                back=self._back,
                gone=self._gone,
                reloaded=lambda: self._tasks.begin(self._check()),
                away=away,
            )

    def look_again(self) -> None:
        """Something may be wrong with the container: look, and restart it where it has ended."""
        # One under way may have looked before what was just heard; so one more waits for its turn behind it.
        self._looks = [look for look in self._looks if not over(look)]
        if self._wanted and len(self._looks) < 2:
            self._looks.append(self._tasks.begin(self._recover()))

    async def _gone(self, error: DaemonUnreachable) -> None:
        self._daemon.lose()
        self._picture.failed(error)

    async def _back(self) -> None:
        await asyncio.shield(self._begin_start(renew=False))

    async def _check(self, *, if_unknown: bool = False) -> Processor:
        if self.state.phase is not HostPhase.RUNNING:
            return self.state.processor
        async with self._work() as docker:
            making = self._making(docker)
            making.closed = self._picture.closed
            container = await making.existing()
            # Not running: its end has been noticed, and is somebody else's work.
            if container is not None and container.running:
                try:
                    up = await self._upbringing.judge(making, container, if_unknown=if_unknown)
                    self._came_up(making, up)
                except EngineCrashed as error:
                    await self._once_more(error)
                    await self._bring_up_patiently(making, renew=False)
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
            except DaemonUnreachable as error:
                self._daemon.lose()
                self._picture.failed(error)
                if self._watch is not None and not self._watch.away:
                    # Its events go on where one call alone was not answered; then nobody would come back to this.
                    self._stop_watching()
                self._follow(error)
                raise
            except ContainerError as error:
                if spoils:
                    await self._failed(error)
                else:
                    self._picture.pulled(before)
                raise

    async def _failed(self, error: ContainerError) -> None:
        self._wanted = False
        self._stop_watching()
        tail: tuple[str, ...] = ()
        with suppress(ContainerError):
            tail = tuple((await self.log_tail(TAIL)).splitlines())
            if isinstance(error, NeverHealthy):
                # What does not answer would hold a GPU for nothing.
                docker = await self._daemon.get()
                container = await find_ours(docker, self._recipe())
                if container is not None:
                    await docker.stop(container.id, GRACE_S)
        self._picture.failed(error, tail)

    def _rest(self) -> None:
        """Want nothing, watch nothing, and call off what goes on: it ends before the next piece of work begins."""
        self._wanted = False
        self._stop_watching()
        self._tasks.call_off()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _making(self, docker: Docker, what: str = "Downloading Ollama") -> Making:
        recipe = self._recipe()
        rate = PullRate(what)

        def pulled(progress: PullProgress) -> None:
            shown = rate.at(self._clock(), progress)
            if shown is not None:
                self._picture.pulling(shown)

        return Making(docker, recipe, choose(recipe.processor, docker.daemon, self._machine()), pulled)

    # The way out

    async def _open(self) -> None:
        async with self._turn:
            making = self._making(await self._daemon.get())
            container = await making.existing()
            if container is None:
                raise NotRunning("The engine has no container yet. Start the engine first.")
            async with self._quietly():
                await making.open(container)
                await self._settled(making, container)
            self._picture.amend(isolated=False)

    async def _shut(self) -> None:
        async with self._turn:
            making = self._making(await self._daemon.get())
            container = await making.existing()
            if container is not None:
                if making.is_open(container):
                    async with self._quietly():
                        await making.cut(container)
                        await self._settled(making, container)
                self._picture.amend(isolated=self._picture.closed and container.running)

    async def _settled(self, making: Making, container: Container) -> None:
        """While a port moves between networks nobody listens on it, for some milliseconds."""
        if container.running and self.state.phase is HostPhase.RUNNING:
            await self._upbringing.answers(making, container)
