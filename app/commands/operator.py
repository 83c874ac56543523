"""Asking a running gateway as its operator, over one session, also where the answer is a stream of lines.

Rule: what the gateway says is wrong becomes a CommandError with its own sentence.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import aiohttp

from app.access.identity import OPERATOR_TOKEN
from app.commands.common import CommandError, Ground

LONG_S = 6 * 3600.0
"""A model may take hours over a slow line."""
SILENCE_S = 1800.0
"""Nothing is said while a large model is checked or loaded from a slow disk."""


class Operator:
    """Make it with `operator`."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One question, one answer, which comes when the work is done: an image may have to be fetched first."""
        with _sentences(self.url):
            waits = aiohttp.ClientTimeout(total=LONG_S)
            async with self._session.request(method, self.url + path, json=body, timeout=waits) as reply:
                answer = await reply.json(content_type=None)
                _check(reply.status, answer)
                return dict(answer)

    async def follow(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The lines of an answer that comes while the work goes on, however long; a line with `error` is raised."""
        with _sentences(self.url):
            waits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE_S)
            async with self._session.post(self.url + path, json=body, timeout=waits) as reply:
                if reply.status >= 400:
                    _check(reply.status, await reply.json(content_type=None))
                async for raw in reply.content:
                    if not raw.strip():
                        continue
                    line = json.loads(raw)
                    _check(400 if "error" in line else 200, line)
                    yield line


def _check(status: int, answer: Any) -> None:
    if status >= 400:
        said = answer.get("error") if isinstance(answer, dict) else None
        raise CommandError(str(said or f"The gateway answered with status {status}."))


@contextlib.contextmanager
def _sentences(url: str) -> Any:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise CommandError(f"The gateway at {url} did not answer as it should: {error}.") from None


@contextlib.asynccontextmanager
async def operator(base: Ground, url: str, token: str | None = None) -> AsyncIterator[Operator]:
    """The operator of the gateway at `url`; its token comes from the vault where it is not given."""
    if token is None:
        token = await (await base.vault()).get(OPERATOR_TOKEN)
    if token is None:
        raise CommandError(
            f"A gateway runs at {url}, and its operator's token is not in the {base.store.current.vault} vault. "
            "Name the vault it was started with: --vault."
        )
    timeout = aiohttp.ClientTimeout(total=LONG_S, sock_read=SILENCE_S)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        yield Operator(session, url)
