"""Every answer carries an id of its own, whatever made it, so that a client's report can be found again."""

from __future__ import annotations

import asyncio
import re

import pytest
from yarl import URL

from app.ledger.ids import new_id
from tests.gateway.conftest import House


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/api/tags", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/stats", 200),
        ("GET", "/dashboard", 200),
        ("OPTIONS", "/api/chat", 204),
        ("DELETE", "/api/chat", 405),
        ("POST", "/api/chat", 400),
        ("POST", "/api/pull", None),
        ("GET", "/no-such-path", 404),
    ],
)
async def test_every_answer_has_an_id_that_no_other_has(
    house: House, method: str, path: str, status: int | None
) -> None:
    ids = set()
    for _ in range(2):
        async with house.session.request(
            method,
            path,
            headers={"Authorization": f"Bearer {house.key}"},
            data=b"{" if method == "POST" else None,
        ) as reply:
            assert status is None or reply.status == status
            (one,) = reply.headers.getall("X-Request-Id")
            ids.add(one)
    assert len(ids) == 2
    assert all(len(one) == len(new_id(0)) for one in ids)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"no HTTP at all\r\n\r\n", b"400"),
        (b"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ten\r\n\r\n", b"400"),
        (b"GET /stats HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"401"),
    ],
)
async def test_also_what_is_no_request_is_answered_with_an_id_of_its_own(
    house: House, sent: bytes, status: bytes
) -> None:
    url = URL(house.gateway.address)
    ids = set()
    for _ in range(2):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(sent.replace(b"Host: 127.0.0.1\r\n", b"Host: 127.0.0.1\r\nConnection: close\r\n"))
        head, _, _ = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert head.split()[1] == status
        (one,) = re.findall(rb"(?i)^x-request-id: (\S+)\r$", head + b"\r", re.MULTILINE)
        ids.add(one)
    assert len(ids) == 2


async def test_an_answer_of_ours_instead_of_the_engines_has_an_id_of_its_own(house: House) -> None:
    body = {"model": "qwen2.5:3b", "keep_alive": 0}
    ids = set()
    for _ in range(2):
        async with house.post("/api/generate", body) as reply:
            assert reply.status == 200
            (one,) = reply.headers.getall("X-Request-Id")
            ids.add(one)
    assert len(ids) == 2
