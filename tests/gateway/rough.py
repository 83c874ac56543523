"""Bytes that no client library would send, over connections of their own, and what came back of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import random
import re
import ssl
from dataclasses import dataclass

from yarl import URL

from app.proxy.connection import Connection
from app.proxy.jobs import Job
from app.proxy.manners import Request
from tests.gateway.conftest import House, chat
from tests.gateway.speaking import ASKED, body

ENDS_WITHIN_S = 60.0
"""A bound against hanging, far above what the slowest machine needs; the gateway's own are a second or two."""
SPARE = 8
"""Connections to the engine and to our own client that are kept for the next request."""
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3}) ")


async def exchange(
    house: House, *pieces: bytes, half_close: bool = True, tls: ssl.SSLContext | None = None
) -> list[int]:
    """Send `pieces`, one after the other; every status that came back. See `heard_of`."""
    heard = await heard_of(house, *pieces, half_close=half_close, tls=tls)
    return [int(status) for status in _STATUS.findall(heard) if status != b"100"]


def told(heard: bytes) -> tuple[int, bytes]:
    """The status and the body of the one answer that was heard, whose body has come in one piece."""
    head, _, rest = heard.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100 "):
        return told(rest)
    found = _STATUS.match(head + b" ")
    return (int(found[1]) if found else 0), rest


async def heard_of(
    house: House, *pieces: bytes, half_close: bool = True, tls: ssl.SSLContext | None = None
) -> bytes:
    """Send `pieces`, one after the other; all that came back until the gateway closed the connection.

    Fails where it never does. Interim answers, by which the gateway asks whether somebody is there, do not count.
    TLS cannot be closed in one direction alone, so there the gateway waits for what is missing.
    """
    url = URL(house.gateway.address)
    reader, writer = await asyncio.open_connection(url.host, url.port, ssl=tls)
    heard = b""
    try:
        async with asyncio.timeout(ENDS_WITHIN_S):
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                if half_close and writer.can_write_eof():
                    writer.write_eof()
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65_536):
                    heard += data
    finally:
        writer.close()
    return heard


def of_tls(encrypted: bool) -> ssl.SSLContext | None:
    """A client's side of it that takes any certificate."""
    if not encrypted:
        return None
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return tls


def request(
    house: House, *lines: str, path: str = "/api/chat", sent: bytes | None = None, version: str = "1.1"
) -> bytes:
    """A whole POST with the key, `lines` among its headers; its length is left to the lines where they say one."""
    sent = json.dumps(chat(stream=False)).encode() if sent is None else sent
    said = [f"POST {path} HTTP/{version}", "Host: localhost", f"Authorization: Bearer {house.key}", *lines]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
        said.append(f"Content-Length: {len(sent)}")
    said.append("Connection: close")
    return "\r\n".join(said).encode("latin-1") + b"\r\n\r\n" + sent


TOKENS = (
    b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"\x7f", b"\xff\xfe", b"\xc3\x28", b"%00", b"%",
    b"../", b"//", b"?", b"#", b"Content-Length: 0\r\n", b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked, chunked\r\n", b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Connection: keep-alive\r\n", b"Host: evil\r\n",
    b"Content-Encoding: gzip\r\n", b"Authorization: Basic Og==\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n",
    b"{", b"[" * 300, b'"', b"1e999", b"1" * 400, b"\\ud800",
    b'"model":', b"null", b"HTTP/1.0", b"HTTP/2.0", b"x" * 9000,
)  # fmt: skip


def mangled(house: House, chance: random.Random) -> tuple[bytes, ...]:
    """A valid request with a few mistakes in it, in a few pieces."""
    path = chance.choice(
        [*ASKED, "/v1/messages/count_tokens", "/api/show", "/api/tags", "/v1/models/x", "/stats"]
    )
    sent = json.dumps(body(path) if path in ASKED else chat(stream=False)).encode()
    if chance.random() < 0.3:
        cut = chance.randrange(len(sent))
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (sent[:cut], sent[cut:]) if part)
        whole = request(house, "Transfer-Encoding: chunked", path=path, sent=chunks + b"0\r\n\r\n")
    else:
        whole = request(house, path=path, sent=sent)
    return in_pieces(spoilt(whole, chance), chance)


def spoilt(whole: bytes, chance: random.Random) -> bytes:
    """`whole` with one to four mistakes in it, and now and then without its end."""
    raw = bytearray(whole)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(raw) + 1)
        match chance.randrange(5):
            case 0:
                raw[at:at] = chance.choice(TOKENS)
            case 1:
                del raw[at : at + chance.randint(1, 8)]
            case 2:
                raw[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                again = chance.randrange(len(raw) + 1)
                raw[at:at] = raw[again : again + chance.randint(1, 80)]
            case _:
                lines = raw.split(b"\r\n")
                lines.insert(chance.randrange(len(lines)), chance.choice(lines))
                raw = bytearray(b"\r\n".join(lines))
    if chance.random() < 0.1:
        del raw[chance.randrange(len(raw)) :]
    return bytes(raw)


def in_pieces(raw: bytes, chance: random.Random) -> tuple[bytes, ...]:
    """`raw` in one piece or two, cut wherever it falls."""
    cut = chance.randrange(len(raw) + 1)
    return tuple(piece for piece in (raw[:cut], raw[cut:]) if piece)


@dataclass(frozen=True)
class Kept:
    """What a process holds of connections that have ended."""

    descriptors: int
    objects: int

    @classmethod
    def now(cls) -> Kept:
        """Descriptors of this process, and connections, requests and jobs that something still refers to."""
        gc.collect()
        objects = sum(isinstance(each, Connection | Request | Job) for each in gc.get_objects())
        return cls(len(os.listdir("/proc/self/fd")), objects)


async def comes_down_to(before: Kept) -> None:
    """Wait until nothing more is held than before; fails where that never happens."""
    async with asyncio.timeout(ENDS_WITHIN_S):
        while True:
            now = Kept.now()
            # The engine's connections that are kept for the next request.
            if now.objects <= before.objects and now.descriptors <= before.descriptors + SPARE:
                return
            await asyncio.sleep(0.05)
