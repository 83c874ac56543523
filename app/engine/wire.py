"""Every connection to one engine: HTTP/1.1 as a client, cut down to what asking an engine needs.

Rule 1: nothing of a request is sent twice. A kept connection that the engine has closed is found out before anything
is written to it, or by the kernel taking nothing; only then is another one used.
Rule 2: nothing but what HTTP needs goes to the engine: the host, the length, and that the body is JSON.

It stands in place of aiohttp's client because it is the hot path of the whole gateway, and a POST round trip costs
aiohttp's session more than three times the CPU (tests/engine/bench_wire.py measures both): for redirects, cookies,
proxies, tracing and a task for every body, none of which an engine needs. It runs on any asyncio loop.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from urllib.parse import SplitResult, quote, urlsplit

from app.engine.base import EngineBroken, EngineTimeout, EngineUnreachable
from app.engine.line import Answer, Line

_KEEP_S = 4.0
"""How long an unused connection is kept: shorter than the 5 s of uvicorn, llama-server and Node."""

_TICKS = 10
"""How finely silence is measured: in tenths of what is allowed."""

_PATHS = 64
"""Request heads remembered; more paths than that are somebody's ids, not endpoints."""


class Wire:
    """Asks one engine, over as many connections as there are requests at once.

    `silence_s`: how long the engine may say nothing while it owes an answer, to within a tenth; `connect_s`: how long
    a connection may take to come about; `keep_s`: how long an unused one is kept. Raises ValueError on an address
    that is none.
    """

    def __init__(
        self, url: str, *, silence_s: float = 600.0, connect_s: float = 5.0, keep_s: float = _KEEP_S
    ) -> None:
        parts = _address(url)
        secure = parts.scheme == "https"
        self.url = url.rstrip("/")
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if secure else 80)
        self._ssl = ssl.create_default_context() if secure else None
        self._target = parts.path.rstrip("/")
        self._host_header = parts.netloc
        self._silence_s = silence_s
        self._connect_s = connect_s
        self._keep_s = keep_s
        self._tick_s = min(silence_s / _TICKS, keep_s / 2)
        self._allowed_ticks = round(silence_s / self._tick_s)
        self._heads: dict[str, bytes] = {}
        self._idle: deque[Line] = deque()
        self._busy: set[Line] = set()
        self._lines: set[Line] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def post(self, path: str, body: bytes) -> Answer:
        """Send `body` as JSON to `path`; gives the answer as soon as its status line is there.

        Raises EngineUnreachable, EngineBroken, EngineTimeout.
        """
        return await self._ask(
            b"%b%d\r\n\r\n%b" % (self._heads.get(path) or self._post_head(path), len(body), body)
        )

    async def get(self, path: str) -> Answer:
        """Like `post`, without a body."""
        return await self._ask(self._head("GET", path) + b"\r\n")

    async def close(self) -> None:
        """Close every connection, also those with an answer under way, which then fails with EngineBroken."""
        self._closed = True
        for line in list(self._lines):
            line.fail(EngineBroken("The gateway closed its connections to the engine."))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # A transport closes its socket one turn of the loop after abort(); with TLS it may take another.
        for _ in range(3):
            await asyncio.sleep(0)

    async def _ask(self, request: bytes) -> Answer:
        answer = Answer(asyncio.get_running_loop())
        line = self._kept(answer.loop.time())
        if line is None or not line.ask(answer, request):
            # Where a kept line took nothing, nothing has been sent: this is the one other try.
            line = await self._connect()
            if not line.ask(answer, request):
                line.drop()
                raise EngineUnreachable(f"The engine at {self.url} closes connections at once: see its log.")
        self._busy.add(line)
        if self._timer is None:
            self._timer = answer.loop.call_later(self._tick_s, self._tick)
        await answer.head()
        return answer

    def _kept(self, now_s: float) -> Line | None:
        """The connection used last that is still good."""
        idle = self._idle
        while idle:
            line = idle.pop()
            if now_s - line.idle_since_s < self._keep_s and line.is_fresh():
                return line
            line.drop()
        return None

    async def _connect(self) -> Line:
        if self._closed:
            raise EngineUnreachable("The gateway has closed its connections to the engine.")
        at = f"The engine at {self.url}"
        try:
            async with asyncio.timeout(self._connect_s):
                _, line = await asyncio.get_running_loop().create_connection(
                    lambda: Line(self), self._host, self._port, ssl=self._ssl
                )
        except TimeoutError as error:
            why = f"{at} accepted no connection within {self._connect_s:g} s: check its address."
            raise EngineUnreachable(why) from error
        except ConnectionRefusedError as error:
            why = f"Nothing listens at {self.url}: start the engine, or correct its address."
            raise EngineUnreachable(why) from error
        except ssl.SSLError as error:
            why = f"{at} could not prove who it is ({error.reason}): check its certificate."
            raise EngineUnreachable(why) from error
        except OSError as error:
            # asyncio has no one number for several addresses that failed in different words.
            reason = f"no address of {self._host} answers" if error.errno is None else error.strerror
            if error.errno is not None and error.errno > 0:
                reason = os.strerror(error.errno)
            why = f"{at} cannot be reached ({reason}): start the engine, or correct its address."
            raise EngineUnreachable(why) from error
        self._lines.add(line)
        return line

    def _post_head(self, path: str) -> bytes:
        """All of a POST's head before the length."""
        head = self._head("POST", path) + b"Content-Type: application/json\r\nContent-Length: "
        if len(self._heads) < _PATHS:
            self._heads[path] = head
        return head

    def _head(self, method: str, path: str) -> bytes:
        target = quote(self._target + path, safe="/:@!$&'()*+,;=?%-._~")
        return f"{method} {target} HTTP/1.1\r\nHost: {self._host_header}\r\n".encode("ascii")

    def _tick(self) -> None:
        """End answers that went silent and connections that nobody uses; stops once there are none."""
        loop = asyncio.get_running_loop()
        for line in list(self._busy):
            if not line.paused:
                line.silent_ticks += 1
                if line.silent_ticks > self._allowed_ticks:
                    why = f"The engine at {self.url} has said nothing for {self._silence_s:g} s: see its log."
                    line.fail(EngineTimeout(why))
        unused_since_s = loop.time() - self._keep_s
        while self._idle and self._idle[0].idle_since_s <= unused_since_s:
            self._idle.popleft().drop()
        self._timer = loop.call_later(self._tick_s, self._tick) if self._busy or self._idle else None

    def rested(self, line: Line, *, reusable: bool) -> None:
        """A line's answer has ended well (for `line.Owner`)."""
        self._busy.discard(line)
        if reusable and not line.transport.is_closing():
            line.idle_since_s = asyncio.get_running_loop().time()
            self._idle.append(line)
        else:
            line.transport.close()

    def lost(self, line: Line) -> None:
        """A line is no more (for `line.Owner`); said twice where we close it ourselves."""
        self._lines.discard(line)
        self._busy.discard(line)
        if line in self._idle:
            self._idle.remove(line)

    def broken(self, why: str) -> EngineBroken:
        """The error for an answer that failed because of `why` (for `line.Owner`)."""
        return EngineBroken(f"The engine at {self.url} failed: {why}; see its log.")


def _address(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        fits = (
            parts.scheme in ("http", "https")
            and parts.hostname
            and parts.netloc.isascii()
            and parts.port != 0
        )
        if fits and parts.username is None and not parts.query and not parts.fragment:
            return parts
    except ValueError:
        # urlsplit's own words are about parts of addresses; ours show a whole one.
        pass
    raise ValueError(f"{url!r} is not an engine's address: it must look like http://127.0.0.1:11434.")
