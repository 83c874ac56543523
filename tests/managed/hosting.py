"""A managed engine on a real daemon, with all that it ever said of itself, and images that stand for odd engines."""

from __future__ import annotations

import asyncio
import io
import itertools
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import docker
import pytest

from app.containers.docker import Docker
from app.containers.find import find_daemon
from app.engine.host import HostPhase, HostState
from app.engine.ollama import OllamaEngine
from app.managed.gpu_choice import Machine
from app.managed.names import Names, names_of
from app.managed.recipe import Recipe
from app.managed.supervisor import ManagedOllama
from tests.real.docker_engine import Engine
from tests.real.docker_images import Images
from tests.real.docker_rootfs import PYTHON

SCRIPTED = """
import http.server, json, os, pathlib
mark = pathlib.Path("/root/.ollama/starts")
start = int(mark.read_text()) if mark.exists() else 0
mark.write_text(str(start + 1))
libraries = os.environ["LIBRARIES"].split(",")
library = libraries[min(start, len(libraries) - 1)]
if library == "crash":
    raise SystemExit(1)
if library:
    print(f'level=INFO msg="inference compute" id=x library={library} compute=""', flush=True)
later = pathlib.Path("/root/.ollama/vram")

def models():
    vram = later.read_text() if later.exists() else os.environ.get("VRAM")
    return [{"name": "m", "size": 100, "size_vram": int(vram)}] if vram else []

class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        answer = {"/api/version": {"version": "scripted"}, "/api/ps": {"models": models()}}.get(self.path, {})
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("0.0.0.0", 11434), Answer).serve_forever()
"""


async def eventually(true: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    """Wait until `true()`; fails with `what` after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"{what}: not within {seconds:g} s")


@dataclass
class Managed:
    """One managed engine of one profile, with all that it ever said of itself."""

    dockerd: Engine
    recipe: Recipe
    options: dict[str, Any] = field(default_factory=dict)
    find: Callable[[], Any] | None = None
    said: list[HostState] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = OllamaEngine("http://127.0.0.1:9")
        options = {"healthy_s": 20.0, "pauses_s": (0.01,), "machine": Machine, **self.options}
        self.host = ManagedOllama(
            self.engine, lambda: self.recipe, find=self.find or self._find, on_change=self._changed, **options
        )

    async def _find(self) -> Docker:
        return await find_daemon(self.dockerd.socket)

    def _changed(self) -> None:
        self.said.append(self.host.state)

    @property
    def names(self) -> Names:
        return names_of(self.recipe.profile)

    @property
    def state(self) -> HostState:
        return self.host.state

    @property
    def phases(self) -> list[HostPhase]:
        """Every phase it went through, without repetitions."""
        return [phase for phase, _ in itertools.groupby(state.phase for state in self.said)]

    def container(self) -> Any:
        """The container as the daemon's own client sees it; raises NotFound where there is none."""
        return self.dockerd.client.containers.get(self.names.container)

    def exists(self) -> bool:
        try:
            self.container()
        except docker.errors.NotFound:
            return False
        return True

    def set(self, **changes: Any) -> None:
        """Other settings from now on."""
        self.recipe = replace(self.recipe, **changes)

    def networks(self) -> set[str]:
        return set(self.container().attrs["NetworkSettings"]["Networks"])

    async def running(self, seconds: float = 20.0) -> None:
        await eventually(lambda: self.state.phase is HostPhase.RUNNING, "running", seconds)

    async def close(self) -> None:
        await self.host.close()
        await self.engine.close()


Make = Callable[..., Managed]


def entry(dockerd: Engine, images: Images, name: str, code: str, changes: list[str] | None = None) -> str:
    """An image that runs `code`."""
    api = dockerd.client.api
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        info = tarfile.TarInfo("own.py")
        info.size = len(code.encode())
        archive.addfile(info, io.BytesIO(code.encode()))
    made = api.create_container(images.base, command=["none"])
    try:
        api.put_archive(made["Id"], "/", tar.getvalue())
        more = [f'ENTRYPOINT ["{PYTHON}", "/own.py"]', "CMD []", *(changes or [])]
        api.commit(made["Id"], f"mortdecai-test/{name}", "latest", changes=more)
    finally:
        api.remove_container(made["Id"])
    return f"mortdecai-test/{name}:latest"
