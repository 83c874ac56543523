"""Both sides as processes, either of them killed in the middle of traffic, again and again: nothing is lost or doubled.

`make test` kills a dozen times, `make soak` a thousand times (some half an hour).
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from tests.gateway.processes import run
from tests.twoparty.pair import SETTINGS, VAULT, Pair

KILLS = 1000 if "SOAK" in os.environ else 12
SEED = int(os.environ.get("SEED", "1"))
CLIENTS = 5


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with Pair(tmp_path).enrolled() as made:
        yield made


async def killed(pair: Pair, chance: Random) -> None:
    """One of them, or both, after some answers, with others under way; the other one may go on alone for a while."""
    sides = [pair.gateway, pair.receiver]
    chance.shuffle(sides)
    hit = sides[: chance.choice((1, 1, 1, 2))]
    await pair.answers(chance.randrange(1, 30))
    for side in hit:
        side.kill()
    if pair.gateway.process is not None:
        await pair.answers(chance.randrange(20))
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
    for _ in range(KILLS):
        await killed(pair, chance)
        assert not any(client.done() for client in clients)
    for client in clients:
        client.cancel()
    await asyncio.wait(clients)
    # Who starts asks its receiver at once, however long it was to wait.
    pair.gateway.kill()
    await pair.gateway.begin()
    records = await pair.require_agreed()
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


async def test_an_older_copy_of_all_that_the_gateway_has_gets_its_tail_back_before_it_serves(
    pair: Pair, tmp_path: Path
) -> None:
    """The vault goes back with the ledger, so nobody but the receiver knows of the newest records."""
    home, kept = pair.gateway.home, tmp_path / "kept"
    asking = asyncio.create_task(pair.ask_on(Random(1)))
    await pair.answers(5)
    await pair.gateway.end()
    shutil.copytree(home, kept)
    await pair.gateway.begin()
    await pair.answers(40)
    asking.cancel()
    await asyncio.wait([asking])
    before = await pair.require_agreed()
    pair.gateway.kill()
    shutil.rmtree(home)
    shutil.copytree(kept, home)
    await pair.gateway.begin()
    back = await pair.require_agreed()
    assert back[: len(before)] == before
    asking = asyncio.create_task(pair.ask_on(Random(2)))
    await pair.answers(5)
    asking.cancel()
    await asyncio.wait([asking])
    assert len(await pair.require_agreed()) >= len(before) + 5
    compared = await asyncio.to_thread(run, home, "ledger", "reconcile", *VAULT, *SETTINGS)
    assert (compared.returncode, compared.stdout[:3]) == (0, "OK:"), compared.stdout + compared.stderr
