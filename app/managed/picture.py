"""The container as faces see it: one `HostState`, changed in as many ways as there are things to say.

Rule 1: nobody is told of a change that is none. Rule 2: a new phase says everything anew; a problem, a progress or a
log of an earlier phase never stays behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from app.containers.base import Container, ContainerError, DaemonUnreachable, GpuRefused
from app.containers.docker import Docker
from app.engine.host import HostPhase, HostState, Processor, Progress
from app.managed.faults import problem_and_fix
from app.managed.gpu_choice import Machine, choose
from app.managed.names import LABEL_DIGEST, LABEL_REFERENCE
from app.managed.recipe import Recipe, changed_settings
from app.managed.upbringing import Up

log = logging.getLogger(__name__)


class Picture:
    """`name` is the container's; `on_change` is called after `state` changed."""

    def __init__(self, name: str, on_change: Callable[[], None]) -> None:
        self.state = HostState(HostPhase.ABSENT, container=name)
        self.closed = False
        """The container's own network has no way out."""
        self._on_change = on_change
        self._container: Container | None = None
        self._said: set[str] = set()

    def starting(
        self, container: Container | None = None, problem: str | None = None, fix: str | None = None
    ) -> None:
        """It is being brought up; what runs and is only being looked at stays RUNNING."""
        if container is not None:
            self._container = container
        elif self.state.phase is HostPhase.RUNNING and problem is None:
            return
        if self.state.phase is HostPhase.RUNNING and container is not None and container.running:
            return
        self._become(HostPhase.STARTING, problem=problem, fix=fix)

    def pulling(self, progress: Progress) -> None:
        """The image is on its way; an engine that runs meanwhile goes on running."""
        if self.state.phase is HostPhase.RUNNING:
            self.amend(progress=progress)
        else:
            self._become(HostPhase.PULLING, progress=progress)

    def pulled(self, before: HostState) -> None:
        """The image is not on its way any more; nothing else has become of the engine since `before`."""
        if self.state.phase is HostPhase.PULLING:
            self._tell(before)
        else:
            self.amend(progress=None)

    def running(self, up: Up, *, isolated: bool, notes: tuple[str, ...]) -> None:
        """It answers. `notes` go to the log, each once."""
        for note in notes:
            if note not in self._said:
                self._said.add(note)
                log.warning("%s", note)
        self._container = up.container
        self.closed = up.closed
        self._become(
            HostPhase.RUNNING, problem=up.problem, fix=up.fix, processor=up.processor, isolated=isolated
        )

    def stopped(self, container: Container | None) -> None:
        """It was stopped, or there is none."""
        self._container = container
        if container is None:
            self._tell(HostState(HostPhase.ABSENT, container=self.state.container))
        else:
            self._become(HostPhase.STOPPED)

    def failed(self, error: ContainerError, tail: tuple[str, ...] = ()) -> None:
        """It does not run because of `error`."""
        problem, fix = problem_and_fix(error)
        phase = HostPhase.ABSENT if isinstance(error, DaemonUnreachable) else HostPhase.FAILED
        self._become(phase, problem=problem, fix=fix, log_tail=tail)

    def amend(self, **changes: Any) -> None:
        """Change some of it and leave the rest."""
        self._tell(replace(self.state, **changes))

    def compare(self, recipe: Recipe, docker: Docker | None, machine: Callable[[], Machine]) -> None:
        """Find out again which settings differ from those the container was made with."""
        drift: tuple[str, ...] = ()
        if self._container is not None:
            if docker is None:
                return
            try:
                choice = choose(recipe.processor, docker.daemon, machine())
                drift = changed_settings(recipe, choice, self._container)
            except GpuRefused:
                drift = ("engine_gpu",)
        self.amend(drift=drift)

    def _become(self, phase: HostPhase, **changes: Any) -> None:
        labels = self._container.labels if self._container is not None else {}
        said: dict[str, Any] = {
            "container": self.state.container,
            "drift": self.state.drift,
            "image": labels.get(LABEL_REFERENCE, ""),
            "digest": labels.get(LABEL_DIGEST, ""),
            "processor": Processor.UNKNOWN,
            **changes,
        }
        self._tell(HostState(phase, **said))

    def _tell(self, state: HostState) -> None:
        if state != self.state:
            self.state = state
            self._on_change()
