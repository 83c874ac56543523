"""What updating a model from a large GGUF file costs the gateway: memory, and how fast it goes.

    python -m tests.bench.gguf_update [--gb 5]

A sparse file is served on 127.0.0.1 and fetched by a real gateway process, which hashes it, writes it to its folder and
hands it to a simulator that hashes it again and lets it go. Peak memory is the kernel's own figure (VmHWM).
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.bench.tools import BenchFailed, first_line, gateway, started

FILES = """
import os, socketserver, sys
path = sys.argv[1]
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        while b"\\r\\n\\r\\n" not in self.request.recv(65536):
            pass
        size = os.stat(path).st_size
        self.request.sendall(b'HTTP/1.1 200 OK\\r\\nETag: "one"\\r\\nContent-Length: %d\\r\\n\\r\\n' % size)
        with open(path, "rb") as file:
            self.request.sendfile(file)
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
server = Server(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_address[1]}/model.gguf", flush=True)
server.serve_forever()
"""
SETTINGS = ("model_update_http=true", "model_update_hosts=127.0.0.1")


def measure(gb: float = 5.0) -> dict[str, float]:
    """`grown_mb`: how much the gateway's peak memory grew; `mb_per_s`: the file's size over the whole update;
    `fetch_mb_per_s`: over the fetching alone; `seconds` in all."""
    size_b = int(gb * 1e9)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize < size_b + 2 * 10**9:
            raise BenchFailed(f"{folder} has no room for a file of {gb:g} GB.")
        source = folder / "model.gguf"
        with source.open("wb") as file:
            file.write(b"GGUF\x03\x00\x00\x00")
            file.truncate(size_b)
        arguments = [word for setting in SETTINGS for word in ("--set", setting)]
        with (
            started([sys.executable, "-c", FILES, str(source)]) as files,
            started([sys.executable, "-m", "app.simulator", "--speed", "1000"]) as simulator,
            gateway(folder / "home", "--upstream", first_line(simulator), *arguments) as (
                process,
                connection,
            ),
        ):
            body = {"url": first_line(files), "name": "mine:1"}
            time.sleep(2)  # what a start leaves behind is over
            before_mb = peak_mb(process.pid)
            began = time.monotonic()
            fetched = _update(connection, body, began)
            seconds = time.monotonic() - began
            return {
                "grown_mb": peak_mb(process.pid) - before_mb,
                "mb_per_s": size_b / 1e6 / seconds,
                "fetch_mb_per_s": size_b / 1e6 / fetched,
                "seconds": seconds,
            }


def _update(connection: dict[str, Any], body: dict[str, str], began: float) -> float:
    """Ask for it and follow it to its end; when the file was there, in seconds from the beginning."""
    parts = urlsplit(connection["url"])
    client = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=600)
    client.request(
        "POST",
        "/admin/update-model",
        json.dumps(body),
        {"Authorization": f"Bearer {connection['operator_token']}"},
    )
    reply = client.getresponse()
    fetched = 0.0
    for raw in reply:
        line = json.loads(raw)
        if "error" in line:
            raise BenchFailed(f"The update failed: {line['error']}")
        if line["status"] == "Downloading":
            fetched = time.monotonic() - began
        if line["status"] == "success":
            client.close()
            return fetched
    raise BenchFailed(f"The gateway broke off with status {reply.status}.")


def peak_mb(pid: int) -> float:
    """The most memory that a process has ever had resident, in megabytes (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise BenchFailed(f"Process {pid} has gone.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--gb", type=float, default=5.0)
    print(measure(parser.parse_args().gb))
