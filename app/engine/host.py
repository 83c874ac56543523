"""Who keeps the engine running: the managed container, or nobody we know (an endpoint, the simulator).

Rule 1: what we did not start we never stop; `NoHost` does nothing at all. Rule 2: a `HostState` is data for blockers
and faces; its sentence and its fix are for a person.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from app.engine.base import Loaded


class HostPhase(StrEnum):
    """Where the engine's container is in its life."""

    NONE = "none"
    """Nobody of ours: the engine runs by itself, or not."""
    ABSENT = "absent"
    """No container yet, or no daemon to ask."""
    PULLING = "pulling"
    STARTING = "starting"
    """Created, started, not healthy yet; also between a crash and the next try."""
    RUNNING = "running"
    STOPPED = "stopped"
    """Stopped because we were told so."""
    FAILED = "failed"
    """It does not run, and we have stopped trying (see `problem`)."""


class Processor(StrEnum):
    """What the engine computes with."""

    UNKNOWN = "unknown"
    GPU = "gpu"
    CPU = "cpu"
    """The processor, where nothing else was asked for."""
    FALLBACK = "fallback"
    """The processor, though a GPU was asked for: nothing is served like this."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something long is. `done` and `total` in bytes, or in what is `counted`; `total` 0 where it is not known
    yet."""

    what: str
    """In a few words, for a face: «Downloading Ollama»."""
    done: int
    total: int
    rate_b_per_s: float = 0.0
    seconds_left: float | None = None
    counted: str = ""


@dataclass(frozen=True, slots=True)
class HostState:
    """The container as last heard of."""

    phase: HostPhase
    problem: str | None = None
    """One sentence: what is wrong. None where nothing is."""
    fix: str | None = None
    """One sentence: what the person can do about it."""
    progress: Progress | None = None
    container: str = ""
    """Its name."""
    image: str = ""
    digest: str = ""
    """`sha256:…` of the image as pulled, or empty."""
    isolated: bool = False
    """It has no way out to the network now."""
    drift: tuple[str, ...] = ()
    """Names of settings that differ from those the container was made with; not empty: a re-create is due."""
    processor: Processor = Processor.UNKNOWN
    log_tail: tuple[str, ...] = ()
    """The last lines of its log, where it failed."""


NO_HOST_STATE = HostState(HostPhase.NONE)


@dataclass(frozen=True, slots=True)
class HostCare:
    """What whoever keeps an engine running must know of the gateway that uses it."""

    changed: Callable[[], None]
    """To be called, on the loop, when `state` changed."""
    busy: Callable[[], bool]
    """Whether requests are under way: nothing that only finds something out may cut them."""
    quietly: Callable[[], AbstractAsyncContextManager[None]]
    """Inside it no request is under way and none begins. Raises ContainerError where that cannot be had."""


class EngineHost(Protocol):
    """Keeps an engine running, or has nothing to do with it. Methods raise ContainerError unless they say otherwise."""

    @property
    def state(self) -> HostState:
        """What is known now. A callback given at its making is called when it changes."""

    @property
    def managed(self) -> bool:
        """Whether the engine is ours to start and stop."""

    async def start(self) -> None:
        """Bring the engine up and keep it up; pulls, creates and starts what is missing, waits until it answers.

        Safe to say again; several callers share one start. A failure is also in `state`.
        """

    async def stop(self) -> None:
        """Stop the container. It stays, with its models."""

    async def update(self, image: str = "") -> str:
        """Re-create it from the newest image (or from `image`, which may be pinned by digest), and go back to the old
        one where the new one does not become healthy. One sentence about what came of it."""

    async def recreate(self) -> None:
        """Make it anew with the present settings; models stay."""

    async def remove(self, *, models: bool) -> None:
        """Stop and remove the container, and the models' volume where `models`."""

    async def log_tail(self, lines: int = 200) -> str:
        """The end of the container's log."""

    def way_out(self) -> AbstractAsyncContextManager[None]:
        """While it is open, the engine may reach the network: for pulling models. May be nested."""

    async def check_processor(self) -> Processor:
        """Find out whether the GPU is really used; a fallback to the processor is also in `state`."""

    async def resumed(self) -> Processor:
        """The machine woke up, and a driver may have lost the GPU meanwhile: find out as `check_processor` does."""

    def noticed(self, loaded: Iterable[Loaded]) -> None:
        """The engine has told what is loaded; where that does not lie on the GPU it is looked into. Never raises."""

    def settings_changed(self) -> None:
        """Settings may have changed: say in `state` which of them wait for a re-create. Never raises."""

    async def close(self) -> None:
        """Look after it no more; the container itself is left as it is. Never raises."""


class NoHost:
    """The engine is somebody else's."""

    state = NO_HOST_STATE
    managed = False

    async def start(self) -> None:
        """It runs by itself."""

    async def stop(self) -> None:
        """It is not ours to stop."""

    async def update(self, image: str = "") -> str:
        """Nothing to update."""
        return "This engine is not managed here: update it where it was installed."

    async def recreate(self) -> None:
        """Nothing to make."""

    async def remove(self, *, models: bool) -> None:
        """Nothing to remove."""

    async def log_tail(self, lines: int = 200) -> str:
        """Its log is somewhere else."""
        return ""

    @asynccontextmanager
    async def way_out(self) -> AsyncIterator[None]:
        """It reaches what it reaches."""
        yield

    async def check_processor(self) -> Processor:
        """Not ours to judge."""
        return Processor.UNKNOWN

    async def resumed(self) -> Processor:
        """Not ours to judge."""
        return Processor.UNKNOWN

    def noticed(self, loaded: Iterable[Loaded]) -> None:
        """Not ours to judge."""

    def settings_changed(self) -> None:
        """Nothing of it was made with settings."""

    async def close(self) -> None:
        """Nothing is held."""
