"""A plug at the wall: a small local server that answers what a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

Answers = dict[str, Any]


class Device:
    """Answers by path and query; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: Answers = {}
        self.asked: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        found = self.answers.get(request.path_qs)
        if callable(found):
            return await found(request)
        return web.json_response(found) if found is not None else web.Response(status=404)


@pytest.fixture
async def device() -> AsyncIterator[tuple[Device, str]]:
    """A device and its address."""
    played = Device()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", played.answer)
    server = TestServer(app)
    await server.start_server()
    yield played, str(server.make_url("")).rstrip("/")
    await server.close()
