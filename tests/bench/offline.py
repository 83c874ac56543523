"""A receiver that comes back after thirty days: how long until it has every record, each exactly once.

Run it alone: `python -m tests.bench.offline [--records 100000] [--days 30]`.

The receiver is a process of its own over SQLite, as it comes; the ledger and its delivery are this one. The days are
simulated: the delivery's wall clock is moved, records come each day, and each try of those days finds nobody.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from app.gateway.delivery import courier as courier_module
from app.gateway.delivery.courier import Courier, cannot_refill
from app.gateway.delivery.guard import Guard
from app.gateway.delivery.outgoing import Outgoing
from app.gateway.delivery.pushing import LedgerPush
from app.ledger.cosignature import CosignerKey
from app.ledger.delivery import DAY_S, DeliveryRow, DeliveryWay, Standing
from app.ledger.sqlite.store import Ledger
from app.receiver.enrolling import enrol
from app.receiver.sqlite.schema import RECEIVER_FILE
from app.receiver.sqlite.store import SqliteCopy
from tests.bench.ledger_append import make_drafts, open_ledger
from tests.bench.tools import BenchFailed, first_line, free_port, started

BURST = 1000
PATIENCE_S = 600.0


class Calendar:
    """The delivery's wall clock, some days ahead."""

    def __init__(self) -> None:
        self.ahead_us = 0

    def __call__(self) -> int:
        """µs since the epoch."""
        return time.time_ns() // 1000 + self.ahead_us

    def pass_days(self, courier: Courier, days: float) -> None:
        """Later, and the delivery looks at the clock."""
        self.ahead_us += round(days * DAY_S * 1e6)
        courier._wake.set()


def measure(records: int = 100_000, days: int = 30) -> dict[str, Any]:
    """`seconds` from the receiver's return to the last record's cosignature, the `pushes` it took, and whether every
    record is there, in its place and once (`exact`)."""
    port = free_port()
    before = courier_module.wall_us
    calendar = Calendar()
    courier_module.wall_us = calendar  # type: ignore[attr-defined]
    try:
        with tempfile.TemporaryDirectory(prefix="mortdecai-bench-") as name:
            return asyncio.run(_measure(Path(name), port, calendar, records, days))
    finally:
        courier_module.wall_us = before  # type: ignore[attr-defined]


async def _measure(folder: Path, port: int, calendar: Calendar, records: int, days: int) -> dict[str, Any]:
    home = {"MORTDECAI_HOME": str(folder / "client"), "MORTDECAI_RECEIVER_VAULT": "file"}
    command = [sys.executable, "-m", "app", "receiver", "--port", str(port), "--print-connection"]
    ledger, log = await open_ledger(folder / "ledger.db")
    outgoing = Outgoing(Guard(private=lambda: True, never=lambda: ()))
    try:
        with started(command, home) as process:
            said = json.loads(await asyncio.to_thread(first_line, process))
            copy = SqliteCopy(folder / "client" / "data" / "default" / "receiver" / RECEIVER_FILE)
            _, secret = enrol(copy, "garage", "", 0)
            copy.close()
            courier, pushes = _courier(ledger, log, outgoing, said["url"], said["vkey"], secret)
            courier.start()
            await _until(lambda: courier.standing.acked == ledger.totals(log).requests + 1)
        await _stay_away(ledger, log, courier, calendar, records, days)
        size = records + 1
        asked, failures = len(pushes), courier.standing.failures
        with started(command, home) as process:
            await asyncio.to_thread(first_line, process)
            began = time.perf_counter()
            calendar.pass_days(courier, 1.01)
            await _until(lambda: courier.standing.acked == size)
            seconds = time.perf_counter() - began
            exact = await _exact(ledger, log, said["url"], secret)
        return {
            "records": records, "days": days, "failures": failures, "seconds": seconds,
            "pushes": len(pushes) - asked, "exact": exact,
        }  # fmt: skip
    finally:
        await courier.stop()
        await outgoing.close()
        await ledger.close()


def _courier(
    ledger: Ledger, log: str, outgoing: Outgoing, url: str, vkey: str, secret: str
) -> tuple[Courier, list[int]]:
    """The delivery, and from where on each of its pushes was."""
    pushes: list[int] = []

    class Counted(LedgerPush):
        async def push(self, old: int, _: object = None) -> Any:
            pushes.append(old)
            return await super().push(old)

    async def told() -> str:
        return secret

    row = DeliveryRow(log, DeliveryWay.LEDGER, url, vkey, Standing())
    pusher = Counted(ledger, outgoing, log, url, CosignerKey.parse(vkey), told)
    courier = Courier(row, 1, ledger, pusher, cannot_refill, moved=lambda: None, changed=lambda: None)
    ledger.on_committed(lambda grown: courier.grew(grown[log]))
    return courier, pushes


async def _stay_away(
    ledger: Ledger, log: str, courier: Courier, calendar: Calendar, records: int, days: int
) -> None:
    """So many days on which records come and nobody takes them."""
    drafts = make_drafts(records)
    for day in range(days):
        part = drafts[records * day // days : records * (day + 1) // days]
        for at in range(0, len(part), BURST):
            await asyncio.gather(*(ledger.append(log, draft) for draft in part[at : at + BURST]))
        failures = courier.standing.failures
        calendar.pass_days(courier, 1.01)
        await _until(lambda failures=failures: courier.standing.failures > failures)


async def _exact(ledger: Ledger, log: str, url: str, secret: str) -> bool:
    headers = {"Authorization": f"Bearer {secret}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{url}/ledger/entries", params={"log": log}) as reply,
    ):
        held = (await reply.read()).splitlines()
    ours: list[bytes] = []
    while part := await ledger.entries(log, len(ours), 1024):
        ours += part
    return held == ours


async def _until(met: Callable[[], bool]) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not met():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise BenchFailed(f"The delivery did not come so far within {PATIENCE_S:g} s.") from None


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=30)
    options = parser.parse_args()
    print(json.dumps(measure(options.records, options.days), indent=1))


if __name__ == "__main__":
    main()
