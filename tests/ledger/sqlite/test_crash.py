"""kill -9 under load: nothing acknowledged is lost, nothing is doubled, nothing is skipped.

`make test` kills it thirty times, `make soak` a thousand times (some twenty minutes).
"""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.ledger.records import decode

ROUNDS = 1000 if "SOAK" in os.environ else 30
ROOT = Path(__file__).resolve().parents[3]

# Sixteen requests at a time, held in both ways and settled; it says on its output what a client would have seen:
# «S id» once a hold is durable, «A id seq» once a record is.
LOAD = """
import asyncio, os, random, secrets, sys, time
from app.ledger.checkpoint import Signer
from app.ledger.records import UsageDraft
from app.ledger.holds import HoldRow
from app.ledger.sqlite.store import Ledger

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def client(ledger, log, dice):
    while True:
        now = ledger._clock_us()
        draft = UsageDraft(ledger.new_id(), now, now, 5, None, "k", "m", None, "/api/chat", 1, 2, "engine",
                           "complete", 100, "nvml", "t", 7)
        hold = HoldRow(draft.id, log, "k", "m", "/api/chat", "t", now, 50, now, 3, 4)
        if dice.random() < 0.5:
            await ledger.hold(hold)
            say("S", draft.id)
            await asyncio.sleep(dice.random() / 200)
            await ledger.renew(draft.id, 60, now + 1, e_uj=5, cost_pico=6)
        else:
            ledger.hold_later(hold)
            await asyncio.sleep(dice.choice((0, 0, 0.03)))
        receipt = await ledger.append(log, draft, release=draft.id)
        say("A", draft.id, receipt.seq)

async def main():
    ledger = await Ledger.open(sys.argv[1], signer=Signer(bytes(range(32)), "gw_test"), gateway_id="gw_test",
                               clock_us=lambda: time.time_ns() // 1000)
    for recovered in ledger.recovered:
        say("R", recovered.id)
    clients = ledger.clients() or (await ledger.create_client("Anna"),)
    await asyncio.gather(*[client(ledger, clients[0].log, random.Random(n)) for n in range(16)])

asyncio.run(main())
"""


def run_and_kill(path, patience_s):
    """Run the load, kill it `patience_s` after its first record; returns the lines it said."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", LOAD, str(path)], stdout=subprocess.PIPE, cwd=ROOT
    )
    said, deadline = b"", time.monotonic() + 30
    output = process.stdout.fileno()
    kill_at = None
    try:
        while kill_at is None or time.monotonic() < kill_at:
            assert time.monotonic() < deadline, "the load never recorded anything"
            if select.select([output], [], [], 0.005)[0]:
                part = os.read(output, 1 << 16)
                assert part, "the load ended by itself"
                said += part
            if kill_at is None and b"\nA " in said:
                kill_at = time.monotonic() + patience_s
    finally:
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
    lines = (said + rest).split(b"\n")
    return [line.decode().split() for line in lines[:-1]]


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.skipif(sys.platform == "win32", reason="platform: kill -9 is a POSIX notion")
async def test_a_ledger_survives_being_killed_again_and_again(opening, path):
    dice = random.Random(9)
    acknowledged, seen, recovered = {}, set(), []
    for _ in range(ROUNDS):
        for line in run_and_kill(path, dice.random() * 0.1):
            match line:
                case ["A", identity, seq]:
                    assert acknowledged.setdefault(identity, int(seq)) == int(seq)
                case ["S", identity]:
                    seen.add(identity)
                case ["R", identity]:
                    recovered.append(identity)
    ledger = await opening()
    recovered += [draft.id for draft in ledger.recovered]
    log = ledger.clients()[0].log
    places, at = {}, 0
    while part := await ledger.entries(log, at, 1024):
        for record in map(decode, part):
            assert record.seq == at
            assert record.draft.id not in places
            places[record.draft.id] = record
            at += 1
    assert len(acknowledged) > ROUNDS
    assert {identity: places[identity].seq for identity in acknowledged} == acknowledged
    assert seen <= places.keys()
    assert len(recovered) == len(set(recovered)) > 0
    assert {
        identity
        for identity, record in places.items()
        if getattr(record.draft, "outcome", "") == "crash_recovered"
    } == set(recovered)
    assert not acknowledged.keys() & set(recovered)
    print(
        f"{ROUNDS} kills: {len(acknowledged)} acknowledged, {len(recovered)} recovered, {at} records in all"
    )
    report = await ledger.verify()
    assert report.verdict == "OK", report.sentence
    await ledger.close()
    assert (await opening()).recovered == ()
