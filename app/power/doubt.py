"""How far a request's energy may be from the truth: the half-width of its 95 % interval.

What is in doubt, each on its own: when within 100 ms the card renewed its figures at the request's beginning and end;
what it drew after its last renewal; what was not measured at all; what idle is; and how true the card itself reads.
Pure; a formula for people, so floats will do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

GAIN_DOUBT = 0.08
"""A card itself reads so far off in most cases: SC'24 (arXiv 2312.02741) found -8 to +13 %, and the RTX 3090 of our
trace reads 5 % low. A wall plug tells it for one's own card."""

GUESS_DOUBT = 0.5
"""Watts of the settings may be off by half."""

IDLE_DOUBT = 0.02
_95 = 1.96
_UNIFORM = 1 / math.sqrt(12)
"""The standard deviation of what is somewhere in a stretch, in stretches."""


@dataclass(frozen=True, slots=True)
class Doubts:
    """What is known of a closed request's edges. Watts, microseconds, microjoules."""

    energy_uj: int
    guessed_uj: int
    """The part of it that nobody measured."""
    load_w: float
    """What the GPU drew in all while it ran."""
    idle_w: float
    spread_w: float
    """By how much that changed from one renewal to the next."""
    begin_us: int
    """In so much time the renewal came in which its work began to show."""
    end_us: int
    """In so much time the last renewal came, where the figure tells a sum and not a power of its own; otherwise 0."""
    tail_us: int
    """What it ran after that."""
    busy_us: int
    share: float
    """Its part of the time in which it ran, beside others."""


def half_width_uj(doubts: Doubts, gain_doubt: float = GAIN_DOUBT) -> int:
    """Half of the 95 % interval around `energy_uj`, in whole microjoules."""
    end = doubts.load_w * doubts.end_us * _UNIFORM
    rise_w = doubts.idle_w if doubts.end_us else max(0.0, doubts.load_w - doubts.idle_w)
    begin = rise_w * doubts.begin_us * _UNIFORM
    tail = doubts.spread_w * doubts.tail_us
    idle = IDLE_DOUBT * doubts.idle_w * doubts.busy_us
    measured_uj = abs(doubts.energy_uj - doubts.guessed_uj)
    return math.ceil(
        math.hypot(
            _95 * doubts.share * math.hypot(end, begin, tail, idle),
            gain_doubt * measured_uj,
            GUESS_DOUBT * doubts.guessed_uj,
        )
    )
