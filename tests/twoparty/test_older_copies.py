"""An older copy is put in the place of what a gateway has, between two processes: what it lacks comes back from the
receiver before anything is served, and both agree to the last picounit.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from random import Random

from app.ledger.records import Record
from tests.gateway.processes import run
from tests.twoparty.pair import SETTINGS, VAULT, Pair

SERVE = ("serve", "--simulate", "--port", "0", "--contribute", "--print-connection", *VAULT, *SETTINGS)


async def asked(pair: Pair, answers: int) -> None:
    """A client asks until it has so many more answers; none of its requests is left behind."""
    async with asyncio.timeout(60):
        await pair.ask_on(Random(answers), pair.answered + answers)


async def grown(pair: Pair, copied: Path, kept: Path) -> list[Record]:
    """The records that both agree about, when `kept` is the copy of `copied` from before the newest of them."""
    await asked(pair, 5)
    await pair.gateway.end()
    shutil.copytree(copied, kept)
    await pair.gateway.begin()
    await asked(pair, 40)
    before = await pair.require_agreed()
    pair.gateway.kill()
    shutil.rmtree(copied)
    shutil.copytree(kept, copied)
    return before


async def require_goes_on(pair: Pair, before: list[Record]) -> None:
    """Everything is there as it was, and more comes after it."""
    await pair.gateway.begin()
    back = await pair.require_agreed()
    assert back[: len(before)] == before
    await asked(pair, 5)
    assert len(await pair.require_agreed()) >= len(before) + 5
    done = await asyncio.to_thread(run, pair.gateway.home, "ledger", "reconcile", *VAULT, *SETTINGS)
    assert (done.returncode, done.stdout[:3]) == (0, "OK:"), done.stdout + done.stderr


async def test_an_older_copy_of_all_that_the_gateway_has_gets_its_tail_back_before_it_serves(
    pair: Pair, tmp_path: Path
) -> None:
    """The vault goes back with the ledger, so nobody but the receiver knows of the newest records."""
    before = await grown(pair, pair.gateway.home, tmp_path / "kept")
    await require_goes_on(pair, before)


async def test_an_older_copy_of_the_file_alone_is_said_and_refilled_and_serves_with_the_same_totals(
    pair: Pair, tmp_path: Path
) -> None:
    """The vault remembers the newest records, so it does not start before they are back."""
    home = pair.gateway.home
    (folder,) = {path.parent for path in home.rglob("ledger.sqlite3")}
    before = await grown(pair, folder, tmp_path / "kept")
    refused = await asyncio.to_thread(run, home, *SERVE)
    assert refused.returncode != 0
    (line,) = refused.stderr.strip().splitlines()
    assert line.startswith("mortdecai-gateway: ROLLBACK: ")
    assert "ledger refill" in line
    back = await asyncio.to_thread(run, home, "ledger", "refill", *VAULT, *SETTINGS)
    assert back.returncode == 0, back.stdout + back.stderr
    assert "are back, each as it was signed" in back.stdout
    verified = await asyncio.to_thread(run, home, "ledger", "verify", *VAULT)
    assert (verified.returncode, verified.stdout[:3]) == (0, "OK:"), verified.stdout + verified.stderr
    await require_goes_on(pair, before)
