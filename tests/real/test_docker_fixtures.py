"""The real Docker Engine that tests use is what they take it for."""

from __future__ import annotations

import http.client
import json

from tests.real.docker_engine import Engine, until
from tests.real.docker_images import QUICK_ADDRESS, Images
from tests.real.docker_registry import Registry, pull_all

HARDENED = {
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "init": True,
    "detach": True,
}


def get(port: int, path: str) -> bytes:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        line.request("GET", path)
        return line.getresponse().read()
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        line.close()


def port_of(container: object) -> int:
    container.reload()  # type: ignore[attr-defined]
    ports = container.ports  # type: ignore[attr-defined]
    return int(next(iter(ports.values()))[0]["HostPort"])


def test_the_simulator_answers_as_ollama_on_a_published_port(dockerd: Engine, images: Images) -> None:
    container = dockerd.client.containers.run(
        images.simulator, ports={"11434/tcp": ("127.0.0.1", None)}, **HARDENED
    )
    try:
        port = port_of(container)
        until(lambda: b"version" in get(port, "/api/version"), "the simulator answers")
        assert "models" in json.loads(get(port, "/api/tags"))
    finally:
        container.remove(force=True)


def test_the_others_crash_stay_deaf_and_name_an_address(dockerd: Engine, images: Images) -> None:
    run = dockerd.client.containers.run
    crashing, deaf = run(images.crashing, **HARDENED), run(images.deaf, **HARDENED)
    tunnel = run(
        images.cloudflared, ["tunnel", "--url", "http://x"], ports={20241: ("127.0.0.1", None)}, **HARDENED
    )
    try:
        assert crashing.wait(timeout=20)["StatusCode"] == 1
        assert b"libcudart" in crashing.logs()
        port = port_of(tunnel)
        until(lambda: b'"readyConnections": 1' in get(port, "/ready"), "the tunnel is ready")
        assert QUICK_ADDRESS.encode() in tunnel.logs()
        deaf.reload()
        assert deaf.status == "running"
        deaf.stop(timeout=10)
        deaf.reload()
        assert deaf.attrs["State"]["ExitCode"] == 0
    finally:
        for container in (crashing, deaf, tunnel):
            container.remove(force=True)


def test_the_registry_gives_back_what_was_pushed(dockerd: Engine, images: Images, registry: Registry) -> None:
    reference = registry.push(images.deaf, "stand-in/deaf")
    before = registry.carried_b
    pull_all(dockerd.client, reference)
    assert registry.carried_b > before
    assert dockerd.client.images.get(reference).id == dockerd.client.images.get(images.deaf).id
    dockerd.client.images.remove(reference)


def test_the_engine_can_be_stopped_and_started(dockerd: Engine, images: Images) -> None:
    dockerd.stop()
    assert not dockerd.running
    dockerd.start()
    assert dockerd.client.images.get(images.deaf)
    dockerd.reload()
    until(lambda: "Reloaded configuration" in dockerd.log, "the engine has reloaded")
