"""Parts that several measurements use: processes that end by themselves, an nginx with fixed replies, wrk, CPU time.

Everything listens on 127.0.0.1, and only processes started here are ended, by their ids.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODEL = "m:latest"
CHAT = {"model": MODEL, "stream": False, "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
ANSWER = {
    "model": MODEL,
    "created_at": "2026-01-01T00:00:00Z",
    "message": {"role": "assistant", "content": "x" * 200},
    "done": True,
    "done_reason": "stop",
    "total_duration": 1_400_000_000,
    "prompt_eval_count": 20,
    "prompt_eval_duration": 50_000_000,
    "eval_count": 128,
    "eval_duration": 1_280_000_000,
}
TAGS = {"models": [{"name": MODEL, "model": MODEL, "size": 1, "digest": "0" * 64, "details": {}}]}


class BenchFailed(Exception):
    """A measurement could not be made; the sentence says why."""


@contextlib.contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A process with its stdout piped, ended at the end: politely, and after 20 s not."""
    process = subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def first_line(process: subprocess.Popen[str]) -> str:
    """What the process says first; BenchFailed where it ends without a word."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise BenchFailed(f"{process.args!r} ended before it was ready.")
    return line.strip()


def tool(name: str) -> str:
    """The path of a program; BenchFailed with the line that installs it."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise BenchFailed(f"{name} is not installed. Run: sudo apt-get install nginx-light wrk")
    return found


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[str]:
    """An engine that costs next to nothing: nginx with the fixed replies a gateway asks for. Its URL."""
    port = free_port()
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    places = "".join(
        f"location = {path} {{ return 200 '{json.dumps(reply)}'; }}"
        for path, reply in (
            ("/api/version", {"version": "0.12.0"}),
            ("/api/tags", TAGS),
            ("/api/ps", {"models": []}),
            ("/api/chat", ANSWER),
        )
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error;"
        f"events {{ worker_connections 1024; }} http {{ access_log off; keepalive_requests 100000000; {temporary}"
        f"default_type application/json; server {{ listen 127.0.0.1:{port}; {places} }} }}"
    )
    with started([tool("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]):
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            if time.monotonic() > deadline:
                raise BenchFailed("nginx did not start.")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def gateway(
    folder: Path, *arguments: str, command: str = "serve", environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A gateway of our own in `folder`, contributing, with room under its cap; its connection line."""
    line = [
        sys.executable, "-m", "app", command, "--port", "0", "--vault", "memory", "--contribute",
        "--print-connection", "--set", "spending_cap=1000000", *arguments,
    ]  # fmt: skip
    home = {"MORTDECAI_HOME": str(folder), "QT_QPA_PLATFORM": "offscreen", **(environment or {})}
    with started(line, home) as process:
        yield process, json.loads(first_line(process))


def wrk(url: str, key: str, folder: Path, *, connections: int, seconds: float) -> dict[str, float]:
    """Drive `url` with CHAT: requests a second, how many in all, and the median latency in milliseconds."""
    script = folder / "post.lua"
    script.write_text(
        f"wrk.method='POST' wrk.body=[[{json.dumps(CHAT)}]]"
        f" wrk.headers['Content-Type']='application/json' wrk.headers['Authorization']='Bearer {key}'"
    )
    said = subprocess.run(
        [tool("wrk"), "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency", "-s", str(script), url],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=True,
    ).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    count = re.search(r"(\d+) requests in", said)
    median = re.search(r"50%\s+([\d.]+)(us|ms|s)", said)
    if not (rate and count and median) or "Non-2xx" in said or "Socket errors" in said:
        raise BenchFailed(f"wrk against {url} failed:\n{said}")
    scale = {"us": 1e-3, "ms": 1.0, "s": 1e3}[median[2]]
    return {"rps": float(rate[1]), "count": float(count[1]), "p50_ms": float(median[1]) * scale}


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory of a process in megabytes (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise BenchFailed(f"Process {pid} has gone.")
