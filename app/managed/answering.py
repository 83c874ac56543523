"""Waiting until the engine in a container answers.

Rule 1: it is asked every few hundredths of a second at first, because the wait is part of every start. Rule 2: the
wait ends at once where the container has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.containers.base import Container
from app.engine.base import EngineError
from app.engine.wire import Wire
from app.managed.faults import NeverHealthy, crashed

_FIRST_S, _LONGEST_S = 0.02, 0.5
_ATTEMPT_S, _LONGEST_ATTEMPT_S = 1.0, 45.0
"""One answer may take long: Ollama looks for GPUs after it listens and before it answers. The first tries are short,
because a port that has just moved to another network leaves a question on its old way without any answer."""
_LOOK_S = 0.1
"""The daemon is asked about the container at most this often."""


async def wait_until_it_answers(
    url: str,
    *,
    look: Callable[[], Awaitable[Container | None]],
    log: Callable[[], Awaitable[str]],
    limit_s: float,
) -> None:
    """Return once GET /api/version answers at `url`.

    `look` gives the container as it is now, `log` the end of its log. Raises EngineCrashed where the container does
    not run any more, NeverHealthy after `limit_s`, and what the two raise.
    """
    loop = asyncio.get_running_loop()
    end_s = loop.time() + limit_s
    looked_s = loop.time()
    pause_s, attempt_s = _FIRST_S, _ATTEMPT_S
    wire = Wire(url, silence_s=_LONGEST_ATTEMPT_S, connect_s=5.0)
    try:
        while True:
            began_s = loop.time()
            if await _answers(wire, min(end_s - began_s, attempt_s)):
                return
            if loop.time() - began_s >= attempt_s:
                attempt_s = min(attempt_s * 2, _LONGEST_ATTEMPT_S)
            if loop.time() - looked_s >= _LOOK_S:
                container = await look()
                looked_s = loop.time()
                if container is None or not container.running:
                    raise crashed(container, await log() if container is not None else "")
            if loop.time() >= end_s:
                raise NeverHealthy(
                    f"The engine's container runs, but nothing has answered in it for {limit_s:g} s. "
                    "Read the end of its log, then start the engine again."
                )
            await asyncio.sleep(min(pause_s, max(0.0, end_s - loop.time())))
            pause_s = min(pause_s * 1.5, _LONGEST_S)
    finally:
        await wire.close()


async def _answers(wire: Wire, limit_s: float) -> bool:
    try:
        async with asyncio.timeout(max(0.0, limit_s)):
            reply = await wire.get("/api/version")
            try:
                await reply.read()
            finally:
                reply.release()
    except (EngineError, TimeoutError):
        return False
    return reply.status == 200
