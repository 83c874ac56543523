"""Whether the engine computes with what it was given.

Rule 1: what a loaded model occupies decides; the log only where nothing is loaded, and not after the machine slept.
Rule 2: one cure, a restart, and only once until a person starts the engine or the GPU is seen at work: a model that is
too large for the GPU must not make a restart of every answer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from app.containers.base import DaemonFailed
from app.containers.docker import Docker
from app.engine.base import EngineError, Loaded
from app.engine.host import Processor
from app.engine.ollama import OllamaEngine
from app.managed.evidence import from_loaded, from_log

_LINES = 2000

log = logging.getLogger(__name__)

PROBLEM = "The engine computes on the processor, not on the GPU, and a restart did not change that."
FIX = (
    "Choose a smaller model or a shorter context if it does not fit the GPU; otherwise restart Docker or the machine, "
    "then start the engine again."
)


class Judge:
    """Remembers what is expected of the engine and what was tried."""

    def __init__(self, engine: OllamaEngine) -> None:
        self._engine = engine
        self._expected = Processor.UNKNOWN
        self._log_counts = False
        self._cured = False

    def started(self, expected: Processor) -> None:
        """The engine has begun to run, or was found running; `expected` is GPU or CPU."""
        self._expected = expected
        self._log_counts = True

    def doubt(self) -> None:
        """Something happened that may have taken the GPU away since the engine started."""
        self._log_counts = False

    def forget(self) -> None:
        """A person starts it: the cure may be tried again."""
        self._cured = False

    def may_cure(self) -> bool:
        """Whether the cure is still to be tried; from now on it was."""
        cured, self._cured = self._cured, True
        return not cured

    def by(self, loaded: Iterable[Loaded]) -> Processor:
        """The verdict by what is loaded; UNKNOWN where that tells nothing."""
        if self._expected is not Processor.GPU:
            return self._expected
        verdict = from_loaded(loaded)
        if verdict is Processor.GPU:
            self._cured = False
        return verdict

    async def verdict(self, docker: Docker, container: str) -> Processor:
        """GPU, CPU where that is meant, FALLBACK, or UNKNOWN. Raises ContainerError."""
        if self._expected is not Processor.GPU:
            return self._expected
        try:
            verdict = self.by(await self._engine.loaded())
        except EngineError:
            verdict = Processor.UNKNOWN
        if verdict is Processor.UNKNOWN and self._log_counts:
            try:
                verdict = from_log(await docker.logs(container, _LINES))
            except DaemonFailed as error:
                # Some log drivers cannot be read (Podman's «none»): that is no reason to have no engine.
                log.info("%s", error)
        return verdict
