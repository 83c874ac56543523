"""What the ledger costs: CPU an append, latency, a page, an audit, bytes a record.

Run it alone: `python tests/bench/ledger_append.py [--rows 1000000] [--folder DIR]`. CPU is that of the whole process
(loop, writer, kernel) over appends that come in bursts, so a burst is a batch; drafts are made beforehand.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from app.ledger.checkpoint import Signer
from app.ledger.records import UsageDraft, uuid7
from app.ledger.sqlite.store import Ledger

MODELS = ("llama3.1:8b", "qwen2.5:3b", "mortdecai:0.5.0", "nomic-embed-text:latest")
OUTCOMES = ("complete",) * 18 + ("client_abort", "budget_cut")
SIGNER = Signer(bytes(range(32)), "gw_bench")


def clock_us() -> int:
    return time.time_ns() // 1000


def make_drafts(count: int, seed: int = 1) -> list[UsageDraft]:
    """Drafts as a gateway makes them, some seconds apart."""
    dice = random.Random(seed)
    now_us = clock_us() - count * 1_000_000
    drafts = []
    for _ in range(count):
        now_us += dice.randrange(2_000_000)
        dur_us = dice.randrange(200_000, 9_000_000)
        drafts.append(
            UsageDraft(
                id=uuid7(now_us, dice.getrandbits(62)),
                t0=now_us,
                t1=now_us + dur_us,
                dur_us=dur_us,
                req=None,
                key=f"k_{dice.randrange(20):012x}",
                model=dice.choice(MODELS),
                model_digest=None,
                endpoint=dice.choice(("/api/chat", "/v1/chat/completions")),
                tok_in=dice.randrange(4000),
                tok_out=dice.randrange(1000),
                tok_src="engine",
                outcome=dice.choice(OUTCOMES),
                e_uj=dur_us * 59,
                e_src="nvml",
                tariff="t_0123456789abcdef",
                cost=dur_us * 59 // 24,
            )
        )
    return drafts


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


async def open_ledger(path: Path) -> tuple[Ledger, str]:
    ledger = await Ledger.open(path, signer=SIGNER, gateway_id="gw_bench", clock_us=clock_us)
    clients = ledger.clients() or (await ledger.create_client("bench"),)
    return ledger, clients[0].log


async def measure_appends(folder: Path, burst: int, count: int) -> dict[str, float]:
    """µs of CPU an append, and the latency of a burst, with `burst` appends at a time."""
    ledger, log = await open_ledger(folder / f"append{burst}.db")
    drafts = make_drafts(count + 64 * burst)
    for at in range(0, 64 * burst, burst):  # warm up
        await asyncio.gather(*[ledger.append(log, draft) for draft in drafts[at : at + burst]])
    gc.collect()
    gc.freeze()  # the drafts that wait their turn are the benchmark's burden, not the ledger's
    latencies, sizes = [], set()
    cpu, wall = time.process_time(), time.perf_counter()
    for at in range(64 * burst, len(drafts), burst):
        began = time.perf_counter()
        futures = [ledger.append(log, draft) for draft in drafts[at : at + burst]]
        for future in futures:
            sizes.add((await future).size)
        latencies.append((time.perf_counter() - began) * 1e3)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    gc.unfreeze()
    await ledger.close()
    return {
        "cpu_us": round(cpu / count * 1e6, 1),
        "wall_us": round(wall / count * 1e6, 1),
        "batch": round(count / len(sizes), 2),
        "p50_ms": round(statistics.median(latencies), 3),
        "p99_ms": round(percentile(latencies, 0.99), 3),
    }


def measure_disk(folder: Path, count: int = 2_000) -> dict[str, float]:
    """What the disk alone takes for as much as an append writes, made durable: no append can be quicker."""
    page, times = os.urandom(5 * 4096), []
    handle = os.open(folder / "disk", os.O_CREAT | os.O_WRONLY)
    try:
        for at in range(count):
            began = time.perf_counter()
            os.pwrite(handle, page, at % 200 * len(page))
            os.fsync(handle)
            times.append((time.perf_counter() - began) * 1e3)
    finally:
        os.close(handle)
    return {
        "sync_p50_ms": round(statistics.median(times), 3),
        "sync_p99_ms": round(percentile(times, 0.99), 3),
    }


async def measure_reads(folder: Path, rows: int) -> dict[str, float]:
    """Pages and an audit over `rows` records."""
    path = folder / "reads.db"
    ledger, log = await open_ledger(path)
    began = time.perf_counter()
    for seed in range(0, rows, 20_000):
        drafts = make_drafts(min(20_000, rows - seed), seed + 7)
        await asyncio.gather(*[ledger.append(log, draft) for draft in drafts])
    filled = time.perf_counter() - began
    dice = random.Random(5)
    found: dict[str, float] = {"fill_records_per_s": round(rows / filled)}
    now_us = clock_us()
    searches = {
        "page": {},
        "page_of_log": {"log": log},
        "search": {"search": "qwen"},
        "search_rare": {"search": "xyz"},
    }
    searches["period"] = {"since_us": now_us - 3_600_000_000, "until_us": now_us - 1_800_000_000}
    for name, query in searches.items():
        times = []
        for _ in range(200):
            began = time.perf_counter()
            await ledger.page(dice.randrange(2, rows), 50, **query)
            times.append((time.perf_counter() - began) * 1e3)
        found[f"{name}_p50_ms"] = round(statistics.median(times), 2)
        found[f"{name}_p95_ms"] = round(percentile(times, 0.95), 2)
    times = []
    for _ in range(100):
        began = time.perf_counter()
        await ledger.inclusion(log, dice.randrange(rows))
        times.append((time.perf_counter() - began) * 1e3)
    found["inclusion_p95_ms"] = round(percentile(times, 0.95), 2)
    cpu = time.process_time()
    report = await ledger.verify()
    found["verify_cpu_s"] = round(time.process_time() - cpu, 2)
    found["verify_s"] = round(report.seconds, 2)
    found["records"] = report.records
    found["verify_records_per_s"] = round(report.records / report.seconds)
    assert report.verdict == "OK", report.sentence
    await ledger.close()
    found["bytes_per_record"] = round(path.stat().st_size / rows)
    began = time.perf_counter()
    ledger, log = await open_ledger(path)
    found["open_ms"] = round((time.perf_counter() - began) * 1e3, 1)
    await ledger.close()
    return found


def measure(
    rows: int = 1_000_000, appends: int = 8_000, folder: Path | None = None
) -> dict[str, dict[str, float]]:
    """All figures, by name; `rows` is the size of the ledger that pages and the audit read."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        figures = {
            f"append_batch_{burst}": asyncio.run(
                measure_appends(Path(place), burst, max(appends, 100 * burst))
            )
            for burst in (1, 8, 32)
        }
        figures["disk_alone"] = measure_disk(Path(place))
        if rows:
            figures["reads"] = asyncio.run(measure_reads(Path(place), rows))
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--appends", type=int, default=8_000)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where the databases are made (a real disk)"
    )
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.rows, arguments.appends, arguments.folder), indent=2))
