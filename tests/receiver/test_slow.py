"""Who is slow: a store that does not answer, a body that does not come, too much of it at once."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from app.receiver import intake_endpoints, reception
from app.receiver import keeper as keeping
from app.receiver.assembly import store_of
from app.receiver.errors import ReceiverError, StoreAway
from app.receiver.settings import ReceiverSettings
from tests.receiver.asking import Asked, Desk
from tests.receiver.sending import SendingLog


@pytest.fixture
async def asked(desk: Desk) -> AsyncIterator[Asked]:
    async with desk.open() as receiver:
        yield receiver


async def begun(
    asked: Asked, secret: str, length: int, sent: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A push of `length` bytes of which only `sent` have come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(asked.url).port)
    head = f"POST /ledger HTTP/1.1\r\nHost: r\r\nAuthorization: Bearer {secret}\r\nContent-Length: {length}\r\n\r\n"
    writer.write(head.encode() + sent)
    await writer.drain()
    return reader, writer


async def test_a_store_that_does_not_answer_in_time_is_503_and_answers_later(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    stuck = asyncio.create_task(asked.receiver.keeper.read(lambda _: go.wait(30)))
    await asyncio.sleep(0)
    monkeypatch.setattr(keeping, "READ_S", 0.05)
    with pytest.raises(StoreAway, match=r"^The store did not answer in time: try again later\.$"):
        await asked.receiver.keeper.read(lambda store: store.enrolments())
    reply = await asked.get("/ledger/logs", asked.owner)
    assert (reply.status, reply.code, reply.headers["Retry-After"]) == (503, "store_away", "5")
    monkeypatch.undo()
    go.set()
    await stuck
    assert (await asked.get("/ledger/logs", asked.owner)).status == 200


async def test_a_body_that_does_not_come_is_told_so_and_the_next_gateway_is_served(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = await asked.enrol("garage")
    monkeypatch.setattr(reception, "BODY_S", 0.05)
    reader, writer = await begun(asked, secret, 1000, b"old 0\n")
    try:
        told = await asyncio.wait_for(reader.readuntil(b"}}"), 10)
    finally:
        writer.close()
    assert told.startswith(b"HTTP/1.1 408 ")
    assert b"The body did not arrive within a minute." in told
    assert b"Connection: close" in told, "what comes later is no request"
    monkeypatch.undo()
    assert (await asked.push(secret, SendingLog(records=1).push())).status == 200


async def test_bodies_that_come_together_share_a_bound_and_give_it_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_endpoints, "BODIES_B", 5000)
    async with desk.open() as asked:
        secret = await asked.enrol("garage")
        whole = SendingLog(records=3).push()
        assert len(whole) < 4000
        waiting = [await begun(asked, secret, 4000, b"x" * 2000) for _ in range(2)]
        for _ in range(200):
            reply = await asked.push(secret, whole)
            if reply.status == 503:
                break
        assert (reply.status, reply.code, reply.headers["Retry-After"]) == (503, "busy", "5")
        for _, writer in waiting:
            writer.close()
        for _ in range(200):
            reply = await asked.push(secret, whole)
            if reply.status == 200:
                break
        assert reply.status == 200


def test_without_postgresqls_library_a_database_is_one_sentence(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "app.receiver.postgres.store", None)
    settings = ReceiverSettings(database="postgresql://x@/y")
    with pytest.raises(ReceiverError, match=r"install it with pip install 'psycopg\[binary\]'\.$"):
        store_of(settings, tmp_path)  # type: ignore[arg-type]
