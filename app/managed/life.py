"""The engine's life as faces see it: events and the time come in, wishes go out, and `state` says where it stands.

Rule 1: pure: what decides is `containers.life`, which knows no engine; here stand the engine's own words for it, and
what it computes with. Rule 2: a new phase says everything anew; a problem, a progress or a log of an earlier phase
never stays behind. Rule 3: an engine that runs and is only being looked at stays RUNNING.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from app.containers.base import Container, ContainerError, DaemonUnreachable
from app.containers.life import Happening, Life, LifeWish
from app.engine.base import Loaded
from app.engine.host import HostPhase, HostState, Processor, Progress
from app.managed.faults import EngineCrashed, problem_and_fix
from app.managed.names import LABEL_DIGEST, LABEL_REFERENCE
from app.managed.processor import FIX, PROBLEM, Trust


@dataclass(frozen=True, slots=True)
class Start:
    """A person wants it."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A person wants it no more."""


@dataclass(frozen=True, slots=True)
class Remake:
    """A container is made anew, to stay where `keep`; else it is afterwards as it was before."""

    keep: bool


@dataclass(frozen=True, slots=True)
class Rises:
    """It is being brought up: in `container`, or in one that is yet to be found or made."""

    container: Container | None = None


@dataclass(frozen=True, slots=True)
class Pulls:
    """Its image is on its way."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class PullEnds:
    """Its image is not on its way any more; nothing else has become of the engine since `before`."""

    before: HostState


@dataclass(frozen=True, slots=True)
class Answers:
    """It answers. `closed`: its own network has no way out; `isolated`: nor has it another one now."""

    container: Container
    processor: Processor
    closed: bool
    isolated: bool


@dataclass(frozen=True, slots=True)
class Rests:
    """It was stopped, or there is none."""

    container: Container | None


@dataclass(frozen=True, slots=True)
class Died:
    """It has ended by itself."""

    error: EngineCrashed


@dataclass(frozen=True, slots=True)
class Impossible:
    """What was asked cannot be done."""

    error: ContainerError


@dataclass(frozen=True, slots=True)
class GivenUp:
    """It is left alone because of `error`; `tail` is the end of its log."""

    error: ContainerError
    tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """No daemon answers."""

    error: DaemonUnreachable


@dataclass(frozen=True, slots=True)
class Heard:
    """Somebody has heard from the engine what is loaded."""

    loaded: tuple[Loaded, ...]


@dataclass(frozen=True, slots=True)
class WayMoved:
    """Its way out to the network was opened or shut."""

    isolated: bool


@dataclass(frozen=True, slots=True)
class Drifted:
    """These settings differ from those that its container was made with."""

    drift: tuple[str, ...]


Event = (
    Start | Stop | Remake | Rises | Pulls | PullEnds | Answers | Rests | Died | Impossible | GivenUp | Lost | Heard
    | WayMoved | Drifted | Happening
)  # fmt: skip
"""What comes in. A bare `Happening` (FOUND, HINT, DOUBT) changes nothing that is shown."""


class EngineLife:
    """The life of the engine in the container called `name`. `pauses_s`: see `Life`."""

    def __init__(self, name: str, pauses_s: tuple[float, ...]) -> None:
        self.life = Life(pauses_s)
        self.trust = Trust()
        self.state = HostState(HostPhase.ABSENT, container=name)
        self.container: Container | None = None
        """As last heard of."""
        self.closed = False
        """The container's own network has no way out."""

    def told(self, event: Event, now_s: float) -> tuple[LifeWish, ...]:
        """What is to be done about `event` at `now_s`, in seconds of a clock that never runs backwards."""
        match event:
            case Happening():
                if event is Happening.DOUBT:
                    self.trust.doubt()
                return self.life.told(event, now_s)
            case Start():
                self.trust.forget()
                self._rise(None)
                return self.life.told(Happening.START, now_s)
            case Stop():
                return self.life.told(Happening.STOP, now_s)
            case Remake(keep):
                return self.life.told(Happening.KEEP if keep else Happening.TRY, now_s)
            case Rests(container):
                self._rest(container)
                return self.life.told(Happening.RESTS, now_s)
            case Answers():
                self._answers(event)
                return self.life.told(Happening.ANSWERS, now_s)
            case Died(error):
                wishes = self.life.told(Happening.ENDED, now_s)
                if LifeWish.TRY_AGAIN in wishes:
                    problem, fix = problem_and_fix(error)
                    self._become(HostPhase.STARTING, problem=problem, fix=fix)
                return wishes
            case Impossible():
                # What is shown waits for the end of its log: a failure is said once.
                return self.life.told(Happening.REFUSED, now_s)
            case Lost(error):
                self._fail(HostPhase.ABSENT, error, ())
                return self.life.told(Happening.LOST, now_s)
            case Heard(loaded):
                return self._heard(loaded)
            case GivenUp(error, tail):
                self._fail(HostPhase.FAILED, error, tail)
            case Rises(container):
                self._rise(container)
            case Pulls(progress):
                self._pulls(progress)
            case PullEnds(before):
                pulling = self.state.phase is HostPhase.PULLING
                self.state = before if pulling else replace(self.state, progress=None)
            case WayMoved(isolated):
                self.state = replace(self.state, isolated=isolated)
            case Drifted(drift):
                self.state = replace(self.state, drift=drift)
        return ()

    def _rise(self, container: Container | None) -> None:
        self.container = container or self.container
        if self.state.phase is HostPhase.RUNNING and (container is None or container.running):
            return
        self._become(HostPhase.STARTING)

    def _pulls(self, progress: Progress) -> None:
        if self.state.phase is HostPhase.RUNNING:
            self.state = replace(self.state, progress=progress)
        else:
            self._become(HostPhase.PULLING, progress=progress)

    def _answers(self, up: Answers) -> None:
        self.container, self.closed = up.container, up.closed
        lost = up.processor is Processor.FALLBACK
        self._become(
            HostPhase.RUNNING,
            problem=PROBLEM if lost else None,
            fix=FIX if lost else None,
            processor=up.processor,
            isolated=up.isolated,
        )

    def _rest(self, container: Container | None) -> None:
        self.container = container
        if container is None:
            self.state = HostState(HostPhase.ABSENT, container=self.state.container)
        else:
            self._become(HostPhase.STOPPED)

    def _fail(self, phase: HostPhase, error: ContainerError, tail: tuple[str, ...]) -> None:
        problem, fix = problem_and_fix(error)
        self._become(phase, problem=problem, fix=fix, log_tail=tail)

    def _heard(self, loaded: tuple[Loaded, ...]) -> tuple[LifeWish, ...]:
        if self.state.phase is not HostPhase.RUNNING:
            return ()
        verdict, known = self.trust.by(loaded), self.state.processor
        if verdict is Processor.GPU and known in (Processor.UNKNOWN, Processor.FALLBACK):
            self.state = replace(self.state, processor=verdict, problem=None, fix=None)
        return (LifeWish.CHECK,) if verdict is Processor.FALLBACK is not known else ()

    def _become(self, phase: HostPhase, **changes: Any) -> None:
        labels = self.container.labels if self.container is not None else {}
        said: dict[str, Any] = {
            "container": self.state.container,
            "drift": self.state.drift,
            "image": labels.get(LABEL_REFERENCE, ""),
            "digest": labels.get(LABEL_DIGEST, ""),
            **changes,
        }
        self.state = HostState(phase, **said)
