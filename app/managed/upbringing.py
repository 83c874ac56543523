"""From a container to an engine that answers with what it was given.

Rule: what is reported as up has answered, has been moved to, and has been judged; nothing is served before that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass

from app.containers.base import Container, ContainerError
from app.engine.host import Processor
from app.engine.ollama import OllamaEngine
from app.managed.answering import wait_until_it_answers
from app.managed.judging import FIX, PROBLEM, Judge
from app.managed.making import GRACE_S, Making, url_of
from app.managed.recipe import changed_settings

TAIL = 20
"""Lines of a log that a person is shown."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Up:
    """An engine that answers."""

    container: Container
    processor: Processor
    closed: bool
    """Its own network has no way out."""

    @property
    def problem(self) -> str | None:
        """What is wrong with it, in one sentence."""
        return PROBLEM if self.processor is Processor.FALLBACK else None

    @property
    def fix(self) -> str | None:
        """What the person can do about that."""
        return FIX if self.processor is Processor.FALLBACK else None


class Upbringing:
    """Brings containers up for one engine. Methods raise ContainerError.

    `healthy_s`: how long an engine may take to answer; `busy`: whether requests are under way; `quietly`: inside it
    none is, and none begins.
    """

    def __init__(
        self,
        engine: OllamaEngine,
        judge: Judge,
        *,
        healthy_s: float,
        busy: Callable[[], bool],
        quietly: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        self._engine = engine
        self._judge = judge
        self._healthy_s = healthy_s
        self._busy = busy
        self._quietly = quietly

    async def container(self, making: Making, *, renew: bool) -> Container:
        """The container to bring up: ours as it is, or a new one where there is none; where `renew`, also in place of
        one that does not run and was made with other settings."""
        container = await making.existing()
        if container is None:
            return await making.make_of(await making.image())
        if renew and not container.running and changed_settings(making.recipe, making.choice, container):
            return await making.make_again(container)
        return container

    async def up(self, making: Making, container: Container, *, way_out: bool) -> Up:
        """Have it running and answering. `way_out`: somebody needs one at this moment."""
        container = await making.run(container)
        if way_out:
            await making.open(container)
        else:
            await making.cut(container)
        await self.answers(making, container)
        self._judge.started(making.choice.expected)
        return await self.judge(making, container)

    async def judge(self, making: Making, container: Container, *, if_unknown: bool = False) -> Up:
        """What a running engine computes with. Where it should be the GPU and is not, it is restarted once and judged
        again; with `if_unknown` also where nothing tells and no request is under way."""
        docker = making.docker
        verdict = await self._judge.verdict(docker, container.id)
        unknown = verdict is Processor.UNKNOWN and if_unknown and not self._busy()
        if unknown or (verdict is Processor.FALLBACK and self._judge.may_cure()):
            async with AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(self._quietly())
                except ContainerError as error:
                    log.warning("The engine was not restarted to look for its GPU: %s", error)
                    return Up(container, verdict, making.closed)
                log.info("The engine is restarted so that it looks for its GPU again.")
                await docker.stop(container.id, GRACE_S)
                container = await making.run(await docker.find(container.id) or container)
                await self.answers(making, container)
                self._judge.started(making.choice.expected)
                verdict = await self._judge.verdict(docker, container.id)
        return Up(container, verdict, making.closed)

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
