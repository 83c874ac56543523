"""Asks an address what it is.

Rule 1: the front page, then one short round of questions, all at once; each answer is cut at 256 KiB, redirects are
not followed, no cookies kept, no proxies used. Rule 2: whatever listens there, however odd, the worst outcome is
None, in time.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import aiohttp

from app.engine.evidence import PATHS, Found, ProbeAnswer, Software, judge

BUDGET_S = 1.5
_MOST_B = 256 * 1024


async def identify(url: str, *, budget_s: float = BUDGET_S) -> Found | None:
    """What answers at the base address `url`; None where nothing does within `budget_s`, or nothing that is an
    engine. Never raises, except when cancelled."""
    base = url.rstrip("/")
    answers: dict[str, ProbeAnswer] = {}
    async with _session(budget_s) as session:
        # First alone: a gateway counts wrong keys, and would count every further question as one.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(budget_s / 4):
                await _keep(session, base, "/", answers)
        found = judge(answers)
        if found is not None and found.software is Software.GATEWAY:
            return found
        asking = [asyncio.ensure_future(_keep(session, base, path, answers)) for path in PATHS[1:]]
        try:
            await asyncio.wait(asking, timeout=budget_s * 3 / 4)
        finally:
            for one in asking:
                one.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
    found = judge(answers)
    if found is None or not found.healthy or found.software not in (Software.LLAMA_SERVER, Software.VLLM):
        return found
    # These two say by themselves whether they are ready, and asking them costs nothing.
    async with _session(budget_s) as session:
        health = await _get(session, base + "/health")
    return replace(found, healthy=health is not None and health.status == 200)


def _session(budget_s: float) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=budget_s),
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        # Packed answers could unpack to anything; asked for plainly, they come plainly.
        headers={"Accept-Encoding": "identity", "Accept": "application/json, text/plain"},
        auto_decompress=False,
    )


async def _keep(
    session: aiohttp.ClientSession, base: str, path: str, answers: dict[str, ProbeAnswer]
) -> None:
    answer = await _get(session, base + path)
    if answer is not None:
        # Here and not when all are judged: together they would hold the loop for too long.
        _ = answer.json
        answers[path] = answer


async def _get(session: aiohttp.ClientSession, url: str) -> ProbeAnswer | None:
    with contextlib.suppress(aiohttp.ClientError, OSError, ValueError, TimeoutError):
        async with session.get(url, allow_redirects=False) as reply:
            body = bytearray()
            async for chunk in reply.content.iter_chunked(16 * 1024):
                body += chunk
                if len(body) > _MOST_B:
                    return None
            headers = {name.lower(): value for name, value in reply.headers.items()}
            return ProbeAnswer(reply.status, headers, bytes(body))
    return None
