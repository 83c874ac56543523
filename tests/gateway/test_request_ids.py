"""Every answer carries an id of its own, whatever made it, so that a client's report can be found again."""

from __future__ import annotations

import pytest

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
