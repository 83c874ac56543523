"""Requests a second and added latency, side by side in one run: bare pass-through, `serve` on both loops, the tray.

All are up all the time and are driven in turns, so that whatever else the machine does hits all of them; what is
reported is the median of the ratios round by round.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.tools import cpu_s, first_line, gateway, nginx, started, wrk

KINDS = (
    ("headless", "serve", "--set", "uvloop=false"),
    ("uvloop", "serve"),
    ("tray", "tray"),
)


def measure(rounds: int = 5, seconds: float = 4.0) -> dict[str, Any]:
    """`headless`, `uvloop` and `tray`: requests a second over the bare pass-through's at 32 connections, where only
    `uvloop` runs on another loop than Python's own; `*_added_ms`: median
    latency over nginx's own at one connection; `*_cpu_us`: CPU time a request."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "nginx").mkdir()
        engine = stack.enter_context(nginx(folder / "nginx"))
        bare = stack.enter_context(started([sys.executable, "-m", "tests.bench.passthrough", engine]))
        targets: dict[str, tuple[int | None, str, str]] = {
            "nginx": (None, engine, "none"),
            "bare": (bare.pid, first_line(bare), "none"),
        }
        for kind, command, *more in KINDS:
            (folder / kind).mkdir()
            process, connection = stack.enter_context(
                gateway(folder / kind, "--upstream", engine, *more, command=command)
            )
            targets[kind] = (process.pid, connection["url"], connection["api_key"])
        return _drive(targets, folder, rounds, seconds)


def _drive(
    targets: dict[str, tuple[int | None, str, str]], folder: Path, rounds: int, seconds: float
) -> dict[str, Any]:
    rates: dict[str, list[float]] = {kind: [] for kind in targets}
    delays: dict[str, list[float]] = {kind: [] for kind in targets}
    cpu: dict[str, list[float]] = {kind: [] for kind in targets}
    for _, url, key in targets.values():
        wrk(url + "/api/chat", key, folder, connections=32, seconds=2)  # warm
    for _ in range(rounds):
        for kind, (pid, url, key) in targets.items():
            if kind == "nginx":
                continue
            before = cpu_s(pid) if pid is not None else 0.0
            seen = wrk(url + "/api/chat", key, folder, connections=32, seconds=seconds)
            rates[kind].append(seen["rps"])
            if pid is not None:
                cpu[kind].append((cpu_s(pid) - before) / seen["count"] * 1e6)
        for kind, (_, url, key) in targets.items():
            delays[kind].append(wrk(url + "/api/chat", key, folder, connections=1, seconds=1)["p50_ms"])
    figures: dict[str, Any] = {}
    for kind in targets:
        if kind == "nginx":
            continue
        figures[f"{kind}_rps"] = statistics.median(rates[kind])
        figures[f"{kind}_cpu_us"] = statistics.median(cpu[kind])
        pairs = zip(delays[kind], delays["nginx"], strict=True)
        figures[f"{kind}_added_ms"] = statistics.median(own - direct for own, direct in pairs)
        if kind != "bare":
            ratios = [own / plain for own, plain in zip(rates[kind], rates["bare"], strict=True)]
            figures[kind] = statistics.median(ratios)
            figures[f"{kind}_ratios"] = [round(ratio, 3) for ratio in ratios]
    return figures


if __name__ == "__main__":
    print(measure())
