"""The RTX 3090's recording as the lines of the CSV files that `power replay` reads."""

from __future__ import annotations

import json
from pathlib import Path

TRACE = json.loads((Path(__file__).parent / "data" / "rtx3090_step.json").read_text(encoding="utf-8"))
BEGAN_S, ENDED_S = float(TRACE["load_began_s"]), float(TRACE["load_ended_s"])


def readings_csv(every_s: float = 0.007, phase_s: float = 0.0) -> list[str]:
    """What the card said, read so often; the recording holds each change with the time it was first seen."""
    reported = TRACE["reported"]
    lines, at_s, index = ["t_s,instant_w,average_w"], reported[0][0] + phase_s, 0
    while at_s <= reported[-1][0]:
        while index + 1 < len(reported) and reported[index + 1][0] <= at_s:
            index += 1
        lines.append(f"{at_s:.6f},{reported[index][1]},{reported[index][2]}")
        at_s += every_s
    return lines


def truth_csv() -> list[str]:
    """What the external meter saw, by 10 ms."""
    step_s = TRACE["truth_step_s"]
    return [
        "t_s,power_w",
        *(f"{number * step_s:.3f},{power}" for number, power in enumerate(TRACE["truth_w"])),
    ]


def requests_csv(*seconds: float) -> list[str]:
    """Requests that begin with the load."""
    return ["start_s,end_s", *(f"{BEGAN_S},{BEGAN_S + length}" for length in seconds)]
