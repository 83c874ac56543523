"""A receiver that does on a real socket what the test says, well or ill, and counts what it hears."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

Answer = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


@dataclass
class Heard:
    """One question."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """`answer` is asked for each answer; set it before asking."""

    answer: Answer
    url: str = ""
    heard: list[Heard] = field(default_factory=list)

    def says(self, status: int, body: str | bytes = b"", **headers: str) -> None:
        """From now on it answers so."""
        content = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def answer(request: web.Request, _: bytes) -> web.StreamResponse:
            return web.Response(status=status, body=content, headers=named)

        self.answer = answer


@contextlib.asynccontextmanager
async def receiver(port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver that answers 200 and nothing."""

    async def nothing(request: web.Request, body: bytes) -> web.StreamResponse:
        return web.Response()

    strange = Receiver(nothing)

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        strange.heard.append(Heard(request.method, request.path_qs, dict(request.headers), body))
        return await strange.answer(request, body)

    app = web.Application(client_max_size=16 << 20)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        strange.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield strange
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def raw(script: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """The address of a socket that reads a request's head and then does what `script` does."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            await script(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
