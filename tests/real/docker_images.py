"""Small images that stand for `ollama/ollama` and `cloudflare/cloudflared`, made once a test run and never pulled.

The simulator listens where OLLAMA_HOST says (by default 0.0.0.0:11434, like the real image) and computes
SIMULATOR_SPEED times as fast as a GPU (default 200). The tunnel reads what cloudflared reads (`--url`, `--token`,
TUNNEL_TOKEN, `--metrics`, TUNNEL_METRICS) and QUICK_ADDRESS, the address it says it was given.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import docker

from tests.real.docker_engine import Engine
from tests.real.docker_rootfs import PYTHON, make_rootfs

QUICK_ADDRESS = "https://calm-river-otter-lamp.trycloudflare.com"

SIMULATOR = """
import os, runpy, sys
host, _, port = os.environ.get("OLLAMA_HOST", "0.0.0.0:11434").rpartition("://")[2].rpartition(":")
if not host:
    host, port = port, "11434"
sys.path.insert(0, "/code")
sys.argv = ["simulator", "--host", host, "--port", port, "--speed", os.environ.get("SIMULATOR_SPEED", "200"),
            "--parallel", os.environ.get("OLLAMA_NUM_PARALLEL", "1")]
if '"--models"' in open("/code/app/simulator/__main__.py").read():
    sys.argv += ["--models", "/root/.ollama"]
runpy.run_module("app.simulator", run_name="__main__")
"""

CRASHING = """
import sys
print("Error: the library libcudart.so cannot be loaded", file=sys.stderr, flush=True)
sys.exit(1)
"""

DEAF = """
import signal, sys
print("waiting for nothing", flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    signal.pause()
"""

CLOUDFLARED = """
import argparse, http.server, json, os, signal, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--url", default=os.environ.get("TUNNEL_URL", ""))
parser.add_argument("--token", default=os.environ.get("TUNNEL_TOKEN", ""))
parser.add_argument("--metrics", default=os.environ.get("TUNNEL_METRICS", "0.0.0.0:20241"))
options, rest = parser.parse_known_args()

def say(level, text):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(stamp, level, text, file=sys.stderr, flush=True)

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if rest and rest[0] == "version":
    print("cloudflared version 2026.10.0 (built 2026-10-07-10:05 UTC)")
    sys.exit(0)
if "run" in rest or options.token:
    if not options.token.startswith("eyJ"):
        print("Provided Tunnel token is not valid.", file=sys.stderr)
        sys.exit(255)
    say("INF", "Starting tunnel tunnelID=c4a1c6e2-7a6f-4f6f-9d3c-52f2f4fd2a11")
    connections = 4
else:
    say("INF", "Thank you for trying Cloudflare Tunnel. Doing so, without a Cloudflare account, is a quick way to"
               " experiment and try it out.")
    say("INF", "Requesting new quick Tunnel on trycloudflare.com...")
    address = os.environ.get("QUICK_ADDRESS", "@ADDRESS@")
    if not address:
        print('failed to request quick Tunnel: Post "https://api.trycloudflare.com/tunnel": dial tcp: lookup'
              " api.trycloudflare.com: no such host", file=sys.stderr)
        sys.exit(1)
    rule = "+" + "-" * 92 + "+"
    for line in (rule, "|  Your quick Tunnel has been created! Visit it at (it may take some time to be reachable):  |",
                 "|  " + address.ljust(90) + "|", rule):
        say("INF", line)
    connections = 1
say("INF", "Version 2026.10.0")
say("INF", "GOOS: linux, GOVersion: go1.25.1, GoArch: amd64")
say("INF", "Generated Connector ID: 6f5bd919-1c79-4e2a-96db-65962c321200")
say("INF", "Initial protocol quic")

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": 200, "readyConnections": connections,
                           "connectorId": "6f5bd919-1c79-4e2a-96db-65962c321200"}).encode()
        self.send_response(200 if self.path == "/ready" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

host, _, port = options.metrics.rpartition(":")
server = http.server.ThreadingHTTPServer((host, int(port)), Ready)
say("INF", f"Starting metrics server on [::]:{port}/metrics")
for number in range(connections):
    say("INF", f"Registered tunnel connection connIndex={number} connection=176b8eea-5689-4d5e-9873-1d3f0c1a0f4{number}"
               f" event=0 ip=198.41.192.{57 + number} location=fra0{number} protocol=quic")
server.serve_forever()
""".replace("@ADDRESS@", QUICK_ADDRESS)

ENTRIES = {
    "simulator.py": SIMULATOR,
    "crashing.py": CRASHING,
    "deaf.py": DEAF,
    "cloudflared.py": CLOUDFLARED,
}


@dataclass(frozen=True, slots=True)
class Images:
    """References of the images in the engine."""

    base: str
    """The root file system; its command is Python."""
    simulator: str
    crashing: str
    """Says one line and ends with 1."""
    deaf: str
    """Runs and listens nowhere."""
    cloudflared: str


def build_images(engine: Engine) -> Images:
    """Import the root file system and name what is made of it."""
    with tempfile.TemporaryDirectory(prefix="md-rootfs-") as folder:
        tar = Path(folder) / "rootfs.tar"
        make_rootfs(tar, ENTRIES)
        base = "mortdecai-test/base:latest"
        _import(engine.client, tar, base)
    changes = {
        "simulator": ["EXPOSE 11434", "ENV OLLAMA_HOST=0.0.0.0:11434", "CMD serve"],
        "crashing": [],
        "deaf": [],
        "cloudflared": ["CMD version"],
    }
    named = {}
    made = engine.client.api.create_container(base)
    try:
        for name, more in changes.items():
            entry = f'ENTRYPOINT ["{PYTHON}", "/entry/{name}.py"]'
            repository = f"mortdecai-test/{name}"
            engine.client.api.commit(made["Id"], repository, "latest", changes=[entry, *more])
            named[name] = f"{repository}:latest"
    finally:
        engine.client.api.remove_container(made["Id"])
    return Images(base=base, **named)


def _import(client: docker.DockerClient, tar: Path, reference: str) -> None:
    repository, _, tag = reference.partition(":")
    said = client.api.import_image_from_file(
        str(tar),
        repository,
        tag,
        changes=[
            "ENV PYTHONHOME=/python PYTHONDONTWRITEBYTECODE=1 LD_LIBRARY_PATH=/python/so PATH=/python/bin:/bin",
            f'CMD ["{PYTHON}"]',
            "WORKDIR /root",
        ],
    )
    assert "error" not in str(said).lower(), said


def layered(client: docker.DockerClient, reference: str, sizes_b: list[int], base: str) -> None:
    """Make an image of `base` with a layer of noise on top for each size: noise, so that no compression shrinks it."""
    repository, _, tag = reference.rpartition(":")
    for number, size_b in enumerate(sizes_b):
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            entry = tarfile.TarInfo(f"noise-{number}")
            entry.size = size_b
            archive.addfile(entry, io.BytesIO(os.urandom(size_b)))
        made = client.api.create_container(base, command=["none"])
        client.api.put_archive(made["Id"], "/", tar.getvalue())
        base = client.api.commit(made["Id"], repository, tag)["Id"]
        client.api.remove_container(made["Id"])
