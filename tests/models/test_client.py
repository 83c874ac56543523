"""An engine that answers questions about models without an end, or nests without one: a sentence, and no memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from app.engine.base import EngineBroken
from app.engine.ollama import OllamaEngine
from app.models.base import ModelError
from app.models.client import ManagementClient

PIECE = b"x" * 2**20
NESTED = b'{"a":' * 100_000

Answer = Callable[[web.StreamResponse], Awaitable[object]]
Serve = Callable[[Answer], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def start(answer: Answer) -> str:
        async def handle(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await answer(response)
            return response

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runners.append(web.AppRunner(app))
        await runners[-1].setup()
        site = web.TCPSite(runners[-1], "127.0.0.1", 0)
        await site.start()
        return site.name

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_details_without_an_end_are_given_up(serve: Serve) -> None:
    sent = 0

    async def endless(response: web.StreamResponse) -> None:
        nonlocal sent
        while sent < 200:
            await response.write(PIECE)
            sent += 1

    url = await serve(endless)
    client = ManagementClient(lambda: url)
    with pytest.raises(ModelError, match="longer than 32 MB"):
        await client.show("m")
    await client.close()
    assert sent < 100


async def test_a_line_of_progress_without_an_end_is_given_up(serve: Serve) -> None:
    async def endless(response: web.StreamResponse) -> None:
        for _ in range(200):
            await response.write(PIECE)

    url = await serve(endless)
    client = ManagementClient(lambda: url)
    with pytest.raises(ModelError, match="makes no sense"):
        async for _ in client.pull("m"):
            pass
    await client.close()


async def test_an_answer_that_nests_without_an_end_makes_no_sense(serve: Serve) -> None:
    url = await serve(lambda response: response.write(NESTED))
    client = ManagementClient(lambda: url)
    with pytest.raises(ModelError, match="makes no sense"):
        await client.show("m")
    await client.close()
    engine = OllamaEngine(url)
    with pytest.raises(EngineBroken, match="check that it is Ollama"):
        await engine.version()
    await engine.close()
