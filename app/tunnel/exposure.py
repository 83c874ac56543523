"""The self-check: what of this machine can be reached past the gateway, and does the public address lead to it?

Rule 1: asking and judging are apart; what is judged are plain answers. Rule 2: only this machine's own addresses and
the public address of its own tunnel are asked. Rule 3: an engine that answers in public is worse than no address.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

import aiohttp

from app.basics.addresses import is_here, is_loopback

_CONNECT_S = 0.5
_ANSWER_S = 10.0
_MOST_B = 64 * 1024
_PATHS = ("/api/tags", "/v1/models", "/health")
_NOT_THROUGH = frozenset({404, 502, 503, 504, *range(520, 531)})
"""What Cloudflare and cloudflared answer by themselves where nothing of ours is reached."""


class Reach(StrEnum):
    """Who answers at the public address."""

    GATEWAY = "gateway"
    ENGINE = "engine"
    """The engine itself: the tunnel leads past the gateway, and must be closed."""
    OTHER = "other"
    """Something in front, such as a login of Cloudflare Access, or something else altogether."""
    NOBODY = "nobody"
    """No answer came through; a new address takes a while until every resolver knows it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer from outside: status, headers with lower-case names, and the JSON object in it, or {}."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exposure:
    """Something that can be reached and should not be: a sentence, and what to do."""

    problem: str
    fix: str


def judge_public(seen: Mapping[str, Seen | None]) -> Reach:
    """Who answered /api/tags, /v1/models (both asked without a key) and /health; None where no answer came."""
    tags, models, health = (seen.get(path) for path in _PATHS)
    if tags is not None and tags.status == 200 and "models" in tags.body:
        return Reach.ENGINE
    if models is not None and models.status == 200 and "data" in models.body:
        return Reach.ENGINE
    if (
        tags is not None
        and tags.status in (401, 429)
        and "x-request-id" in tags.headers
        and health is not None
        and health.status == 200
        and {"accepting", "engine"} <= health.body.keys()
    ):
        return Reach.GATEWAY
    answers = [one for one in (tags, models, health) if one is not None]
    if all(one.status in _NOT_THROUGH for one in answers):
        return Reach.NOBODY
    return Reach.OTHER


async def check_public(url: str, *, timeout_s: float = _ANSWER_S) -> Reach:
    """Ask the public address, without any key, from this machine. Never raises, except when cancelled."""
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        connector=aiohttp.TCPConnector(force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
    ) as session:
        seen = await asyncio.gather(*(_look(session, url.rstrip("/") + path) for path in _PATHS))
    return judge_public(dict(zip(_PATHS, seen, strict=True)))


async def _look(session: aiohttp.ClientSession, url: str) -> Seen | None:
    with contextlib.suppress(aiohttp.ClientError, OSError, ValueError, TimeoutError):
        async with session.get(url, allow_redirects=False) as reply:
            body = bytearray()
            async for chunk in reply.content.iter_chunked(16 * 1024):
                body += chunk
                if len(body) > _MOST_B:
                    break
            headers = {name.lower(): value for name, value in reply.headers.items()}
            return Seen(reply.status, headers, _object(bytes(body)))
    return None


def _object(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def engine_exposure(kind: str, port: int, reached: Iterable[str]) -> Exposure | None:
    """What to say where the engine's port answers at `reached`, addresses of this machine that are not loopback."""
    addresses = list(reached)
    if not addresses:
        return None
    shown = ", ".join(f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one in addresses[:3])
    more = " and more" if len(addresses) > 3 else ""
    fix = (
        "Set OLLAMA_HOST=127.0.0.1 where Ollama is started, and restart it."
        if kind == "ollama"
        else "Start it with its host set to 127.0.0.1."
    )
    return Exposure(
        f"The engine answers at {shown}{more}, so others in your network can use it past the gateway.", fix
    )


async def check_engine(kind: str, url: str) -> Exposure | None:
    """Whether the engine at `url`, if it runs on this machine, can be reached from elsewhere. Never raises."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    addresses = own_addresses()
    if not is_here(host) and host not in addresses:
        return None
    return engine_exposure(kind, port, await reachable(port, addresses))


async def reachable(port: int, addresses: Iterable[str], *, timeout_s: float = _CONNECT_S) -> tuple[str, ...]:
    """Those of `addresses` where something accepts a connection on `port`; all are tried at once."""
    asked = tuple(addresses)
    open_at = await asyncio.gather(*(_accepts(address, port, timeout_s) for address in asked))
    return tuple(address for address, accepts in zip(asked, open_at, strict=True) if accepts)


async def _accepts(address: str, port: int, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


def own_addresses() -> tuple[str, ...]:
    """This machine's addresses, loopback left out. A few hundred microseconds; asks the kernel only."""
    found: dict[str, None] = {}
    import psutil

    with contextlib.suppress(OSError, psutil.Error):
        for addresses in psutil.net_if_addrs().values():
            for one in addresses:
                if one.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(one.address):
                    found[one.address] = None
    return tuple(found)
