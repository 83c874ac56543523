"""The Docker facade's edge, for what a real engine would not do on demand: scripts of cloudflared's log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace

from app.containers.base import (
    Container,
    ContainerError,
    ContainerSpec,
    Daemon,
    DaemonUnreachable,
    Image,
    PullProgress,
)

NATIVE = Daemon(
    url="unix:///run/docker.sock",
    found_by="the socket /run/docker.sock",
    name="Docker",
    version="27.0",
    rootless=False,
    virtual=False,
    nvidia=False,
    host_alias="host.docker.internal",
)
DESKTOP = replace(NATIVE, virtual=True)

STAMP = "2026-11-21T10:00:00Z"
BOX = [
    f"{STAMP} INF Requesting new quick Tunnel on trycloudflare.com...",
    f"{STAMP} INF +--------------------------------------------------------------------------------+",
    f"{STAMP} INF |  Your quick Tunnel has been created! Visit it at (it may take some time):      |",
    f"{STAMP} INF |  https://calm-river-otter-lamp.trycloudflare.com                               |",
    f"{STAMP} INF +--------------------------------------------------------------------------------+",
]
QUICK = "https://calm-river-otter-lamp.trycloudflare.com"


def registered(index: int = 0) -> str:
    return f"{STAMP} INF Registered tunnel connection connIndex={index} connection=176b8eea ip=198.41.192.57"


def lost(index: int = 0) -> str:
    return f"{STAMP} INF Unregistered tunnel connection connIndex={index} event=0 ip=198.41.192.57"


class FakeDocker:
    """Each container that is started plays the next of `scripts` (the last one again and again); a script that ends
    with None ends its container, another goes on until `say` or `die`."""

    def __init__(self, *scripts: list[str | None], daemon: Daemon = NATIVE) -> None:
        self.daemon = daemon
        self.scripts = list(scripts)
        self.images = {"cloudflare/cloudflared:latest"}
        self.made: list[ContainerSpec] = []
        self.there: dict[str, Container] = {}
        self.pulled: list[str] = []
        self.down: ContainerError | None = None
        self._logs: dict[str, asyncio.Queue[str | None]] = {}

    async def find(self) -> FakeDocker:
        if self.down is not None:
            raise self.down
        return self

    async def image(self, reference: str) -> Image | None:
        return Image("sha256:1", (reference,), (), 1) if reference in self.images else None

    async def pull(self, reference: str, on_progress: Callable[[PullProgress], None]) -> Image:
        on_progress(PullProgress(2, 1, 50, 100, "Downloading"))
        self.pulled.append(reference)
        self.images.add(reference)
        return Image("sha256:1", (reference,), (), 1)

    async def list(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        if self.down is not None:
            raise self.down
        return tuple(one for one in self.there.values() if labels.items() <= one.labels.items())

    async def create(self, spec: ContainerSpec) -> Container:
        self.made.append(spec)
        container = Container(
            id=f"id{len(self.made)}",
            name=spec.name,
            image=spec.image,
            image_id="sha256:1",
            labels=spec.labels,
            status="created",
            exit_code=0,
            out_of_memory=False,
            error="",
            started_at="",
            ports={},
            networks=(),
        )
        self.there[container.id] = container
        return container

    async def start(self, container: str) -> None:
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        for line in script:
            queue.put_nowait(line)
        self._logs[container] = queue

    async def remove(self, container: str) -> None:
        if self.there.pop(container, None) is not None and container in self._logs:
            self._logs[container].put_nowait(None)

    async def follow_logs(self, container: str) -> AsyncGenerator[str, None]:
        while (line := await self._logs[container].get()) is not None:
            yield line
        if self.down is not None:
            raise self.down

    def say(self, *lines: str | None) -> None:
        for line in lines:
            self._logs[f"id{len(self.made)}"].put_nowait(line)

    def go_away(self) -> None:
        self.down = DaemonUnreachable("Docker is not running. Start it.")
        self.there.clear()
        self.say(None)
