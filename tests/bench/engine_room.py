"""The engine in Docker and giving the GPU back: two waits that a contributor or a client feels.

`start_s`: from telling a paused gateway to contribute, with its container there but stopped, to the first token of a
client's request, less the time that the container's own engine took from its start to the same token asked directly.
`release_s`: from «pause» to «released», with a model of the simulator in memory.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.bench.tools import BenchFailed, gateway, tool
from tests.real.docker_engine import Engine, EngineFailed
from tests.real.docker_images import build_images

MODEL = "qwen2.5:3b"


def measure(rounds: int = 3) -> dict[str, float]:
    """`release_s`, and with a Docker Engine `start_s`, `engine_s` and their difference `added_s`; medians."""
    seen = {"release_s": _median([_release_s() for _ in range(rounds)])}
    try:
        engine = Engine(tool("dockerd"))
        engine.start()
    except (OSError, EngineFailed) as error:
        raise BenchFailed(f"no Docker Engine can be started here: {error}") from None
    try:
        pairs = _starts(engine, rounds)
    finally:
        engine.close()
    seen["start_s"] = _median([whole for whole, _ in pairs])
    seen["engine_s"] = _median([own for _, own in pairs])
    seen["added_s"] = seen["start_s"] - seen["engine_s"]
    return seen


def _release_s() -> float:
    with tempfile.TemporaryDirectory() as name, gateway(Path(name), "--simulate") as (_, connection):
        _first_token(connection["url"], connection["api_key"])
        began = time.monotonic()
        answer = _ask(connection["url"], connection["operator_token"], "/admin/pause", {"wait": True})
        took_s = time.monotonic() - began
    if "Released" not in (answer["notice"] or ""):
        raise BenchFailed(f"The pause released nothing: {answer}")
    return took_s


def _starts(engine: Engine, rounds: int) -> list[tuple[float, float]]:
    image = build_images(engine).simulator
    with tempfile.TemporaryDirectory() as name:
        settings = [
            "--set", "engine=container", "--set", f"engine_image={image}", "--set", f"docker_host={engine.socket}",
        ]  # fmt: skip
        with gateway(Path(name), *settings) as (_, connection):
            url, key, operator = connection["url"], connection["api_key"], connection["operator_token"]
            _until_serving(url)
            for _ in _lines(url, operator, "/admin/models/pull", {"model": MODEL}):
                pass
            pairs = []
            for _ in range(rounds):
                # The gateway stops it both times: what ends by itself it would bring up again.
                _ask(url, operator, "/admin/engine", {"verb": "stop"})
                whole_s = _gateway_start_s(url, key, operator)
                _ask(url, operator, "/admin/engine", {"verb": "stop"})
                pairs.append((whole_s, _engine_start_s(engine)))
            return pairs


def _gateway_start_s(url: str, key: str, operator: str) -> float:
    began = time.monotonic()
    _ask(url, operator, "/admin/resume", {})
    _until_serving(url)
    _first_token(url, key)
    return time.monotonic() - began


def _engine_start_s(engine: Engine) -> float:
    """The same container, started and asked without a gateway."""
    (container,) = engine.client.containers.list(all=True)
    began = time.monotonic()
    container.start()
    container.reload()
    port = container.attrs["HostConfig"]["PortBindings"]["11434/tcp"][0]["HostPort"]
    url = f"http://127.0.0.1:{port}"
    while True:
        try:
            _first_token(url, "")
            return time.monotonic() - began
        except OSError:
            time.sleep(0.01)


def _until_serving(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as reply:
            if json.load(reply)["accepting"]:
                return
        if time.monotonic() > deadline:
            raise BenchFailed("The gateway did not begin to serve.")
        time.sleep(0.01)


def _first_token(url: str, key: str) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    for _ in _lines(url, key, "/api/chat", body):
        return


def _lines(url: str, key: str, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        url + path,
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        yield from reply


def _ask(url: str, key: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(b"".join(_lines(url, key, path, body))))


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    print(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
