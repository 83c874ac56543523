"""A whole machine is put back as it was while requests ran: ledger, holds and vault are of one moment, and long past.

What those requests came to was signed, delivered and cosigned since; a gateway that recorded them anew, as a start
after a crash does, would sign a second history of its own log. Its receiver alone knows better, and is asked first.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import aiohttp
import pytest

from app.ledger.records import UsageDraft
from tests.gateway.conftest import chat
from tests.gateway.processes import run
from tests.twoparty.pair import SETTINGS, VAULT, Pair

LONG = 300


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with Pair(tmp_path).enrolled() as made:
        yield made


async def copied_while_a_request_runs(pair: Pair, kept: Path) -> str:
    """Copy all that the gateway has, in one moment of a stream that then ends well; the request's id."""
    process = pair.gateway.process
    assert process is not None
    headers = {"Authorization": f"Bearer {process.connection['api_key']}"}
    async with (
        aiohttp.ClientSession(process.connection["url"], headers=headers) as session,
        session.post("/api/chat", json=chat("Hello", stream=True, tokens=LONG)) as reply,
    ):
        assert reply.status == 200
        assert await reply.content.readline()
        process.popen.send_signal(signal.SIGSTOP)
        try:
            await asyncio.to_thread(shutil.copytree, pair.gateway.home, kept)
        finally:
            process.popen.send_signal(signal.SIGCONT)
        assert b"_gateway" in (await reply.read()).splitlines()[-1]
        return reply.headers["X-Request-Id"]


async def answered(pair: Pair, count: int) -> None:
    """Clients get so many more answers."""
    asking = asyncio.create_task(pair.ask_on(Random(count)))
    await pair.answers(count)
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking


def put_back(pair: Pair, kept: Path) -> None:
    pair.gateway.kill()
    shutil.rmtree(pair.gateway.home)
    shutil.copytree(kept, pair.gateway.home)


async def test_nothing_is_signed_anew_that_the_receiver_has_cosigned(pair: Pair, tmp_path: Path) -> None:
    await answered(pair, 3)
    request = await copied_while_a_request_runs(pair, tmp_path / "kept")
    await answered(pair, 10)
    before = await pair.require_agreed()
    put_back(pair, tmp_path / "kept")
    offline = await asyncio.to_thread(run, pair.gateway.home, "keys", "create", "late", *VAULT, *SETTINGS)
    assert offline.returncode != 0
    assert offline.stdout == ""
    assert "ROLLBACK: " in offline.stderr
    assert "ledger refill" in offline.stderr
    await pair.gateway.begin()
    await answered(pair, 5)
    after = await pair.require_agreed()
    assert after[: len(before)] == before
    (record,) = [record for record in after if record.draft.id == request]
    assert isinstance(record.draft, UsageDraft)
    assert record.draft.outcome == "complete"
    # What was left of its hold leaves nothing at the next start either.
    pair.gateway.kill()
    await pair.gateway.begin()
    assert (await pair.require_agreed())[: len(after)] == after


async def test_where_the_receiver_cannot_be_asked_the_second_history_is_said_as_soon_as_it_can(
    pair: Pair, tmp_path: Path
) -> None:
    await answered(pair, 3)
    await copied_while_a_request_runs(pair, tmp_path / "kept")
    await answered(pair, 3)
    await pair.require_agreed()
    pair.receiver.kill()
    put_back(pair, tmp_path / "kept")
    await pair.gateway.begin()
    await answered(pair, 1)
    await pair.receiver.begin()
    compared = await asyncio.to_thread(
        run, pair.gateway.home, "ledger", "reconcile", "--out", str(tmp_path / "evidence"), *VAULT, *SETTINGS
    )
    assert compared.stdout.startswith("FORK: "), compared.stdout + compared.stderr
    await answered(pair, 10)
    pair.gateway.kill()
    await pair.gateway.begin()
    process = pair.gateway.process
    assert process is not None
    async with asyncio.timeout(30):
        while True:
            said = await pair.told(pair.gateway, process.connection["api_key"], "/reconcile")
            if said["status"] == "FORK":
                break
            await asyncio.sleep(0.1)
    assert any("another history" in sentence for sentence in said["findings"])
