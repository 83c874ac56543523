"""A receiver under a fleet: how long a record waits for its cosignature, with many gateways that send steadily.

Run it alone: `python -m tests.bench.receiver_fleet [--gateways 500] [--rate 2] [--seconds 20] [--store sqlite]`.

The receiver and PostgreSQL (with fsync, as it comes) are processes of their own; the fleet is this one. Every gateway
makes records at its own steady times and has one push under way; what comes meanwhile goes with the next one, as a
gateway's delivery does it. The wait is from a record's appointed time to its cosignature, so being late counts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil

from app.ledger.checkpoint import Signer
from app.ledger.drafts import Draft, GenesisDraft, UsageDraft
from app.ledger.ids import new_id
from app.ledger.merkle import Frontier, leaf_hash
from app.ledger.records import encode
from app.receiver.enrolling import enrol
from app.receiver.postgres.store import PostgresCopy
from app.receiver.sqlite.schema import RECEIVER_FILE
from app.receiver.sqlite.store import SqliteCopy
from app.receiver.store import CopyStore
from app.receiver.submission import write_submission
from tests.bench.tools import BenchFailed, started
from tests.real.postgres_server import PostgresServer


def now_us() -> int:
    return time.time_ns() // 1000


@dataclass
class Sender:
    """One gateway with its log."""

    number: int
    secret: str
    size: int = 0
    cum: int = 0
    frontier: Frontier = field(default_factory=Frontier)
    waits_s: list[float] = field(default_factory=list)
    pushes: int = 0

    def __post_init__(self) -> None:
        self.signer = Signer(self.number.to_bytes(32, "big"), f"gw_{self.number}")
        self.log = f"gw_{self.number}/c_1"

    def append(self, draft: Draft) -> bytes:
        self.cum += draft.cost
        body = encode(draft, self.log, self.size, self.cum)
        self.frontier.append(leaf_hash(body))
        self.size += 1
        return body

    def usage(self) -> bytes:
        at_us = now_us()
        return self.append(
            UsageDraft(
                new_id(at_us),
                at_us - 900_000,
                at_us,
                900_000,
                None,
                "k_laptop",
                "llama3.1:8b",
                None,
                "/api/chat",
                26,
                298,
                "engine",
                "complete",
                201_780_000,
                "nvml",
                "t_1",
                8_407_500,
            )
        )

    def push(self, old: int, bodies: list[bytes]) -> bytes:
        note = self.signer.sign_checkpoint(self.log, self.size, self.frontier.root())
        body = write_submission(old, tuple(bodies), note)
        head = f"POST /ledger HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.secret}\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
    return int(lines[0].split(" ")[1]), await reader.readexactly(length)


async def _send(sender: Sender, port: int, begin: float, end: float, every_s: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    loop = asyncio.get_running_loop()

    async def push(old: int, bodies: list[bytes]) -> None:
        writer.write(sender.push(old, bodies))
        status, answer = await _answer(reader)
        if status != 200:
            raise BenchFailed(f"The receiver answered {status}: {answer[:200]!r}.")
        sender.pushes += 1

    genesis = GenesisDraft(new_id(now_us()), now_us(), sender.signer.name, "fleet", sender.signer.vkey)
    await push(0, [sender.append(genesis)])
    due = begin + every_s * (sender.number % 997) / 997
    while due < end:
        await asyncio.sleep(max(0.0, due - loop.time()))
        old, bodies, times = sender.size, [], []
        while due <= loop.time():
            times.append(due)
            bodies.append(sender.usage())
            due += every_s
        if bodies:
            await push(old, bodies)
            sender.waits_s += [loop.time() - at for at in times]
    writer.close()


@contextlib.contextmanager
def _database(store: str) -> Iterator[str]:
    if store == "sqlite":
        yield ""
        return
    server = PostgresServer()
    try:
        server.start()
        yield server.database()
    finally:
        server.close()


def _enrolled(store: CopyStore, gateways: int) -> list[Sender]:
    try:
        return [Sender(number, enrol(store, f"g{number}", "", 0)[1]) for number in range(gateways)]
    finally:
        store.close()


def measure(gateways: int, rate: float, seconds: float, store: str = "postgres") -> dict[str, Any]:
    """Run it; waits in ms, CPU in percent of one core."""
    with _database(store) as url, tempfile.TemporaryDirectory(prefix="mortdecai-bench-") as home:
        settings = {
            "MORTDECAI_HOME": home,
            "MORTDECAI_RECEIVER_VAULT": "memory",
            **({"MORTDECAI_RECEIVER_DATABASE": url} if url else {}),
        }
        command = [sys.executable, "-m", "app", "receiver", "--port", "0", "--print-connection"]
        with started(command, settings) as process:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            if url:
                copy: CopyStore = PostgresCopy(url, lambda: now_us() // 1_000_000)
            else:
                copy = SqliteCopy(f"{home}/data/default/receiver/{RECEIVER_FILE}")  # type: ignore[arg-type]
            senders = _enrolled(copy, gateways)
            cpu, wall = _cpu_s(process.pid), time.perf_counter()
            gc.collect()
            gc.freeze()
            asyncio.run(_fleet(senders, int(said["url"].rpartition(":")[2]), rate, seconds))
            cpu_percent = 100 * (_cpu_s(process.pid) - cpu) / (time.perf_counter() - wall)
            rss_mb = psutil.Process(process.pid).memory_info().rss / 1e6
    waits_ms = sorted(1000 * wait for sender in senders for wait in sender.waits_s)
    return {
        "store": store,
        "gateways": gateways,
        "records": len(waits_ms),
        "records_a_second": len(waits_ms) / seconds,
        "pushes_a_second": sum(sender.pushes - 1 for sender in senders) / seconds,
        "p50_ms": statistics.median(waits_ms),
        "p99_ms": waits_ms[int(len(waits_ms) * 0.99)],
        "max_ms": waits_ms[-1],
        "receiver_cpu_percent": cpu_percent,
        "receiver_rss_mb": rss_mb,
    }


async def _fleet(senders: list[Sender], port: int, rate: float, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time() + 3.0  # by then all have connected and begun their logs
    every_s = 1 / rate
    async with asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(_send(sender, port, begin, begin + seconds, every_s))


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gateways", type=int, default=500)
    parser.add_argument("--rate", type=float, default=2.0, help="records a second of each gateway")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="postgres")
    options = parser.parse_args()
    print(json.dumps(measure(options.gateways, options.rate, options.seconds, options.store), indent=1))


if __name__ == "__main__":
    main()
