"""How much the socket gives for each watt that the sensors count.

Rule 1: a GPU reports what it takes from the power supply (DC), the bill is for what the supply takes from the wall
(AC). Without a measurement the ratio is TYPICAL: the marginal efficiency of an 80 PLUS Gold supply. Rule 2: it is a
ratio of differences, between rest and work, so that a screen or a lamp at the same plug does not count. Rule 3: a
result that no power supply has (below 1 or above 1.35) is refused, with what was seen. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

TYPICAL = 1.09
LEAST, MOST = 1.0, 1.35
SPREAD_W = 40.0
"""Rest and work must be so far apart: a plug rounds, and other things in the machine come and go."""
PAIRS_NEEDED = 3


class SupplyUnclear(Exception):
    """The ratio could not be told; `str()` is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class SupplyFactor:
    """Watts at the wall for each watt counted, and where the figure comes from."""

    ratio: float
    source: str
    """`typical`, `setting`, or the kind of the plug that measured it."""
    at_us: int | None
    """Wall clock; None where it was not measured."""


TYPICAL_FACTOR = SupplyFactor(TYPICAL, "typical", None)


@dataclass(frozen=True, slots=True)
class SupplyPair:
    """The same moment inside and outside of the machine."""

    counted_w: float
    """What the sensors say: the GPU, and the processor where it is measured."""
    wall_w: float


def ratio(pairs: Sequence[SupplyPair], *, unmeasured_w: float = 0.0) -> float:
    """The factor from pairs at rest and at work. `unmeasured_w`: what the parts that no sensor tells of draw more at
    work than at rest. Raises SupplyUnclear."""
    if not pairs:
        raise SupplyUnclear("Nothing was measured.")
    low, high = min(pair.counted_w for pair in pairs), max(pair.counted_w for pair in pairs)
    rest = [pair for pair in pairs if pair.counted_w <= low + (high - low) / 4]
    work = [pair for pair in pairs if pair.counted_w >= high - (high - low) / 4]
    if high - low < SPREAD_W:
        raise SupplyUnclear(
            f"The GPU drew between {low:.0f} and {high:.0f} W only: let it work for a while meanwhile, so that there"
            f" are {SPREAD_W:.0f} W between rest and work."
        )
    if min(len(rest), len(work)) < PAIRS_NEEDED:
        raise SupplyUnclear("It was at rest or at work for too short a time: let it go on for longer.")
    counted_w = (
        median(pair.counted_w for pair in work) - median(pair.counted_w for pair in rest) + unmeasured_w
    )
    wall_w = median(pair.wall_w for pair in work) - median(pair.wall_w for pair in rest)
    found = wall_w / counted_w
    if not LEAST <= found <= MOST:
        raise SupplyUnclear(
            f"The plug saw {wall_w:.0f} W more where the sensors saw {counted_w:.0f} W more, and no power supply does"
            " that: is the machine at this plug, and nothing else that comes and goes?"
        )
    return found


def idle_wall_w(pairs: Sequence[SupplyPair]) -> float:
    """What the socket gives at rest: the median of the quieter quarter. `pairs` is not empty."""
    low, high = min(pair.counted_w for pair in pairs), max(pair.counted_w for pair in pairs)
    return median(pair.wall_w for pair in pairs if pair.counted_w <= low + (high - low) / 4)
