"""What other programs draw on the GPU while requests run beside them.

Rule 1: what is drawn above idle while nothing of ours runs, and somebody uses the GPU, is theirs; while ours run,
theirs goes on as it was, by the share of the GPU's time that they take now. Where they only began while ours ran, both
split by their shares. Rule 2: where nobody is seen using the GPU, nobody is charged for it.
Pure; watts and percent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from statistics import median
from typing import Protocol

BUSY_PCT = 5.0
"""Below this share of its time, nobody uses a GPU."""
SETTLE_US = 3_000_000
"""So long after our own work its clocks still keep a GPU above idle."""
LEVEL_US = 3_000_000
"""What others draw is the median over this time."""
LEVEL_MOST = 64
GROWTH_MOST = 2.0
"""Others that take a larger share than when their draw was learned are not believed to draw more than so many times."""


class GpuUser(Protocol):
    """A program that uses the GPU."""

    @property
    def pid(self) -> int:
        """Its process number."""

    @property
    def busy_pct(self) -> float | None:
        """Of the GPU's time; None where no sensor tells."""

    @property
    def graphics(self) -> bool:
        """Whether it draws; an engine never does."""


def others_pct(
    users: Iterable[GpuUser] | None, is_engine: Callable[[int], bool]
) -> tuple[float, float] | None:
    """The shares of the GPU's time that others take and that the engine takes; None where nobody tells."""
    if users is None:
        return None
    others = engine = 0.0
    for user in users:
        if user.busy_pct is None:
            return None
        if user.graphics or not is_engine(user.pid):
            others += user.busy_pct
        else:
            engine += user.busy_pct
    return others, engine


class ForeignUse:
    """Feed it every sample; ask it at any time."""

    def __init__(self) -> None:
        self.foreign_w = 0.0
        """What others draw now, above idle."""
        self._levels: deque[tuple[int, float, float | None]] = deque(maxlen=LEVEL_MOST)
        self._ours_us: int | None = None

    def sample(
        self,
        at_us: int,
        above_w: float | None,
        *,
        ours: bool,
        utilisation_pct: float | None,
        shares: tuple[float, float] | None,
    ) -> None:
        """A sample at monotonic `at_us`: `above_w` is what the GPU draws above idle and a resident model, `ours`
        whether any request runs, `shares` what `others_pct` said."""
        if above_w is None:
            return
        above_w = max(0.0, above_w)
        if ours:
            self._ours_us = at_us
            self.foreign_w = min(above_w, self._beside_ours(above_w, shares))
            return
        if self._ours_us is not None and 0 <= at_us - self._ours_us < SETTLE_US:
            self.foreign_w = min(above_w, self.foreign_w)
            return
        theirs = shares[0] if shares is not None else utilisation_pct
        if theirs is None or theirs < BUSY_PCT:
            self._levels.clear()
            self.foreign_w = 0.0
            return
        self._levels.append((at_us, above_w, shares[0] if shares is not None else None))
        while self._levels[0][0] < at_us - LEVEL_US:
            self._levels.popleft()
        self.foreign_w = above_w

    def _beside_ours(self, above_w: float, shares: tuple[float, float] | None) -> float:
        if shares is not None and shares[1] < BUSY_PCT:
            # No engine is among the programs: one of the «others» is the engine, by a name unknown to us.
            shares = None
        if shares is not None and shares[0] < BUSY_PCT:
            return 0.0
        if self._levels:
            level_w = median(watts for _, watts, _ in self._levels)
            learned = [pct for _, _, pct in self._levels if pct is not None]
            if shares is None or not learned:
                return level_w
            return level_w * min(GROWTH_MOST, shares[0] / median(learned))
        return 0.0 if shares is None else above_w * shares[0] / (shares[0] + shares[1])
