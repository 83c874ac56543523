"""The two clocks of the house. Pure rooms never import this; they are handed times.

Wall time says when something happened (records, faces); it may jump. Monotonic time says how long something
took (energy, durations); it never runs backwards.
"""

from __future__ import annotations

import time


def wall_us() -> int:
    """Microseconds since the Unix epoch; 0 where the clock stands before it, as with an empty battery.

    Ids, records and checkpoints have no room for a sign.
    """
    return max(0, time.time_ns() // 1000)


def mono_us() -> int:
    """Microseconds of a clock that never runs backwards and has no meaning but its differences."""
    return time.monotonic_ns() // 1000
