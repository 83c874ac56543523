"""A receiver that cosigns whatever comes and keeps nothing: it stands for one on another machine.

    python -m tests.bench.cosigning

Prints what `receiver --print-connection` prints, as far as a gateway needs it.
"""

from __future__ import annotations

import asyncio
import json
import time

from aiohttp import web

from app.ledger.cosignature import Cosigner

COSIGNER = Cosigner(bytes(32), "bench.example")


async def _answer(request: web.BaseRequest) -> web.Response:
    _, _, rest = (await request.read()).partition(b"\n")
    note = rest[1:] if rest.startswith(b"\n") else rest.partition(b"\n\n")[2]
    return web.Response(text=COSIGNER.cosign(note.decode(), int(time.time())))


async def main() -> None:
    """Serve until the end."""
    runner = web.ServerRunner(web.Server(_answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    print(json.dumps({"url": url, "vkey": COSIGNER.vkey}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
