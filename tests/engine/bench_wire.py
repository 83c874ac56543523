"""What a round trip to an engine costs, beside aiohttp's client and beside the least that asyncio can do.

    python tests/engine/bench_wire.py [requests] [connections]

A server of a few lines, in a process of its own, answers every POST with one fixed reply of Ollama's size. Each client
sends the same requests over the same number of connections; the best of three runs counts. The figure to compare is
the CPU time of this process, which other work on the machine disturbs less than the rate.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[2]))

from app.engine.ollama import OllamaEngine

BODY = b'{"model":"llama3.1:8b","messages":[{"role":"user","content":"hello there, how are you"}],"stream":false}'

SERVER = r"""
import asyncio
BODY = (b'{"model":"llama3.1:8b","created_at":"2026-11-20T16:34:00.123456789Z","message":{"role":"assistant",'
        b'"content":"%b"},"done":true,"done_reason":"stop","total_duration":1400000000,"load_duration":1000000,'
        b'"prompt_eval_count":20,"prompt_eval_duration":50000000,"eval_count":20,"eval_duration":1280000000}'
        % (b"x" * 80))
REPLY = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nDate: Fri, 20 Nov 2026 16:34:00 GMT\r\n"
         b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY))
FRAME = (b'{"model":"llama3.1:8b","created_at":"2026-11-20T16:34:00.1Z","message":{"role":"assistant",'
         b'"content":" token"},"done":false}\n')
CHUNK = b"%x\r\n%b\r\n" % (len(FRAME), FRAME)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"

async def stream(transport):
    transport.write(HEAD)
    for _ in range(200):
        transport.write(CHUNK)
        await asyncio.sleep(0.001)
    transport.write(b"0\r\n\r\n")

class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.rest = transport, b""
    def data_received(self, data):
        self.rest += data
        while True:
            head, end, rest = self.rest.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if not end or len(rest) < length:
                return
            self.rest = rest[length:]
            if head.startswith(b"POST /stream"):
                self.task = asyncio.ensure_future(stream(self.transport))
            else:
                self.transport.write(REPLY)

async def main():
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

try:
    import uvloop as loops
except ImportError:
    loops = asyncio
loops.run(main())
"""

Ask = Callable[[], Awaitable[object]]


async def measure(
    name: str, ask: Ask, requests: int, connections: int, unit: str = "request", per: int = 1
) -> None:
    """Print the CPU time of one `unit`, of which each call of `ask` makes `per`, and how many come in a second."""

    async def one(count: int) -> None:
        for _ in range(count):
            await ask()

    async def all_of_them(count: int) -> None:
        await asyncio.gather(*(one(count // connections) for _ in range(connections)))

    await all_of_them(max(connections, requests // 10))
    best_us, rate = float("inf"), 0.0
    for _ in range(3):
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        await all_of_them(requests)
        cpu_us = (time.process_time() - cpu_s) / requests / per * 1e6
        if cpu_us < best_us:
            best_us, rate = cpu_us, requests * per / (time.perf_counter() - wall_s)
    print(f"{name:52} {best_us:7.1f} µs CPU a {unit} {rate:9.0f} /s", flush=True)


class Least(asyncio.Protocol):
    """The least that asyncio can do: one write, one read, one future."""

    transport: asyncio.Transport
    answer: asyncio.Future[bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.answer.set_result(data)


async def compare(port: int, requests: int, connections: int) -> None:
    url = f"http://127.0.0.1:{port}"
    headers = {"Content-Type": "application/json"}

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def naive() -> object:
            async with session.post(f"{url}/api/chat", data=BODY, headers=headers) as reply:
                return await reply.read()

        await measure("aiohttp ClientSession, as in its manual", naive, requests, connections)

        async def naive_stream() -> object:
            async with session.post(f"{url}/stream", data=BODY, headers=headers) as reply:
                return [chunk async for chunk in reply.content.iter_any()]

        await measure("  streaming 200 chunks", naive_stream, 4 * connections, connections, "chunk", 200)

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=600)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, timeout=timeout
    ) as session:
        target = aiohttp.client.URL(f"{url}/api/chat")

        async def tuned() -> object:
            reply = await session.post(target, data=BODY, headers=headers, allow_redirects=False)
            return await reply.read()

        await measure("aiohttp ClientSession, tuned", tuned, requests, connections)

    engine = OllamaEngine(url)

    async def ours() -> object:
        reply = await engine.post("/api/chat", BODY)
        try:
            return await reply.read()
        finally:
            reply.release()

    await measure("OllamaEngine", ours, requests, connections)

    async def ours_stream() -> object:
        reply = await engine.post("/stream", BODY)
        try:
            return [chunk async for chunk in reply.chunks()]
        finally:
            reply.release()

    await measure("  streaming 200 chunks", ours_stream, 4 * connections, connections, "chunk", 200)
    await engine.close()

    loop = asyncio.get_running_loop()
    request = b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    idle: list[Least] = []

    async def least() -> object:
        line = idle.pop() if idle else (await loop.create_connection(Least, "127.0.0.1", port))[1]
        line.answer = loop.create_future()
        line.transport.write(request)
        answer = await line.answer
        idle.append(line)
        return answer

    await measure("the least that asyncio can do", least, requests, connections)
    for line in idle:
        line.transport.abort()
    await asyncio.sleep(0)


def main() -> None:
    """Start the server, compare, stop the server."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    connections = int(sys.argv[2]) if len(sys.argv) > 2 else 32
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            asyncio.run(compare(int(server.stdout.readline()), requests, connections))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
