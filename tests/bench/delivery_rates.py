"""What delivery costs a request: the gateway with a receiver that takes everything against the same without one.

Run it alone: `python -m tests.bench.delivery_rates [--rounds 9] [--seconds 4]`.

Three gateways and the bare pass-through are up all the time and are driven in turns, the gateways in an order that
changes from round to round; what is reported is the median of the ratios round by round. One delivers to nobody, one to
a receiver elsewhere, one to a real receiver on this machine, over SQLite as it comes. Elsewhere is another machine, so
what stands for it cosigns and keeps nothing; the real one's own work counts where cores are few.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from app.ledger.invitation import Invitation
from app.receiver.enrolling import enrol
from app.receiver.sqlite.schema import RECEIVER_FILE
from app.receiver.sqlite.store import SqliteCopy
from tests.bench.tools import BenchFailed, cpu_s, first_line, gateway, nginx, started, wrk

DRAIN_S = 60.0
KINDS = ("off", "elsewhere", "here")
"""To whom the gateways deliver."""


class Target:
    """Something to drive, and what came of it."""

    def __init__(self, pid: int, url: str, key: str) -> None:
        self.pid = pid
        self.url = url
        self.key = key
        self.rates: list[float] = []
        self.cpu_us: list[float] = []

    def drive(self, folder: Path, seconds: float) -> None:
        """One round of it."""
        before = cpu_s(self.pid)
        seen = wrk(self.url + "/api/chat", self.key, folder, connections=32, seconds=seconds)
        self.rates.append(seen["rps"])
        self.cpu_us.append((cpu_s(self.pid) - before) / seen["count"] * 1e6)


def measure(rounds: int = 9, seconds: float = 4.0) -> dict[str, Any]:
    """Requests a second with delivery `elsewhere` and `here` over those without; each over the bare pass-through as
    `*_bare`; CPU a request in µs. BenchFailed where a receiver did not get every record."""
    with tempfile.TemporaryDirectory(prefix="mortdecai-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        for part in ("nginx", *KINDS, "client"):
            (folder / part).mkdir()
        engine = stack.enter_context(nginx(folder / "nginx"))
        bare = stack.enter_context(started([sys.executable, "-m", "tests.bench.passthrough", engine]))
        receiver = stack.enter_context(
            started(
                [sys.executable, "-m", "app", "receiver", "--port", "0", "--print-connection"],
                {"MORTDECAI_HOME": str(folder / "client"), "MORTDECAI_RECEIVER_VAULT": "memory"},
            )
        )
        said = json.loads(first_line(receiver))
        far = stack.enter_context(started([sys.executable, "-m", "tests.bench.cosigning"]))
        there = json.loads(first_line(far))
        targets = {"bare": Target(bare.pid, first_line(bare), "none")}
        tokens = {}
        for kind in KINDS:
            process, connection = stack.enter_context(
                gateway(folder / kind, "--upstream", engine, "--set", "private_receivers=true")
            )
            targets[kind] = Target(process.pid, connection["url"], connection["api_key"])
            tokens[kind] = connection["operator_token"]
        _deliver(targets["here"], tokens["here"], _invitation(folder / "client", said))
        anybody = Invitation(there["url"], "mr_" + "a" * 43, there["vkey"])
        _deliver(targets["elsewhere"], tokens["elsewhere"], anybody)
        return _drive(targets, receiver.pid, folder, rounds, seconds)


def _invitation(home: Path, said: dict[str, str]) -> Invitation:
    copy = SqliteCopy(home / "data" / "default" / "receiver" / RECEIVER_FILE)
    try:
        return Invitation(said["url"], enrol(copy, "garage", "", 0)[1], said["vkey"])
    finally:
        copy.close()


def _asked(url: str, key: str, body: dict[str, str] | None = None) -> Any:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as reply:
        return json.loads(reply.read())


def _deliver(target: Target, token: str, invitation: Invitation) -> None:
    _asked(target.url + "/admin/receivers", token, {"client": "First client", "line": invitation.line})


def _drained(target: Target) -> bool:
    """Whether the receiver has everything, once it could."""
    until = time.monotonic() + DRAIN_S
    while time.monotonic() < until:
        (receipt,) = _asked(target.url + "/reconcile", target.key)["receipts"]
        if receipt["state"] == "acknowledged":
            return True
        time.sleep(0.2)
    return False


def _drive(
    targets: dict[str, Target], receiver_pid: int, folder: Path, rounds: int, seconds: float
) -> dict[str, Any]:
    for target in targets.values():
        target.drive(folder, 2)  # warm
        target.rates.clear()
        target.cpu_us.clear()
    receiver_s = cpu_s(receiver_pid)
    for number in range(rounds):
        turn = number % len(KINDS)
        for kind in ("bare", *KINDS[turn:], *KINDS[:turn]):
            targets[kind].drive(folder, seconds)
    receiver_s = cpu_s(receiver_pid) - receiver_s
    if not (_drained(targets["elsewhere"]) and _drained(targets["here"])):
        raise BenchFailed("A receiver did not get every record.")
    figures: dict[str, Any] = {}
    for kind in KINDS:
        rates = targets[kind].rates
        figures[f"{kind}_bare"] = _middle(rates, targets["bare"].rates)
        if kind != "off":
            figures[kind] = _middle(rates, targets["off"].rates)
            figures[f"{kind}_ratios"] = [
                round(one / other, 3) for one, other in zip(rates, targets["off"].rates, strict=True)
            ]
    for kind, target in targets.items():
        figures[f"{kind}_rps"] = statistics.median(target.rates)
        figures[f"{kind}_cpu_us"] = statistics.median(target.cpu_us)
    return figures | {"receiver_percent": 100 * receiver_s / (rounds * seconds)}


def _middle(rates: list[float], others: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(rates, others, strict=True))


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    print(json.dumps(measure(options.rounds, options.seconds), indent=1))


if __name__ == "__main__":
    main()
