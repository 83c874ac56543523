"""A bare aiohttp pass-through: the yardstick. It authenticates nobody, counts nothing and keeps nothing.

    python -m tests.bench.passthrough UPSTREAM [qt]

Prints its URL when ready. It is written as one would write a good small proxy: one session, unlimited connections, no
cookies, no decompression, the whole answer for whole answers and chunks as they come for streams.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web


async def main(upstream: str) -> None:
    session = ClientSession(
        connector=TCPConnector(limit=0),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        timeout=ClientTimeout(total=None),
    )

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {"Content-Type": "application/json"}
        async with session.request(
            request.method, upstream + request.path, data=body, headers=headers
        ) as reply:
            kind = reply.headers.get("Content-Type", "")
            if reply.headers.get("Transfer-Encoding") != "chunked":
                return web.Response(
                    status=reply.status, body=await reply.read(), headers={"Content-Type": kind}
                )
            response = web.StreamResponse(status=reply.status, headers={"Content-Type": kind})
            await response.prepare(request)
            async for chunk in reply.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
        await session.close()


def on_qt(upstream: str) -> None:
    """The very same proxy on the desktop's loop."""
    from PySide6.QtWidgets import QApplication

    from app.desktop.loop import run

    run(lambda: main(upstream), QApplication([]))


if __name__ == "__main__":
    try:
        if "qt" in sys.argv[2:]:
            on_qt(sys.argv[1])
        else:
            asyncio.run(main(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(0)
