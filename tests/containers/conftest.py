"""A Docker Engine of the tests' own seen through our facade, and an outside world to reach or not to reach."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from app.containers.base import LABEL_PROFILE, ContainerSpec
from app.containers.docker import Docker
from app.containers.find import find_daemon
from tests.real.docker_engine import Engine, until
from tests.real.docker_images import Images, layered
from tests.real.docker_registry import Registry

OURS = {LABEL_PROFILE: "test"}
NOISE_B = (3_000_000, 5_000_000, 16_000_000, 2_000_000)


def spec(name: str, image: str, **more: Any) -> ContainerSpec:
    """A spec with our label."""
    return ContainerSpec(name=name, image=image, labels=OURS, **more)


def no_threads_left(name: str) -> None:
    """Wait until no thread of this name runs."""
    until(
        lambda: not any(thread.name == name for thread in threading.enumerate()), f"threads called {name} end"
    )


@pytest.fixture
async def docker(dockerd: Engine) -> AsyncIterator[Docker]:
    """The facade; what a test made in the engine is removed after it."""
    dockerd.start()
    found = await find_daemon(dockerd.socket)
    yield found
    await found.close()
    dockerd.clean()


@pytest.fixture(scope="session")
def layers(dockerd: Engine, images: Images, registry: Registry) -> str:
    """The reference of an image with four layers of noise on top of one that is here; only the registry has it."""
    layered(dockerd.client, "mortdecai-test/layers:latest", list(NOISE_B), images.deaf)
    reference = registry.push("mortdecai-test/layers:latest", "test/layers:1.0")
    dockerd.client.images.remove("mortdecai-test/layers:latest")
    return reference


@pytest.fixture
def pulled_never(dockerd: Engine, layers: str, registry: Registry) -> Iterator[str]:
    """`layers`, which is not here before the test nor after it; the way to the registry is open again after it."""
    yield layers
    registry.throttle()
    dockerd.start()
    if any(layers in image.tags for image in dockerd.client.images.list()):
        dockerd.client.images.remove(layers, force=True)


@dataclass(frozen=True)
class Outside:
    """A TCP server in a network namespace: not this host, one hop away."""

    host: str
    port: int


_SERVER = """
import socket, sys
server = socket.create_server((sys.argv[1], 8099))
print("listens", flush=True)
while True:
    line, _ = server.accept()
    line.sendall(b"outside")
    line.close()
"""


@pytest.fixture(scope="session")
def outside(dockerd: Engine) -> Iterator[Outside]:
    """A neighbour of this host that knows none of Docker's addresses."""
    number, name = dockerd.slot % 64, f"md{dockerd.slot}"
    here, there = f"10.213.0.{4 * number + 1}", f"10.213.0.{4 * number + 2}"

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    ip("netns", "add", name)
    process = None
    try:
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        ip("addr", "add", f"{here}/30", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        ip("-n", name, "addr", "add", f"{there}/30", "dev", f"{name}b")
        ip("-n", name, "link", "set", f"{name}b", "up")
        command = ["ip", "netns", "exec", name, sys.executable, "-c", _SERVER, there]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"listens\n"
        yield Outside(there, 8099)
    finally:
        if process is not None:
            process.terminate()
            process.wait(timeout=10)
            process.stdout.close()  # type: ignore[union-attr]
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
        subprocess.run(["ip", "link", "del", f"{name}a"], capture_output=True)
