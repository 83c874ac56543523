"""A gateway asked over HTTP by a client who has a key there, for the receiver's commands.

Rule: nothing is followed and nothing is read without end; whatever is no answer is one sentence.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from app.commands.common import CommandError
from app.ledger.copies import Fetch
from app.ledger.errors import BadProof

ANSWER_S = 60.0
ANSWER_MAX_B = 1 << 30
"""More than any log of which every record is wanted."""


@asynccontextmanager
async def asking_gateway(url: str, key: str, fingerprint: str | None = None) -> AsyncIterator[Fetch]:
    """How to ask the gateway at `url` with `key`, which `-` reads from standard input. Asking raises BadProof.

    `fingerprint`: the SHA-256 that its certificate must have, as it shows it; without one an authority vouches for it.
    """
    trusted = True if fingerprint is None else _pinned(fingerprint)
    if key == "-":
        key = sys.stdin.readline().strip()
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=ANSWER_S)
    headers = {"Authorization": f"Bearer {key}"}
    connector = aiohttp.TCPConnector(ssl=trusted)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers, connector=connector) as session:
        yield _fetch(session, url)


def _pinned(fingerprint: str) -> aiohttp.Fingerprint:
    try:
        return aiohttp.Fingerprint(bytes.fromhex(fingerprint.replace(":", "")))
    except ValueError:
        raise CommandError(
            "The fingerprint cannot be read: write the certificate's SHA-256 as the gateway shows it, 64 hexadecimal"
            " digits with or without colons."
        ) from None


def _fetch(session: aiohttp.ClientSession, url: str) -> Fetch:
    base = url.rstrip("/")

    async def fetch(path: str) -> tuple[int, bytes]:
        try:
            async with session.get(base + path, allow_redirects=False) as reply:
                body = bytearray()
                async for part in reply.content.iter_any():
                    body += part
                    if len(body) > ANSWER_MAX_B:
                        raise BadProof(f"The gateway at {base} answers without end.")
                return reply.status, bytes(body)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise BadProof(f"The gateway at {base} did not answer as it should: {error}.") from None

    return fetch
