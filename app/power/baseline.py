"""What the GPU draws when nobody asks anything of it: learned, per state.

Rule 1: the median over quiet windows, never the minimum, which would bill ordinary idle noise to clients.
Rule 2: a GPU with a model resident idles higher than an empty one (a 3090 at 127 W against 14 W), so each state
learns for itself, and until the empty one has learned, the configured watts hold. The GPU's own memory figure says
which state it is in. Rule 3: a figure that its owner has set wins over what was learned. Pure, and bounded in memory.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

from app.power.exact import plausible_w

SETTLE_US = 4_000_000
"""A GPU needs this long after work until its clocks and its reported average have come down."""
WINDOW_US = 3_000_000
"""One quiet window."""
WINDOWS_NEEDED = 3
WINDOWS_KEPT = 32
JUMP_US = 2_000_000
"""Samples further apart than this do not belong to one window."""
BUSY_PCT = 5.0
"""Above this utilisation somebody uses the GPU, even if it is not us."""
RESIDENT_B = 512 * 1024 * 1024
"""So much more memory in use than was ever seen free of it means that a model, or a CUDA context, is there."""

_SAMPLES_KEPT = 64


@dataclass(frozen=True, slots=True)
class KeptState:
    """What one state has learned: the medians of its newest quiet windows, oldest first."""

    windows_w: tuple[float, ...]
    at_us: int
    """Wall clock of the newest."""

    @property
    def watts(self) -> float:
        """What it comes to."""
        return median(self.windows_w)


@dataclass(frozen=True, slots=True)
class KeptIdle:
    """What is worth keeping of a baseline over a restart."""

    empty: KeptState | None
    resident: KeptState | None
    least_memory_b: int | None
    """The least of the GPU's memory that was ever in use: far above that a model is there, also after a start."""


class IdleBaseline:
    """Feed it every sample; ask it any time. Watts throughout. `own`: its owner has set the configured watts."""

    def __init__(self, configured_w: float, *, own: bool = False, kept: KeptIdle | None = None) -> None:
        self._configured_w = configured_w
        self._own = own
        self._windows: dict[bool, deque[float]] = {
            False: deque(maxlen=WINDOWS_KEPT),
            True: deque(maxlen=WINDOWS_KEPT),
        }
        self._samples: deque[float] = deque(maxlen=_SAMPLES_KEPT)
        self._least_memory_b: int | None = None
        self._empty_at_b: int | None = None
        """Memory that was in use when the empty GPU's watts were learned."""
        self._resident = False
        self._quiet_since_us: int | None = None
        self._window_since_us: int | None = None
        self._last_us: int | None = None
        self._learned_us: dict[bool, int | None] = {False: None, True: None}
        """Wall clock of each state's newest window, once `kept` was asked for it."""
        self._fresh: set[bool] = set()
        """States with windows that `kept` has not told yet."""
        if kept is not None:
            self._least_memory_b = kept.least_memory_b
            for resident, state in ((False, kept.empty), (True, kept.resident)):
                if state is not None:
                    self._windows[resident].extend(state.windows_w)
                    self._learned_us[resident] = state.at_us

    def configure(self, configured_w: float, *, own: bool = False) -> None:
        """Other watts to fall back on, or to go by where they are its owner's; what was learned stays."""
        self._configured_w = configured_w
        self._own = own

    def kept(self, wall_us: int) -> KeptIdle | None:
        """What was learned until now, at `wall_us`; None where nothing is new since the last call."""
        if not self._fresh:
            return None
        for resident in self._fresh:
            self._learned_us[resident] = wall_us
        self._fresh.clear()
        return self.learned_until(wall_us)

    def learned_until(self, wall_us: int) -> KeptIdle:
        """Everything that is known, for whoever asks; windows that were not kept yet are as of `wall_us`."""

        def state(resident: bool) -> KeptState | None:
            windows = tuple(self._windows[resident])
            if not windows:
                return None
            at_us = None if resident in self._fresh else self._learned_us[resident]
            return KeptState(windows, wall_us if at_us is None else at_us)

        return KeptIdle(state(False), state(True), self._least_memory_b)

    def sample(
        self,
        at_us: int,
        power_w: float | None,
        *,
        busy: bool,
        memory_used_b: int | None,
        utilisation_pct: float | None = None,
    ) -> None:
        """One sample of the GPU, taken at monotonic `at_us`; `busy` while any request is open."""
        watts = plausible_w(power_w)
        busy = busy or watts is None or (utilisation_pct is not None and utilisation_pct > BUSY_PCT)
        moved = self._look_at_memory(memory_used_b)
        jumped = self._last_us is None or not 0 <= at_us - self._last_us <= JUMP_US
        self._last_us = at_us
        if busy or jumped or moved or self._quiet_since_us is None:
            self._quiet_since_us = None if busy else at_us
            self._window_since_us = None
            self._samples.clear()
        if watts is None or self._quiet_since_us is None or at_us - self._quiet_since_us < SETTLE_US:
            return
        if self._window_since_us is None:
            self._window_since_us = at_us
        self._samples.append(watts)
        if at_us - self._window_since_us >= WINDOW_US:
            self._windows[self._resident].append(median(self._samples))
            self._fresh.add(self._resident)
            if not self._resident:
                self._empty_at_b = memory_used_b
            self._samples.clear()
            self._window_since_us = at_us

    def learned(self, *, resident: bool) -> bool:
        """True once that state has had enough quiet windows."""
        return len(self._windows[resident]) >= WINDOWS_NEEDED

    @property
    def idle_w(self) -> float:
        """What the empty GPU draws at rest: the owner's figure, else what was learned, else the configured watts."""
        if self._own or not self.learned(resident=False):
            return self._configured_w
        return median(self._windows[False])

    @property
    def source(self) -> str:
        """Where `idle_w` comes from: `own`, `learned` or `default`."""
        return "own" if self._own else "learned" if self.learned(resident=False) else "default"

    @property
    def resident_w(self) -> float:
        """What the model that is resident now adds to that; 0 where none is, or nothing is known of it yet."""
        if not self._resident or not self.learned(resident=True):
            return 0.0
        return max(0.0, median(self._windows[True]) - self.idle_w)

    def _look_at_memory(self, used_b: int | None) -> bool:
        """Find out the state; True where it is another one than before."""
        if used_b is None:
            return False
        if self._least_memory_b is None:
            self._least_memory_b = used_b
        elif used_b < self._least_memory_b:
            if self._empty_at_b is not None and self._empty_at_b - used_b >= RESIDENT_B:
                # A model was there from the start: what was taken for the empty GPU's watts were its own.
                self._windows[True].extend(self._windows[False])
                self._windows[False].clear()
                self._learned_us[True], self._learned_us[False] = self._learned_us[False], None
                self._fresh = {True}
                self._empty_at_b = None
            self._least_memory_b = used_b
        before = self._resident
        self._resident = used_b - self._least_memory_b >= RESIDENT_B
        return self._resident is not before
