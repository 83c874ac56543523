"""Asking a running gateway as its operator, also where the answer is a stream of lines.

Rule 1: what the gateway says is wrong becomes a CommandError with its own sentence. Rule 2: the token is the one that
the running gateway has left for this user, so no vault is opened, whichever one the gateway was started with.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import aiohttp

from app.commands.common import CommandError, Ground
from app.settings.instance import running, running_token

ANSWER_S = 60.0
"""Whatever does not take its time by nature is answered within this."""

LONG_S = 6 * 3600.0
"""A model may take hours over a slow line."""
LINE_MAX_B = 16 << 20
SILENCE_S = 1800.0
"""Nothing is said while a large model is checked or loaded from a slow disk."""


class Operator:
    """Make it with `operator`."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, answer_s: float = LONG_S
    ) -> dict[str, Any]:
        """One question, one answer, which comes when the work is done: an image may have to be fetched first."""
        with _sentences(self.url):
            waits = aiohttp.ClientTimeout(total=answer_s)
            async with self._session.request(method, self.url + path, json=body, timeout=waits) as reply:
                answer = await reply.json(content_type=None)
                _check(reply.status, answer)
                return dict(answer)

    async def read(self, path: str, **query: str) -> AsyncGenerator[bytes, None]:
        """The lines of an answer, however many, without their ends; each of at most LINE_MAX_B bytes."""
        with _sentences(self.url):
            waits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=ANSWER_S)
            async with self._session.get(self.url + path, params=query, timeout=waits) as reply:
                if reply.status >= 400:
                    _check(reply.status, await reply.json(content_type=None))
                rest = b""
                async for part in reply.content.iter_any():
                    *lines, rest = (rest + part).split(b"\n")
                    for line in lines:
                        yield line
                    if len(rest) > LINE_MAX_B:
                        raise ValueError("a line without end")
                if rest:
                    yield rest

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


def pinned(base: Ground, url: str) -> aiohttp.TCPConnector:
    """Connections to the running gateway at `url`: where it answers with a certificate, it must be the one it has left
    word of, whoever vouches for it or does not."""
    instance = running(base.folders.state) if url.startswith("https:") else None
    if instance is None or instance.fingerprint is None:
        return aiohttp.TCPConnector()
    return aiohttp.TCPConnector(ssl=aiohttp.Fingerprint(bytes.fromhex(instance.fingerprint.replace(":", ""))))


@contextlib.asynccontextmanager
async def operator(base: Ground, url: str, token: str | None = None) -> AsyncIterator[Operator]:
    """The operator of the gateway at `url`; the token is the one that it has left for its user, unless it is given."""
    token = token or running_token(base.folders.state)
    if token is None:
        raise CommandError(f"The gateway at {url} is starting or stopping. Try again in a moment.")
    timeout = aiohttp.ClientTimeout(total=LONG_S, sock_read=SILENCE_S)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(
        timeout=timeout, headers=headers, connector=pinned(base, url)
    ) as session:
        yield Operator(session, url)


async def ask_running(
    base: Ground,
    url: str,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    answer_s: float = ANSWER_S,
) -> dict[str, Any]:
    """One question to the profile's running gateway, and its answer."""
    async with operator(base, url) as owner:
        return await owner.ask(method, path, body, answer_s=answer_s)
