"""How many requests a second the same aiohttp pass-through proxy answers on Qt's loop and on plain asyncio.

Rule: only the ratio means something. Both proxies are up all the time and `wrk` drives them in turns, so that whatever
else the machine does hits both. Beside the requests per second of the wall clock stands the proxy's own CPU time per
request, which other programs disturb less.

    python tests/bench/loop_ratio.py [--rounds 7] [--seconds 4]

Needs `wrk`; behind the proxies stands nginx, or where there is none a small asyncio server. Linux only (/proc).
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONNECTIONS = 32
REQUEST = (
    b'{"model":"llama3.1:8b","stream":false,"messages":[{"role":"user","content":"Why is the sky blue?"}]}'
)
REPLY = json.dumps(
    {
        "model": "llama3.1:8b",
        "message": {"role": "assistant", "content": "x" * 400},
        "done": True,
        "eval_count": 99,
    }
)


def measure(rounds: int = 7, seconds: float = 4.0) -> dict[str, Any]:
    """Drive both proxies `rounds` times for `seconds` each.

    Returns the medians: `ratio` (requests per second, Qt over plain, taken pair by pair), `ratio_cpu` (plain's CPU
    time per request over Qt's), and for each loop `*_rps` and `*_cpu_us` per request.
    """
    results: dict[str, list[tuple[float, float]]] = {"plain": [], "qt": []}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        script = Path(folder, "post.lua")
        script.write_text(f"wrk.method = 'POST'\nwrk.body = [[{REQUEST.decode()}]]\n")
        upstream = stack.enter_context(_upstream(Path(folder)))
        proxies = {kind: stack.enter_context(_server(kind, upstream)) for kind in results}
        for kind, (_, port) in proxies.items():
            _drive(kind, port, script, 1.0)  # warm
        for _ in range(rounds):
            for kind, (process, port) in proxies.items():
                cpu_before_s = _cpu_s(process.pid)
                answered, per_second = _drive(kind, port, script, seconds)
                results[kind].append((per_second, (_cpu_s(process.pid) - cpu_before_s) / answered * 1e6))
    pairs = list(zip(results["plain"], results["qt"], strict=True))
    figures: dict[str, Any] = {
        "ratio": statistics.median(qt[0] / plain[0] for plain, qt in pairs),
        "ratio_cpu": statistics.median(plain[1] / qt[1] for plain, qt in pairs),
        "ratios": [round(qt[0] / plain[0], 3) for plain, qt in pairs],
    }
    for kind, rows in results.items():
        figures[f"{kind}_rps"] = statistics.median(row[0] for row in rows)
        figures[f"{kind}_cpu_us"] = statistics.median(row[1] for row in rows)
    return figures


def _drive(kind: str, port: int, script: Path, seconds: float) -> tuple[int, float]:
    """Answers received and answers per second; an error of any kind ends the measurement."""
    command = [
        "wrk",
        f"-c{CONNECTIONS}",
        "-t1",
        f"-d{seconds:.0f}s",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}/api/chat",
    ]
    said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True).stdout
    answered, per_second = re.search(r"(\d+) requests in", said), re.search(r"Requests/sec:\s+([\d.]+)", said)
    if answered is None or per_second is None or "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"The run against the {kind} loop failed:\n{said}")
    return int(answered[1]), float(per_second[1])


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- the processes


@contextlib.contextmanager
def _server(kind: str, upstream: str = "") -> Iterator[tuple[subprocess.Popen[str], int]]:
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, str(Path(__file__).resolve()), "--serve", kind, "--upstream", upstream]
    with _ended(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"The {kind} server did not start.")
        yield process, int(line)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        with process:
            try:
                yield process
            finally:
                process.terminate()
                process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


@contextlib.contextmanager
def _upstream(folder: Path) -> Iterator[str]:
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        with _server("fixed") as (_, port):
            yield f"http://127.0.0.1:{port}"
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    temporary = "".join(
        f"  {name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    Path(folder, "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr error;\n"
        f"events {{ worker_connections 1024; }}\nhttp {{\n  access_log off;\n  keepalive_requests 100000000;\n"
        f"  default_type application/json;\n{temporary}"
        f"  server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{REPLY}'; }} }}\n}}\n"
    )
    command = [nginx, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    with _ended(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)):
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"


def _wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 0.1):
            return
        with contextlib.suppress(subprocess.TimeoutExpired), subprocess.Popen(["sleep", "0.02"]) as pause:
            pause.wait(1)
    raise SystemExit("nginx did not start.")


# --- what runs in them


async def _serve(kind: str, upstream: str) -> None:
    from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web

    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    connector = TCPConnector(limit=0)
    async with ClientSession(
        connector=connector, cookie_jar=DummyCookieJar(), auto_decompress=False
    ) as session:

        async def relay(request: web.Request) -> web.Response:
            async with session.post(upstream + request.path, data=await request.read()) as reply:
                return web.Response(
                    status=reply.status, body=await reply.read(), content_type=reply.content_type
                )

        async def fixed(request: web.Request) -> web.Response:
            await request.read()
            return web.Response(text=REPLY, content_type="application/json")

        app = web.Application()
        app.router.add_post("/{path:.*}", fixed if kind == "fixed" else relay)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await over.wait()
        await runner.cleanup()


def _run(kind: str, upstream: str) -> None:
    if kind != "qt":
        asyncio.run(_serve(kind, upstream))
        return
    from PySide6.QtWidgets import QApplication

    from app.desktop.loop import run

    run(lambda: _serve(kind, upstream), QApplication([]))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="The Qt loop against plain asyncio.")
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--seconds", type=float, default=4.0)
    arguments.add_argument("--serve", choices=["plain", "qt", "fixed"], help=argparse.SUPPRESS)
    arguments.add_argument("--upstream", default="", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.serve:
        _run(given.serve, given.upstream)
    else:
        figures = measure(given.rounds, given.seconds)
        for kind in ("plain", "qt"):
            print(
                f"{kind:6} {figures[kind + '_rps']:8.0f} requests/s {figures[kind + '_cpu_us']:8.1f} µs CPU a request"
            )
        print(
            f"ratio  {figures['ratio']:8.3f} of requests/s {figures['ratio_cpu']:8.3f} of CPU   {figures['ratios']}"
        )
