"""Fetching a GGUF file: streamed to the disk, hashed on the way, and taken up again where it broke off.

Rule 1: every hop is checked by `source.py`, and nothing is decompressed. Rule 2: memory is that of a few pieces,
however large the file; hashing and writing happen on a thread aside. Rule 3: whatever fails, what has come is kept,
unless it is the wrong file.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import re
import shutil
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from app.basics.resolving import Addresses, system_addresses
from app.basics.threads import Aside
from app.models.base import ModelError
from app.models.part import HEAD_B, PartFile, Validator, gguf_fault
from app.models.source import Refused, Rules, checked, resolver

_HOPS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONNECT_S = 20.0
_CLOSE_S = 10.0
_PIECE_B = 512 * 1024
_PIECE_S = 0.3
"""On a slow line pieces are smaller: whoever looks sees it move, and a cancelled fetch loses little."""
_ROOM_B = 256 * 1024 * 1024
"""What must stay free on the disk beside the file."""
_WORTH_B = 1024 * 1024
"""A try that brought less has not helped: a line may break for ever, one byte at a time."""
_ROOM_EVERY_B = 256 * 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)").fullmatch

Tell = Callable[[str, int, int], None]
"""What happens, bytes there, bytes in all (0: unknown)."""


class _Again(Exception):
    """The line broke; what has come is kept, and asking again may help. `str()` is a sentence."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole file on the disk. `part` is removed by whoever has no more use for it."""

    part: PartFile
    sha256: str
    size_b: int


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What `fetch` was asked for."""

    url: str
    rules: Rules
    tell: Tell
    copies: int
    require: Callable[[int], None]


class Downloads:
    """Fetches into `folder`. `trust` is for tests with a certificate authority of their own."""

    def __init__(
        self,
        folder: Path,
        *,
        trust: ssl.SSLContext | None = None,
        addresses: Addresses = system_addresses,
        free_b: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        silence_s: float = 60.0,
        slow_s: float = 300.0,
        waits_s: tuple[float, ...] = (1.0, 4.0, 10.0),
    ) -> None:
        self._folder = folder
        self._trust = trust
        self._addresses = addresses
        self._free_b = free_b
        self._silence_s = silence_s
        self._slow_s = slow_s
        self._waits_s = waits_s

    async def fetch(
        self, url: str, rules: Rules, tell: Tell, *, copies: int, require: Callable[[int], None]
    ) -> Fetched:
        """The file at `url`. `copies`: how many more of it this disk will have to hold for a while; `require` hears
        the size as soon as it is known, and may raise.

        Raises Refused where it may not be, else ModelError. Cancelling keeps what has come.
        """
        url = checked(url, rules)
        aside = Aside("fetching a model")
        part = PartFile(self._folder, hashlib.sha256(url.encode()).hexdigest()[:32])
        stop = threading.Event()
        try:
            loop = asyncio.get_running_loop()

            def read_again(done_b: int) -> None:
                loop.call_soon_threadsafe(tell, "Reading what has come", done_b, part.validator.total_b)

            try:
                await aside.run(lambda: part.open(stop, read_again))
                await self._until_whole(_Wanted(url, rules, tell, copies, require), part, aside)
                return Fetched(part, part.sha256(), part.size_b)
            except OSError as error:
                raise _disk_error(error) from error
        finally:
            stop.set()
            # Bounded, for a disk may hang; cancelled or not, what has come is to be found by the next try.
            await asyncio.wait([asyncio.ensure_future(aside.run(part.close))], timeout=_CLOSE_S)
            aside.close()

    async def _until_whole(
        self,
        wanted: _Wanted,
        part: PartFile,
        aside: Aside,
    ) -> None:
        """Ask again after a break, as long as tries bring something on; then give up and keep it."""
        waits, best_b = list(self._waits_s), part.size_b
        connector = aiohttp.TCPConnector(
            resolver=resolver(wanted.rules, names := Aside("finding a host"), self._addresses),
            use_dns_cache=False,
            ssl=self._trust if self._trust is not None else True,
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=self._silence_s)
        try:
            async with aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                trust_env=False,
                auto_decompress=False,
                read_bufsize=_PIECE_B,
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as http:
                while True:
                    try:
                        return await self._once(http, wanted, part, aside)
                    except _Again as broken:
                        # Only what had never come before counts: a file that begins anew each time brings nothing on.
                        if part.size_b - best_b >= _WORTH_B:
                            waits, best_b = list(self._waits_s), part.size_b
                        if not waits:
                            raise ModelError(str(broken)) from broken
                        wanted.tell("Waiting to try again", part.size_b, part.validator.total_b)
                        await asyncio.sleep(waits.pop(0))
        finally:
            names.close()

    async def _once(
        self,
        http: aiohttp.ClientSession,
        wanted: _Wanted,
        part: PartFile,
        aside: Aside,
    ) -> None:
        known = part.validator
        if part.size_b and not known.condition:
            await aside.run(lambda: part.begin_anew(Validator()))
        whole = part.size_b > 0 and part.size_b == known.total_b
        headers = {"Accept-Encoding": "identity", "Accept": "*/*", "User-Agent": "mortdecai-gateway"}
        if whole:
            headers |= (
                {"If-None-Match": known.etag} if known.etag else {"If-Modified-Since": known.last_modified}
            )
        elif part.size_b:
            headers |= {"Range": f"bytes={part.size_b}-", "If-Range": known.condition}
        async with _opened(
            http, wanted.url, wanted.rules, headers, 2 * _CONNECT_S + self._silence_s
        ) as reply:
            if whole and reply.status == 304:
                return
            total_b = await self._placed(reply, part, aside)
            _require_size(total_b, wanted.rules)
            wanted.require(total_b)
            await self._require_room(part, total_b, wanted.copies, aside)
            lively = _Lively(self._slow_s)
            async for piece in _pieces(reply):
                if total_b and part.size_b + len(piece) > total_b:
                    await aside.run(lambda: part.begin_anew(Validator()))
                    raise _Again(f"{reply.url.host} sent more than it had announced: try again later.")
                if part.size_b + len(piece) > wanted.rules.most_b:
                    raise _too_large(wanted.rules)
                before_b = part.size_b
                await aside.run(lambda piece=piece: part.write(piece))  # type: ignore[misc]  # bound now
                if before_b < HEAD_B <= part.size_b and (fault := gguf_fault(part.head)):
                    await aside.run(part.remove)
                    raise ModelError(fault)
                if before_b // _ROOM_EVERY_B != part.size_b // _ROOM_EVERY_B:
                    if not total_b:
                        wanted.require(part.size_b)
                    await self._require_room(part, total_b, wanted.copies, aside)
                wanted.tell("Downloading", part.size_b, total_b)
                lively.came(len(piece), reply.url.host)
        if total_b and part.size_b != total_b:
            raise _Again(_broke(reply.url.host))
        if not total_b:
            wanted.require(part.size_b)
            await self._require_room(part, 0, wanted.copies, aside)
        if part.size_b < HEAD_B:
            await aside.run(part.remove)
            raise ModelError("The file is not a GGUF model: it is nearly empty.")

    async def _placed(self, reply: aiohttp.ClientResponse, part: PartFile, aside: Aside) -> int:
        """Make the file ready for what this answer brings; the whole size in bytes, 0 where it is unknown."""
        etag, modified = _plain(reply, "ETag"), _plain(reply, "Last-Modified")
        if reply.status == 206 and part.size_b:
            match = _CONTENT_RANGE(reply.headers.get("Content-Range", ""))
            total_b = int(match[3]) if match and match[3].isdigit() else 0
            known_b = part.validator.total_b
            fits = match is not None and int(match[1]) == part.size_b and total_b in (0, known_b or total_b)
            # Servers that know nothing of If-Range send the rest of whatever they have by now.
            if fits and part.validator.is_of(etag, modified):
                return total_b or known_b
            await aside.run(lambda: part.begin_anew(Validator()))
            raise _Again(
                f"{reply.url.host} sent another part of the file than was asked for: try again later."
            )
        if reply.status == 416 and part.size_b:
            await aside.run(lambda: part.begin_anew(Validator()))
            raise _Again(f"{reply.url.host} has another file by now: try again.")
        if reply.status != 200:
            raise _status_error(reply)
        if (
            reply.content_length is None
            and "chunked" not in reply.headers.get("Transfer-Encoding", "").lower()
        ):
            raise ModelError(
                f"{reply.url.host} does not say how large the file is, so that a break would go unnoticed: use another "
                "address."
            )
        total_b = reply.content_length or 0
        await aside.run(lambda: part.begin_anew(Validator(etag, modified, total_b)))
        return total_b

    async def _require_room(self, part: PartFile, total_b: int, copies: int, aside: Aside) -> None:
        left_b = max(0, total_b - part.size_b)
        need_b = left_b + max(total_b, part.size_b) * copies + _ROOM_B
        free_b = await aside.run(lambda: self._free_b(self._folder))
        if free_b < need_b:
            raise ModelError(
                f"The disk has {free_b / 1e9:.1f} GB free and {need_b / 1e9:.1f} GB are needed: make room, then try "
                "again; what has come is kept."
            )


@asynccontextmanager
async def _opened(
    http: aiohttp.ClientSession, url: str, rules: Rules, headers: dict[str, str], head_s: float
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer at the end of the redirects, each of them checked; each has to begin within `head_s`."""
    host = ""
    try:
        for _ in range(_HOPS + 1):
            asked = _parsed(url)
            host = asked.host or ""
            async with asyncio.timeout(head_s):
                reply = await http.get(asked, headers=headers, allow_redirects=False)
            async with reply:
                if reply.status not in _REDIRECTS:
                    yield reply
                    return
                url = checked(urljoin(url, reply.headers.get("Location", "")), rules)
    except aiohttp.ClientConnectorCertificateError as error:
        raise ModelError(f"{host} could not prove who it is: its certificate is not valid here.") from error
    except aiohttp.ClientSSLError as error:
        raise ModelError(f"No encrypted connection to {host} came about: check the address.") from error
    except aiohttp.ClientConnectorError as error:
        raise _Again(f"{host} cannot be reached: check the network, then try again.") from error
    except TimeoutError as error:
        raise _Again(f"{host} stopped sending: try again later; what has come is kept.") from error
    except (aiohttp.InvalidURL, UnicodeError) as error:
        raise Refused("The address cannot be read: write it like https://host/path/model.gguf.") from error
    except aiohttp.ClientError as error:
        raise _Again(_broke(host)) from error
    raise Refused(f"The address leads on more than {_HOPS} times: use the file's own address.")


def _plain(reply: aiohttp.ClientResponse, name: str) -> str:
    """A header that can be sent back; empty where it holds what no header may."""
    value = reply.headers.get(name, "")
    return value if value.isascii() and value.isprintable() else ""


def _parsed(url: str) -> URL:
    try:
        return URL(url, encoded=True)
    except ValueError as error:
        raise Refused("The address cannot be read: write it like https://host/path/model.gguf.") from error


async def _pieces(reply: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """What comes, in pieces large enough to be worth a thread's while."""
    kept = bytearray()
    clock_s = asyncio.get_running_loop().time
    begun_s = clock_s()
    try:
        async for chunk in reply.content.iter_any():
            kept += chunk
            if len(kept) >= _PIECE_B or clock_s() - begun_s >= _PIECE_S:
                yield bytes(kept)
                kept.clear()
                begun_s = clock_s()
    except (aiohttp.ClientError, TimeoutError):
        # What came before the break is worth keeping.
        if kept:
            yield bytes(kept)
        raise
    if kept:
        yield bytes(kept)


class _Lively:
    """Notices a server that sends a byte now and then, which no time-out between two bytes does."""

    def __init__(self, slow_s: float) -> None:
        self._slow_s = slow_s
        self._clock_s = asyncio.get_running_loop().time
        self._since_s = self._clock_s()
        self._came_b = 0

    def came(self, count_b: int, host: str | None) -> None:
        """Raises _Again where too little has come for too long."""
        self._came_b += count_b
        if (now_s := self._clock_s()) - self._since_s < self._slow_s:
            return
        if self._came_b < _WORTH_B:
            raise _Again(f"{host} sends next to nothing: try again later; what has come is kept.")
        self._since_s, self._came_b = now_s, 0


def _require_size(total_b: int, rules: Rules) -> None:
    if total_b > rules.most_b:
        raise _too_large(rules)


def _too_large(rules: Rules) -> Refused:
    return Refused(
        f"The file is larger than {rules.most_b / 1e9:.0f} GB: use a smaller one, or raise «Largest pushed model» "
        "(model_update_max_gb)."
    )


def _broke(host: str | None) -> str:
    return f"{host} broke off in the middle: try again; what has come is kept."


def _status_error(reply: aiohttp.ClientResponse) -> Exception:
    host, status = reply.url.host, reply.status
    if status in (401, 403):
        return ModelError(
            f"{host} does not hand out this file to everybody (status {status}): check the address."
        )
    if status in (404, 410):
        return ModelError(f"{host} has no such file: check the address.")
    if status == 429 or status >= 500:
        return _Again(f"{host} has trouble (status {status}): try again later; what has come is kept.")
    return ModelError(f"{host} answered with status {status}, which is no file: check the address.")


def _disk_error(error: OSError) -> ModelError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ModelError("The disk is full: make room, then try again; what has come is kept.")
    return ModelError(f"The file cannot be written down: {error.strerror or error}.")
