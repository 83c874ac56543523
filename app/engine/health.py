"""What is known of the engine without asking it for every request.

Rule 1: nobody looks, nobody asks. While somebody calls `wake()` the engine is asked every 30 s; when the calls cease
so does the asking, and an idle gateway leaves the engine, and the CPU, alone.
Rule 2: that the engine is gone is believed at once, that it is back only from the engine itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.engine.base import Engine, EngineError, EngineUnreachable, Loaded, Model

_PERIOD_S = 30.0
_RETRIES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)
"""After a failure the engine is asked again although nobody looks: a restart is over in half a minute, or is none."""
_LOST_PERIOD_S = 2.0
"""How often it is asked after that while somebody looks."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """The engine as last heard of. `reachable` is False, with a `problem`, until it has answered once."""

    reachable: bool
    problem: str | None
    """One sentence saying why it is not reachable; None where it is."""
    version: str | None
    models: tuple[Model, ...]
    loaded: tuple[Loaded, ...]
    """What was loaded when last asked; empty where the engine is not reachable."""


_UNKNOWN = EngineState(
    reachable=False, problem="The engine has not been asked yet.", version=None, models=(), loaded=()
)

Later = Callable[[float, Callable[[], None]], asyncio.TimerHandle]


class EngineWatch:
    """Keeps an `EngineState` of one engine.

    `on_change` is called with the new state whenever it differs from the old one. `later` is the loop's `call_later`
    (tests pass their own).
    """

    def __init__(
        self,
        engine: Engine,
        on_change: Callable[[EngineState], None] | None = None,
        *,
        period_s: float = _PERIOD_S,
        later: Later | None = None,
    ) -> None:
        self._engine = engine
        self._on_change = on_change
        self._period_s = period_s
        self._later = later
        self._state = _UNKNOWN
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[EngineState] | None = None
        self._awake = False
        """Somebody has called `wake` since the engine was last asked."""
        self._failures = 0
        self._closed = False

    @property
    def engine(self) -> Engine:
        """Whose state this is."""
        return self._engine

    @property
    def state(self) -> EngineState:
        """What is known now."""
        return self._state

    @property
    def asking(self) -> bool:
        """Whether the engine is being asked right now."""
        return self._asking is not None

    def wake(self) -> None:
        """Somebody needs to know: a request came, or a face shows the engine. Cheap enough for every request."""
        self._awake = True
        if self._timer is None and self._asking is None and not self._closed:
            self._ask()

    def failed(self, error: EngineError) -> None:
        """A request has just failed with `error`: ask the engine now."""
        if self._closed:
            return
        if isinstance(error, EngineUnreachable):
            self._become(replace(self._state, reachable=False, problem=str(error), loaded=()))
        if self._asking is None:
            self._ask()

    async def refresh(self) -> EngineState:
        """Ask now and wait for what comes of it; several callers share one asking. Never raises EngineError."""
        if self._closed:
            return self._state
        if self._asking is None:
            self._ask()
        asking = self._asking
        assert asking is not None
        try:
            # Shielded: one caller's cancellation must not take the answer away from the others.
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            if self._closed and asking.cancelled():
                return self._state
            raise

    async def close(self) -> None:
        """Ask no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        asking = self._asking
        if asking is not None:
            asking.cancel()
            await asyncio.wait([asking])

    def _ask(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._awake = False
        self._asking = asyncio.get_running_loop().create_task(self._look(), name="engine-watch")
        self._asking.add_done_callback(self._asked)

    async def _look(self) -> EngineState:
        try:
            version = await self._engine.version()
            models = await self._engine.models()
            loaded = await self._engine.loaded()
        except EngineError as error:
            return replace(self._state, reachable=False, problem=str(error), loaded=())
        return EngineState(reachable=True, problem=None, version=version, models=models, loaded=loaded)

    def _asked(self, task: asyncio.Task[EngineState]) -> None:
        self._asking = None
        if self._closed or task.cancelled():
            return
        state = task.result()
        self._failures = 0 if state.reachable else self._failures + 1
        delay_s = self._period_s
        if self._failures:
            delay_s = _RETRIES_S[self._failures - 1] if self._failures <= len(_RETRIES_S) else _LOST_PERIOD_S
        self._timer = (self._later or asyncio.get_running_loop().call_later)(delay_s, self._due)
        self._become(state)

    def _due(self) -> None:
        self._timer = None
        if self._awake or 0 < self._failures <= len(_RETRIES_S):
            self._ask()

    def _become(self, state: EngineState) -> None:
        if state != self._state:
            self._state = state
            if self._on_change is not None:
                self._on_change(state)
