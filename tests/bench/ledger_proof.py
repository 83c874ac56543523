"""What a proof costs in a log of ten million records: at its newest size, and at any past one.

Run it alone: `python -m tests.bench.ledger_proof [--leaves 10000000] [--folder DIR]`. The file has every row of such
a log, its indices and its tiles. Its bodies are short (that saves 5 GB), but for those that lie where proofs read,
which have a record's usual length, so that each proof reads as many pages as it would.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from app.ledger.checkpoint import Signer, VerifierKey, verify_checkpoint
from app.ledger.merkle import Frontier, leaf_hash, verify_inclusion
from app.ledger.sqlite.reader import Reader
from app.ledger.sqlite.schema import open_writer

SIGNER = Signer(bytes(range(32)), "gw_bench")
LOG = "gw_bench/c_1"
TILE = 256
PROOFS = 300


def fill(path: Path, leaves: int, read: set[int]) -> None:
    """A log of so many records; those of the tiles `read` have bodies of a record's length."""
    connection = open_writer(path)
    for pragma in (
        "journal_mode = OFF",
        "synchronous = OFF",
        "locking_mode = EXCLUSIVE",
        "cache_size = -200000",
    ):
        connection.execute("PRAGMA " + pragma)
    connection.execute("BEGIN")
    frontier, tiles = Frontier(), []

    def rows() -> Iterator[tuple[Any, ...]]:
        for seq in range(leaves):
            short = seq.to_bytes(8, "big")
            body = short * 60 if seq // TILE in read else short
            leaf = sha256(b"\x00" + body).digest()
            tiles.extend(frontier.append(leaf))
            yield seq + 1, 1, seq, seq, short * 2, "", leaf, body

    connection.executemany(
        "INSERT INTO record (n, log, seq, t0, id, find, leaf, body) VALUES (?,?,?,?,?,?,?,?)", rows()
    )
    connection.executemany("INSERT INTO tile (log, level, i, hash) VALUES (1, ?, ?, ?)", tiles)
    note = SIGNER.sign_checkpoint(LOG, leaves, frontier.root())
    connection.execute(
        "INSERT INTO log (name, size, cum, requests, tok_in, tok_out, dur_us, e_uj, terms, checkpoint, frontier, k)"
        " VALUES (?, ?, 0, 0, 0, 0, 0, 0, '', ?, ?, 1)",
        (LOG, leaves, note, frontier.to_bytes()),
    )
    connection.execute("COMMIT")
    connection.close()


def timed(path: Path, asked: list[tuple[int, int | None]]) -> tuple[list[float], float]:
    """ms of each proof and the median of CPU time. Each is then checked; the reader is new, so its cache is empty."""
    reader, times, cpu = Reader(path, SIGNER), [], []
    verifier = VerifierKey.parse(SIGNER.vkey)
    reader.checkpoint(LOG)
    for seq, size in asked:
        began, busy = time.perf_counter(), time.thread_time()
        found = reader.inclusion(LOG, seq, size)
        times.append((time.perf_counter() - began) * 1e3)
        cpu.append((time.thread_time() - busy) * 1e3)
        claim = verify_checkpoint(found.checkpoint, verifier, LOG)
        verify_inclusion(leaf_hash(found.body), seq, claim.size, found.proof, claim.root)
    reader.close()
    return times, statistics.median(cpu)


def measure(leaves: int = 10_000_000, folder: Path | None = None) -> dict[str, float]:
    """`newest_…` and `past_…`: median, 99th in 100 and CPU (median), in ms; `records`, `fill_s`, `file_gb`."""
    dice = random.Random(6962)
    asked = [dice.randrange(leaves) for _ in range(PROOFS)]
    past = [(seq, dice.randrange(seq + 1, leaves + 1)) for seq in asked]
    read = {at // TILE for seq, size in past for at in (seq, size - 1)} | {(leaves - 1) // TILE}
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "ledger.db"
        began = time.perf_counter()
        fill(path, leaves, read)
        found = {
            "records": float(leaves),
            "fill_s": time.perf_counter() - began,
            "file_gb": path.stat().st_size / 1e9,
        }
        for name, wanted in (("newest", [(seq, None) for seq in asked]), ("past", past)):
            times, found[f"{name}_cpu_ms"] = timed(path, list(wanted))
            times.sort()
            found[f"{name}_p50_ms"] = statistics.median(times)
            found[f"{name}_p99_ms"] = times[len(times) * 99 // 100]
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaves", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=None, help="where the file is made (a real disk)")
    arguments = parser.parse_args()
    print(
        json.dumps(
            {name: round(value, 3) for name, value in measure(arguments.leaves, arguments.folder).items()}
        )
    )
