"""A server of one file that can do everything that real ones do wrong; it counts what it sends.

Set its fields before asking. It listens on 127.0.0.1 only.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from dataclasses import dataclass, field
from typing import Any

GGUF = b"GGUF\x03\x00\x00\x00" + bytes(range(256)) * 4000
"""A megabyte that begins as a GGUF file does."""


@dataclass
class FileServer:
    content: bytes = GGUF
    etag: str = '"one"'
    modified: str = ""
    ranges: bool = True
    cut_after_b: list[int] = field(default_factory=list)
    """Of each answer, in turn: after so many bytes of the body the connection is cut."""
    announced_b: int | None = None
    """A Content-Length that is not true."""
    chunked: bool = False
    status: list[int] = field(default_factory=list)
    """Answers without the file, in turn, before it is sent."""
    redirect: str = ""
    """Where the first path, /start, leads on to."""
    stall_after_b: int | None = None
    pause_s: float = 0.0
    """Between pieces of 64 KiB."""
    wrong_range: bool = False
    knows_if_range: bool = True
    """False: it sends the rest of whatever it has by now."""
    extra_b: int = 0
    """So much more than announced at the end of a partial answer."""
    lengthless: bool = False
    """The end of the connection is the end of the file."""
    drips_head_s: float = 0.0
    """Between single bytes of the head of an answer."""
    sent_b: int = 0
    asked: list[dict[str, str]] = field(default_factory=list)
    port: int = 0
    tls: bool = False
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/m.gguf"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    async def start(self, context: ssl.SSLContext | None = None) -> FileServer:
        self.tls = context is not None
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if not await self._answer(head.decode(), writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> bool:
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.asked.append({"path": first.split()[1], **headers})
        if self.redirect and first.split()[1] != "/m.gguf":
            writer.write(
                f"HTTP/1.1 302 Found\r\nLocation: {self.redirect}\r\nContent-Length: 0\r\n\r\n".encode()
            )
            return True
        if self.status:
            writer.write(f"HTTP/1.1 {self.status.pop(0)} No\r\nContent-Length: 0\r\n\r\n".encode())
            return True
        same = f"ETag: {self.etag}\r\n" if self.etag else ""
        same += f"Last-Modified: {self.modified}\r\n" if self.modified else ""
        if headers.get("if-none-match") == self.etag and self.etag:
            writer.write(f"HTTP/1.1 304 Not Modified\r\n{same}\r\n".encode())
            return True
        start = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        same_file = headers.get("if-range") in (self.etag, self.modified) or not self.knows_if_range
        if wanted and self.ranges and same_file:
            start = int(wanted[1]) + (7 if self.wrong_range else 0)
            status, end = "206 Partial Content", len(self.content)
            same += f"Content-Range: bytes {start}-{end - 1}/{end}\r\n"
        else:
            status = "200 OK"
        body = self.content[start:]
        if start:
            body += b"x" * self.extra_b
        length = len(body) if self.announced_b is None else self.announced_b
        framing = "Transfer-Encoding: chunked\r\n" if self.chunked else f"Content-Length: {length}\r\n"
        if self.lengthless:
            framing = "Connection: close\r\n"
        for byte in f"HTTP/1.1 {status}\r\n{same}".encode() if self.drips_head_s else b"":
            writer.write(bytes((byte,)))
            await asyncio.sleep(self.drips_head_s)
        writer.write(f"HTTP/1.1 {status}\r\n{same}{framing}\r\n".encode())
        return await self._send(body, writer)

    async def _send(self, body: bytes, writer: asyncio.StreamWriter) -> bool:
        cut = self.cut_after_b.pop(0) if self.cut_after_b else None
        sent = 0
        while sent < len(body):
            piece = body[sent : sent + 65_536]
            if cut is not None:
                piece = piece[: cut - sent]
            if self.stall_after_b is not None and sent >= self.stall_after_b:
                await asyncio.Event().wait()
            if piece:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece)
                await writer.drain()
            sent += len(piece)
            self.sent_b += len(piece)
            if cut is not None and sent >= cut:
                # What is still in a client's buffers when a connection breaks is lost to it, in real life too.
                await asyncio.sleep(0.1 if cut else 0)
                return False
            if self.pause_s:
                await asyncio.sleep(self.pause_s)
        if self.chunked:
            writer.write(b"0\r\n\r\n")
        return self.announced_b is None and not self.lengthless
