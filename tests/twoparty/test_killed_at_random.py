"""Both sides as processes, either of them killed in the middle of traffic, again and again, and the signing key passed
on now and then: nothing is lost or doubled.

`make test` kills a dozen times, `make soak` a thousand times (some half an hour).
"""

from __future__ import annotations

import asyncio
import os
from random import Random

import pytest

from app.ledger.drafts import RotationDraft
from tests.gateway.processes import run
from tests.twoparty.pair import SETTINGS, VAULT, Pair

KILLS = 1000 if "SOAK" in os.environ else 12
SEED = int(os.environ.get("SEED", "1"))
CLIENTS = 5
PASSED_ON_EVERY = 5
"""So many kills lie between two times that the signing key passes on before a gateway that was killed starts again."""


async def killed(pair: Pair, chance: Random, *, passed_on: bool) -> None:
    """One of them, or both, after some answers, with others under way; the other one may go on alone for a while."""
    sides = [pair.gateway, pair.receiver]
    chance.shuffle(sides)
    hit = sides[: chance.choice((1, 1, 1, 2))]
    if passed_on and pair.gateway not in hit:
        hit.append(pair.gateway)
    await pair.answers(chance.randrange(1, 30))
    for side in hit:
        side.kill()
    if pair.gateway.process is not None:
        await pair.answers(chance.randrange(20))
    if passed_on:
        # With what a kill has left open, and whether the receiver can be asked or not.
        done = await asyncio.to_thread(run, pair.gateway.home, "ledger", "rotate-key", *VAULT, *SETTINGS)
        assert done.returncode == 0, done.stdout + done.stderr
    chance.shuffle(hit)
    for side in hit:
        if chance.random() < 0.2:
            # It is hit again while it rises.
            rising = asyncio.create_task(side.begin())
            await asyncio.wait([rising], timeout=chance.random())
            await rising
            side.kill()
        await side.begin()


@pytest.mark.soak
@pytest.mark.slow
async def test_killed_again_and_again_both_agree_to_the_last_picounit(pair: Pair) -> None:
    chance = Random(SEED)
    clients = [asyncio.create_task(pair.ask_on(Random(f"{SEED} {number}"))) for number in range(CLIENTS)]
    for number in range(1, KILLS + 1):
        await killed(pair, chance, passed_on=number % PASSED_ON_EVERY == 0)
        assert not any(client.done() for client in clients)
    for client in clients:
        client.cancel()
    await asyncio.wait(clients)
    # Who starts asks its receiver at once, however long it was to wait.
    pair.gateway.kill()
    await pair.gateway.begin()
    records = await pair.require_agreed()
    rotations = [record for record in records if isinstance(record.draft, RotationDraft)]
    assert len(rotations) == KILLS // PASSED_ON_EVERY
    assert pair.answered > KILLS
    assert len(records) > pair.answered
    await pair.gateway.end()
    await pair.receiver.end()
    for home, words in (
        (pair.gateway.home, ("ledger", "verify")),
        (pair.receiver.home, ("receiver", "verify")),
    ):
        done = await asyncio.to_thread(run, home, *words, *VAULT)
        assert (done.returncode, done.stdout[:3]) == (0, "OK:"), done.stdout + done.stderr
