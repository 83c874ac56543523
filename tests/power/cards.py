"""A card of which everything is known: how it renews its figures, and what it truly draws.

Power is constant between steps. Times are microseconds, power in watts, energy in microjoules.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass
class Waveform:
    """What the card truly draws: `steps` says from when on how much; before the first, the first."""

    steps: list[tuple[int, float]]
    _sums: list[float] = field(init=False)
    _times: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.steps.sort()
        self._times = [at_us for at_us, _ in self.steps]
        self._sums = [0.0]
        for (begin, power_w), (end, _) in pairwise(self.steps):
            self._sums.append(self._sums[-1] + power_w * (end - begin))

    def until(self, at_us: float) -> float:
        """Microjoules since the first step (negative before it)."""
        index = max(0, bisect_right(self._times, at_us) - 1)
        return self._sums[index] + self.steps[index][1] * (at_us - self._times[index])

    def between(self, begin_us: float, end_us: float) -> float:
        """Microjoules."""
        return self.until(end_us) - self.until(begin_us)


@dataclass(frozen=True)
class SimulatedNvml:
    """A card's figures: renewed every `period_us` from `phase_us` on, `latency_us` late; of each period the instant
    power sees the last `look_us`."""

    wave: Waveform
    phase_us: int = 0
    period_us: int = 100_000
    latency_us: int = 0
    look_us: int = 100_000
    window_us: int = 1_000_000
    gain: float = 1.0

    def _renewed_us(self, at_us: int) -> int:
        return at_us - (at_us - self.phase_us) % self.period_us - self.latency_us

    def instant_w(self, at_us: int) -> float:
        end = self._renewed_us(at_us)
        return round(self.gain * self.wave.between(end - self.look_us, end) / self.look_us, 3)

    def average_w(self, at_us: int) -> float:
        end = self._renewed_us(at_us)
        return round(self.gain * self.wave.between(end - self.window_us, end) / self.window_us, 3)

    def counter_uj(self, at_us: int) -> int:
        return int(self.gain * self.wave.between(0, self._renewed_us(at_us)) / 1000) * 1000


def quantile(values: Iterable[float], share: float) -> float:
    """The least value that so many of them do not pass."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
