"""A graphics card that does not exist: how many watts, how warm, how full.

Rule 1: no clock, no timers: the time is passed in, and between two calls everything follows from formulas.
Rule 2: what it reads depends on what the simulator does and when, never on chance.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum


class Phase(IntEnum):
    """What the card is busy with, the hungrier the larger."""

    IDLE = 0
    LOADING = 1
    EMBEDDING = 2
    DECODE = 3
    PREFILL = 4


@dataclass(frozen=True, slots=True)
class SimulatedGpuState:
    """One reading of the card."""

    power_w: float
    utilisation_pct: float
    memory_used_b: int
    memory_total_b: int
    temperature_c: float


_POWER_W = {
    Phase.IDLE: 15.0,
    Phase.LOADING: 58.0,
    Phase.EMBEDDING: 148.0,
    Phase.DECODE: 164.0,
    Phase.PREFILL: 168.0,
}
_UTILISATION_PCT = {
    Phase.IDLE: 0.0,
    Phase.LOADING: 18.0,
    Phase.EMBEDDING: 87.0,
    Phase.DECODE: 96.0,
    Phase.PREFILL: 99.0,
}
_RESIDENT_W = 8.0
"""What a loaded model costs while nobody uses it: memory clocks stay up."""
_DRIVER_B = 310 * 1024 * 1024
_POWER_LAG_S = 0.015
"""An external meter at 1 kHz sees an RTX 3090 come to its draw, and leave it, within 20 ms (Zeyu Yang's recordings).
What lags by 100 ms and more are a card's own readings."""
_THERMAL_LAG_S = 25.0


def _warmth_c(power_w: float) -> float:
    """Where the temperature settles at a constant power: 35 °C at rest, 77 °C under load."""
    return 31.0 + 0.27 * power_w


class SimulatedGpu:
    """A 12 GB card with a limit of 170 W. The sampler's thread may read it while the loop changes it."""

    name = "Simulated GPU (12 GB, 170 W)"
    limit_w = 170.0
    memory_total_b = 12 * 1024**3

    def __init__(self, clock_us: Callable[[], int]) -> None:
        self._clock_us = clock_us
        self._lock = threading.Lock()
        self._busy = [0] * len(Phase)
        self._models_b = 0
        self._at_us = clock_us()
        self._power_w = _POWER_W[Phase.IDLE]
        self._temperature_c = _warmth_c(self._power_w)

    def shift(self, leave: Phase, enter: Phase) -> None:
        """One piece of work changes from one phase to another; IDLE is where work begins and ends."""
        with self._lock:
            self._advance()
            self._busy[leave] -= 1
            self._busy[enter] += 1

    def set_memory(self, models_b: int) -> None:
        """How much of the memory models occupy."""
        with self._lock:
            self._advance()
            self._models_b = models_b

    @property
    def room_b(self) -> int:
        """Memory that models can take in all."""
        return self.memory_total_b - _DRIVER_B

    def free_b(self) -> int:
        """Memory that a model could still take."""
        return self.room_b - self._models_b

    def state(self) -> SimulatedGpuState:
        """The card now."""
        with self._lock:
            now_us = self._advance()
            phase = self._phase()
            power_w = self._power_w
            if phase:
                # A ripple of a few watts, as schedulers and boost clocks cause it; the limit clips it.
                t_s = now_us / 1e6
                power_w += 2.2 * math.sin(t_s * math.tau / 0.9) + 1.3 * math.sin(t_s * math.tau / 0.37)
            return SimulatedGpuState(
                power_w=min(power_w, self.limit_w),
                utilisation_pct=_UTILISATION_PCT[phase],
                memory_used_b=_DRIVER_B + self._models_b,
                memory_total_b=self.memory_total_b,
                temperature_c=self._temperature_c,
            )

    def _phase(self) -> Phase:
        for phase in (Phase.PREFILL, Phase.DECODE, Phase.EMBEDDING, Phase.LOADING):
            if self._busy[phase]:
                return phase
        return Phase.IDLE

    def _advance(self) -> int:
        """Bring power and temperature up to now: both approach where they are heading, exponentially."""
        now_us = self._clock_us()
        elapsed_s = (now_us - self._at_us) / 1e6
        if elapsed_s > 0:
            self._at_us = now_us
            phase = self._phase()
            heading_w = _POWER_W[phase]
            if phase == Phase.IDLE and self._models_b:
                heading_w += _RESIDENT_W
            self._power_w = heading_w + (self._power_w - heading_w) * math.exp(-elapsed_s / _POWER_LAG_S)
            settled_c = _warmth_c(heading_w)
            self._temperature_c = settled_c + (self._temperature_c - settled_c) * math.exp(
                -elapsed_s / _THERMAL_LAG_S
            )
        return now_us
