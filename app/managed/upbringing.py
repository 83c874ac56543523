"""From a container to an engine that answers with what it was given.

Rule 1: what is reported as up has answered, has been moved to, and has been judged; nothing is served before that.
Rule 2: it is asked every few hundredths of a second at first, because the wait is part of every start, and the wait
ends at once where the container has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress

from app.containers.base import Container, ContainerError, DaemonFailed
from app.containers.life import LIMIT, WINDOW_S, LifeWish
from app.engine.base import EngineError
from app.engine.host import Processor
from app.engine.ollama import OllamaEngine
from app.engine.wire import Wire
from app.managed.faults import EngineCrashed, NeverHealthy, crashed, gave_up
from app.managed.life import Answers, Died, EngineLife, Event, Rises
from app.managed.making import GRACE_S, Making, url_of
from app.managed.processor import from_log
from app.managed.recipe import changed_settings

TAIL = 20
"""Lines of a log that a person is shown."""
_LOG_LINES = 2000
"""Of a log in which the engine is looked for saying what it computes with."""
_FIRST_S, _LONGEST_S = 0.02, 0.5
_ATTEMPT_S, _LONGEST_ATTEMPT_S = 1.0, 45.0
"""One answer may take long: Ollama looks for GPUs after it listens and before it answers. The first tries are short,
because a port that has just moved to another network leaves a question on its old way without any answer."""
_LOOK_S = 0.1
"""The daemon is asked about the container at most this often."""

log = logging.getLogger(__name__)


class Upbringing:
    """Brings containers up for one engine. Methods raise ContainerError.

    `tell` passes what happens on to `life`. `healthy_s`: how long an engine may take to answer; `busy`: whether
    requests are under way; `quietly`: inside it none is, and none begins; `way_out`: whether somebody needs one now.
    """

    def __init__(
        self,
        engine: OllamaEngine,
        life: EngineLife,
        tell: Callable[[Event], tuple[LifeWish, ...]],
        *,
        healthy_s: float,
        busy: Callable[[], bool],
        quietly: Callable[[], AbstractAsyncContextManager[None]],
        way_out: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._life = life
        self._trust = life.trust
        self._tell = tell
        self._way_out = way_out
        self._noted: set[str] = set()
        self._healthy_s = healthy_s
        self._busy = busy
        self._quietly = quietly

    async def patiently(self, making: Making, *, renew: bool) -> None:
        """Have it running and answering, and once more after an end, as often as that is wished for."""
        while True:
            try:
                self._tell(Rises())
                await self.bring(making, await self._container(making, renew=renew))
                return
            except EngineCrashed as error:
                await self.once_more(error)

    async def once_more(self, error: EngineCrashed) -> None:
        """Wait a moment before the next try; raises EngineCrashed where there is to be none."""
        if LifeWish.TRY_AGAIN not in self._tell(Died(error)):
            raise gave_up(error, LIMIT, round(WINDOW_S / 60)) from error
        log.warning("%s It is being restarted.", self._life.state.problem)
        await asyncio.sleep(self._life.life.pause_s)

    async def bring(self, making: Making, container: Container) -> None:
        """Have `container` running and answering."""
        self._tell(Rises(container))
        container = await making.run(container)
        if self._way_out():
            await making.open(container)
        else:
            await making.cut(container)
        await self.answers(making, container)
        self._trust.started(making.choice.expected)
        await self.judge(making, container)

    async def _container(self, making: Making, *, renew: bool) -> Container:
        """The container to bring up: ours as it is, or a new one where there is none; where `renew`, also in place of
        one that does not run and was made with other settings."""
        container = await making.existing()
        if container is None:
            return await making.make_of(await making.image())
        if renew and not container.running and changed_settings(making.recipe, making.choice, container):
            return await making.make_again(container)
        return container

    async def judge(self, making: Making, container: Container, *, if_unknown: bool = False) -> None:
        """Say what a running engine computes with. Where it should be the GPU and is not, it is restarted once and
        judged again; with `if_unknown` also where nothing tells and no request is under way."""
        container, verdict = await self._judged(making, container, if_unknown=if_unknown)
        for note in making.notes:
            if note not in self._noted:
                self._noted.add(note)
                log.warning("%s", note)
        isolated = making.closed and not self._way_out()
        self._tell(Answers(container, verdict, closed=making.closed, isolated=isolated))

    async def _judged(
        self, making: Making, container: Container, *, if_unknown: bool
    ) -> tuple[Container, Processor]:
        docker = making.docker
        verdict = await self._verdict(making, container)
        if self._trust.cure(verdict, if_unknown=if_unknown and not self._busy()):
            async with AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(self._quietly())
                except ContainerError as error:
                    log.warning("The engine was not restarted to look for its GPU: %s", error)
                    return container, verdict
                log.info("The engine is restarted so that it looks for its GPU again.")
                await docker.stop(container.id, GRACE_S)
                container = await making.run(await docker.find(container.id) or container)
                await self.answers(making, container)
                self._trust.started(making.choice.expected)
                verdict = await self._verdict(making, container)
        return container, verdict

    async def _verdict(self, making: Making, container: Container) -> Processor:
        """GPU, CPU where that is meant, FALLBACK, or UNKNOWN. Raises ContainerError."""
        if self._trust.as_meant is not None:
            return self._trust.as_meant
        verdict = Processor.UNKNOWN
        with suppress(EngineError):
            verdict = self._trust.by(await self._engine.loaded())
        if verdict is Processor.UNKNOWN and self._trust.log_counts:
            try:
                verdict = from_log(await making.docker.logs(container.id, _LOG_LINES))
            except DaemonFailed as error:
                # Some log drivers cannot be read (Podman's «none»): that is no reason to have no engine.
                log.info("%s", error)
        return verdict

    async def moved(
        self,
        making: Making,
        container: Container,
        move: Callable[[Container], Awaitable[None]],
        *,
        waits: bool,
    ) -> None:
        """Give a container another network or take one away, while no request runs: a port that moves between networks
        answers nobody for some milliseconds. `waits`: until its engine answers again."""
        async with self._quietly():
            await move(container)
            if waits:
                await self.answers(making, container)

    async def answers(self, making: Making, container: Container) -> None:
        """Wait until the engine in a running container answers, and ask it there from now on."""
        url = url_of(container)
        await wait_until_it_answers(
            url,
            look=lambda: making.docker.find(container.id),
            log=lambda: making.docker.logs(container.id, TAIL),
            limit_s=self._healthy_s,
        )
        await self._engine.move_to(url)


async def wait_until_it_answers(
    url: str,
    *,
    look: Callable[[], Awaitable[Container | None]],
    log: Callable[[], Awaitable[str]],
    limit_s: float,
) -> None:
    """Return once GET /api/version answers at `url`.

    `look` gives the container as it is now, `log` the end of its log. Raises EngineCrashed where the container does
    not run any more, NeverHealthy after `limit_s`, and what the two raise.
    """
    loop = asyncio.get_running_loop()
    end_s = loop.time() + limit_s
    looked_s = loop.time()
    pause_s, attempt_s = _FIRST_S, _ATTEMPT_S
    wire = Wire(url, silence_s=_LONGEST_ATTEMPT_S, connect_s=5.0)
    try:
        while True:
            began_s = loop.time()
            if await _answers(wire, min(end_s - began_s, attempt_s)):
                return
            if loop.time() - began_s >= attempt_s:
                attempt_s = min(attempt_s * 2, _LONGEST_ATTEMPT_S)
            if loop.time() - looked_s >= _LOOK_S:
                container = await look()
                looked_s = loop.time()
                if container is None or not container.running:
                    raise crashed(container, await log() if container is not None else "")
            if loop.time() >= end_s:
                raise NeverHealthy(
                    f"The engine's container runs, but nothing has answered in it for {limit_s:g} s. "
                    "Read the end of its log, then start the engine again."
                )
            await asyncio.sleep(min(pause_s, max(0.0, end_s - loop.time())))
            pause_s = min(pause_s * 1.5, _LONGEST_S)
    finally:
        await wire.close()


async def _answers(wire: Wire, limit_s: float) -> bool:
    try:
        async with asyncio.timeout(max(0.0, limit_s)):
            reply = await wire.get("/api/version")
            try:
                await reply.read()
            finally:
                reply.release()
    except (EngineError, TimeoutError):
        return False
    return reply.status == 200
