"""What goes out to receivers over HTTP, and what of their answers is let in.

Rule 1: nothing that a receiver does is trusted to end: every wait has a deadline, and no answer is read beyond
`ANSWER_MAX_B`. Rule 2: nobody is followed: a redirect is an answer like any other. Rule 3: what fails is one sentence
that names host and port, and never path, secret or content. Rule 4: what comes from a receiver is shown cut short and
without control characters.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from app.basics.addresses import parsed
from app.gateway.delivery.guard import Guard, ReceiverRefused, place_of

ANSWER_MAX_B = 64 * 1024
DEADLINE_S = 30.0
"""For one question and its whole answer."""
CONNECT_S = 10.0
KEEP_S = 4.0
"""How long an unused connection is kept: shorter than servers keep theirs, whose address is checked anew each time."""
CONNECTIONS = 32


class NoAnswer(Exception):
    """The receiver did not answer, or nothing that could be read. `str()` is one sentence."""


@dataclass(frozen=True, slots=True)
class ReceiverAnswer:
    """A whole answer: `retry_after_s` is None where it does not say."""

    status: int
    body: bytes
    retry_after_s: float | None
    where: str
    """Host and port, for sentences."""


class Outgoing:
    """Asks receivers that pass `guard`; make it on the loop, and `close` it."""

    def __init__(self, guard: Guard, *, deadline_s: float = DEADLINE_S) -> None:
        self._guard = guard
        self._deadline_s = deadline_s
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End every connection."""
        self._guard.close()
        if self._session is not None:
            await self._session.close()

    async def admit(self, url: str) -> None:
        """Look whether a receiver may be at `url`, without asking it. Raises ReceiverRefused, and OSError where its
        name leads nowhere."""
        place = place_of(url)
        await self._guard.admit(url)
        if parsed(place.host) is None:
            await self._guard.resolver().resolve(place.host, place.port, socket.AF_UNSPEC)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> ReceiverAnswer:
        """Send `body` to `url`. Raises NoAnswer."""
        return await self._ask("POST", url, body, headers, ANSWER_MAX_B)

    async def get(
        self, url: str, headers: Mapping[str, str], *, most_b: int = ANSWER_MAX_B
    ) -> ReceiverAnswer:
        """Ask for `url`, whose answer has at most `most_b` bytes. Raises NoAnswer."""
        return await self._ask("GET", url, None, headers, most_b)

    async def _ask(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], most_b: int
    ) -> ReceiverAnswer:
        try:
            place = place_of(url)
            where = f"{place.host[:100]}:{place.port}"
            async with asyncio.timeout(self._deadline_s):
                await self._guard.admit(url)
                return await self._once(method, url, body, headers, most_b, where)
        except ReceiverRefused as error:
            raise NoAnswer(str(error)) from None
        except TimeoutError:
            raise NoAnswer(f"The receiver at {where} did not answer within {self._deadline_s:g} s.") from None
        except aiohttp.ClientConnectorDNSError:
            raise NoAnswer(f"The receiver's host {place.host[:100]} has no address.") from None
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError):
            raise NoAnswer(f"The certificate of the receiver at {where} is not to be trusted.") from None
        except aiohttp.ClientConnectorError as error:
            number = error.os_error.errno
            why = os.strerror(number) if number else type(error.os_error).__name__
            raise NoAnswer(f"The receiver at {where} cannot be reached: {why}.") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            broken = isinstance(error, (OSError, aiohttp.ClientPayloadError, aiohttp.ServerConnectionError))
            why = "broke off" if broken else "does not speak HTTP"
            raise NoAnswer(f"The receiver at {where} {why}.") from None

    async def _once(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        most_b: int,
        where: str,
    ) -> ReceiverAnswer:
        sent = {"Accept-Encoding": "identity", "User-Agent": "mortdecai-gateway", **headers}
        asked = self._opened().request(
            method, URL(url, encoded=True), data=body, headers=sent, allow_redirects=False
        )
        async with asked as reply:
            content = await _bounded(reply, most_b, where)
            return ReceiverAnswer(
                reply.status, content, retry_after_s(reply.headers.get("Retry-After")), where
            )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=self._guard.resolver(),
                    use_dns_cache=False,
                    limit=CONNECTIONS,
                    keepalive_timeout=KEEP_S,
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


async def _bounded(reply: aiohttp.ClientResponse, most_b: int, where: str) -> bytes:
    parts, size = [], 0
    async for part in reply.content.iter_any():
        size += len(part)
        if size > most_b:
            reply.close()
            raise NoAnswer(f"The receiver at {where} answers without end.")
        parts.append(part)
    return b"".join(parts)


def retry_after_s(value: str | None, now_s: float | None = None) -> float | None:
    """How long a receiver asks us to wait, in seconds from `now_s` (wall); None where it does not say so legibly."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        at_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, at_s - (time.time() if now_s is None else now_s))


def shown(text: str, most: int = 200) -> str:
    """What a receiver said, fit for a log and a screen."""
    return "".join(character if character.isprintable() else " " for character in text).strip()[:most]
