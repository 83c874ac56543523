"""How many requests a second the same aiohttp pass-through proxy answers on Qt's loop and on plain asyncio.

    python -m tests.bench.loop_ratio [ROUNDS]

Only the ratio means something. Both proxies are up all the time and `wrk` drives them in turns, so that whatever else
the machine does hits both; single pairs still scatter widely, so it takes some fifteen rounds to tell 0.95 from 1.
Beside the requests per second stands the proxy's own CPU time a request, which other programs disturb less.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.tools import cpu_s, first_line, nginx, started, wrk

CONNECTIONS = 32


def measure(rounds: int = 15, seconds: float = 2.0) -> dict[str, Any]:
    """Drive both proxies `rounds` times for `seconds` each.

    Medians: `ratio` (requests per second, Qt over plain, pair by pair), `ratio_cpu` (plain's CPU time a request over
    Qt's), and for each loop `*_rps` and `*_cpu_us`; `ratios` are those of the single pairs.
    """
    seen: dict[str, list[tuple[float, float]]] = {"plain": [], "qt": []}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        upstream = stack.enter_context(nginx(folder))
        proxies: dict[str, tuple[int, str]] = {}
        for kind in seen:
            command = [sys.executable, "-m", "tests.bench.passthrough", upstream, kind]
            process = stack.enter_context(started(command, {"QT_QPA_PLATFORM": "offscreen"}))
            proxies[kind] = (process.pid, first_line(process) + "/api/chat")
        for _, url in proxies.values():
            wrk(url, "none", folder, connections=CONNECTIONS, seconds=1)  # warm
        for _ in range(rounds):
            for kind, (pid, url) in proxies.items():
                before_s = cpu_s(pid)
                done = wrk(url, "none", folder, connections=CONNECTIONS, seconds=seconds)
                seen[kind].append((done["rps"], (cpu_s(pid) - before_s) / done["count"] * 1e6))
    pairs = list(zip(seen["plain"], seen["qt"], strict=True))
    figures: dict[str, Any] = {
        "ratio": statistics.median(qt[0] / plain[0] for plain, qt in pairs),
        "ratio_cpu": statistics.median(plain[1] / qt[1] for plain, qt in pairs),
        "ratios": [round(qt[0] / plain[0], 3) for plain, qt in pairs],
    }
    for kind, rows in seen.items():
        figures[f"{kind}_rps"] = statistics.median(row[0] for row in rows)
        figures[f"{kind}_cpu_us"] = statistics.median(row[1] for row in rows)
    return figures


if __name__ == "__main__":
    print(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
