"""Every fault of issue 3 as the contributor meets it: one clear sentence, and a retry that ends with a served request.

Each is met three times: by `engine start` without a gateway, by a gateway that contributes (what /health says), and by
both once the cause is gone.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.engine.host import HostPhase
from app.managed.names import names_of
from tests.gateway.conftest import Contain
from tests.gateway.contained import NAMES, assert_for_a_person, no_traceback, until
from tests.gateway.processes import ROOT
from tests.real.docker_engine import Engine
from tests.real.docker_images import Images, layered
from tests.real.docker_registry import Registry

pytestmark = pytest.mark.real


@dataclass
class Fault:
    """Something that is wrong. `begin` makes it so, `mend` takes the cause away."""

    code: str
    says: str
    """A word of the reason."""
    begin: Callable[[], None] = lambda: None
    mend: Callable[[], None] = lambda: None
    settings: dict[str, Any] = field(default_factory=dict)
    mended: dict[str, Any] = field(default_factory=dict)
    """Settings that the contributor changes to mend it."""
    dockerd: Engine | None = None


@pytest.fixture
def small_disk() -> Iterator[Callable[[str], Path]]:
    """`small_disk(size)` mounts a disk of that size, or gives the mounted one another."""
    with tempfile.TemporaryDirectory(prefix="md-disk-") as name:
        mounted = False

        def size(text: str) -> Path:
            nonlocal mounted
            options = f"{'remount,' if mounted else ''}size={text}"
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", name], capture_output=True)
            if done.returncode != 0:
                pytest.skip("a small disk cannot be mounted here, which needs root: run the tests with sudo")
            mounted = True
            return Path(name)

        yield size
        if mounted:
            subprocess.run(["umount", "-l", name], check=True)


ALONE = ("--profile", "alone")
"""A command without a gateway has a profile of its own: what the gateway's home made is not its to use."""


class Faults:
    """Makes each fault by its name."""

    def __init__(
        self,
        dockerd: Engine,
        images: Images,
        registry: Registry,
        another_dockerd: Callable[..., Engine],
        small_disk: Callable[[str], Path],
        folder: Path,
    ) -> None:
        self.dockerd = dockerd
        self.images = images
        self.registry = registry
        self.another_dockerd = another_dockerd
        self.small_disk = small_disk
        self.folder = folder
        self.engines: list[Engine] = []

    def make(self, name: str) -> Fault:
        return {
            "daemon_stopped": self.daemon_stopped,
            "socket_refused": self.socket_refused,
            "no_docker_behind_the_socket": self.no_docker,
            "name_taken": self.name_taken,
            "port_taken": self.port_taken,
            "disk_full": self.disk_full,
            "image_missing": self.image_missing,
            "pull_broken_off": self.pull_broken_off,
            "gpu_refused": self.gpu_refused,
        }[name]()

    def daemon_stopped(self) -> Fault:
        return Fault("engine_failed", "no Docker", self.dockerd.stop, self.dockerd.start)

    def socket_refused(self) -> Fault:
        path = self.folder / "refused.sock"
        line = socket.socket(socket.AF_UNIX)
        line.bind(os.fspath(path))  # nobody listens: whoever connects is refused

        def mend() -> None:
            line.close()
            path.unlink()
            path.symlink_to(self.dockerd.socket_path)

        return Fault("engine_failed", "not running", mend=mend, settings={"docker_host": f"unix://{path}"})

    def no_docker(self) -> Fault:
        path = self.folder / "other.sock"
        path.write_text("no socket")

        def mend() -> None:
            path.unlink()
            path.symlink_to(self.dockerd.socket_path)

        return Fault("engine_failed", "no Docker", mend=mend, settings={"docker_host": f"unix://{path}"})

    def name_taken(self) -> Fault:
        names = (NAMES.container, names_of(ALONE[1]).container)

        def begin() -> None:
            for name in names:
                self.dockerd.client.containers.run(self.images.deaf, name=name, detach=True)

        def mend() -> None:
            for name in names:
                other = self.dockerd.client.containers.get(name)
                assert other.status == "running", "it is somebody else's and was left alone"
                other.remove(force=True)

        return Fault("engine_failed", NAMES.container, begin, mend)

    def port_taken(self) -> Fault:
        taken = socket.create_server(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        return Fault("engine_failed", str(port), mend=taken.close, settings={"engine_port": port})

    def disk_full(self) -> Fault:
        reference = self.registry.push(self.images.simulator, "ollama/large:1")
        engine = self.another_dockerd(data_root=self.small_disk("48m"))
        engine.start()
        self.engines.append(engine)
        return Fault(
            "engine_failed",
            "disk is full",
            mend=lambda: [self.small_disk("600m"), None][1],
            settings={"engine_image": reference},
            dockerd=engine,
        )

    def image_missing(self) -> Fault:
        reference = f"{self.registry.address}/ollama/appears:later"

        def mend() -> None:
            assert self.registry.push(self.images.simulator, "ollama/appears:later") == reference

        return Fault("engine_failed", "no image", mend=mend, settings={"engine_image": reference})

    def pull_broken_off(self) -> Fault:
        layered(self.dockerd.client, "mortdecai-test/half:1", [2_000_000, 2_000_000], self.images.simulator)
        reference = self.registry.push("mortdecai-test/half:1", "ollama/half:1")
        self.dockerd.client.images.remove("mortdecai-test/half:1")
        return Fault(
            "engine_failed",
            "broke off",
            lambda: self.registry.throttle(after_b=1_000_000),
            self.registry.throttle,
            settings={"engine_image": reference},
        )

    def gpu_refused(self) -> Fault:
        return Fault(
            "engine_failed",
            "NVIDIA",
            settings={"engine_gpu": "nvidia"},
            mended={"engine_gpu": "cpu"},
        )


@pytest.fixture
def faults(
    dockerd: Engine,
    images: Images,
    registry: Registry,
    another_dockerd: Callable[..., Engine],
    small_disk: Callable[[str], Path],
) -> Iterator[Faults]:
    # A socket's path may have 107 characters, so not below pytest's long folders.
    with tempfile.TemporaryDirectory(prefix="md-fault-") as folder:
        made = Faults(dockerd, images, registry, another_dockerd, small_disk, Path(folder))
        yield made
        for engine in made.engines:
            engine.close()
        dockerd.start()
        registry.throttle()


def command(home: Path, *words: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """One command to its end, with settings from its environment."""
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "app", *words],
        env={
            **os.environ,
            "MORTDECAI_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            **{f"MORTDECAI_{name.upper()}": str(value) for name, value in settings.items()},
        },
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def assert_one_sentence(done: subprocess.CompletedProcess[str], says: str) -> None:
    """It ended with status 2 and told a person why, once."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("mortdecai-gateway: ")]
    assert len(told) == 1, done.stderr
    assert done.stderr.rstrip().endswith(told[0]), done.stderr
    sentence = told[0].removeprefix("mortdecai-gateway: ")
    assert_for_a_person(sentence, at_most=3)
    assert says in sentence, sentence


FAULTS = (
    "daemon_stopped",
    "socket_refused",
    "no_docker_behind_the_socket",
    "name_taken",
    "port_taken",
    "disk_full",
    "image_missing",
    "pull_broken_off",
    "gpu_refused",
)


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_one_clear_sentence_and_with_its_cause_gone_contributing_again_serves(
    name: str,
    faults: Faults,
    contain: Contain,
    images: Images,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fault = faults.make(name)
    dockerd = fault.dockerd or faults.dockerd
    settings = {
        "engine": "container",
        "engine_image": images.simulator,
        "engine_gpu": "cpu",
        "docker_host": dockerd.socket,
        **fault.settings,
    }
    fault.begin()
    assert_one_sentence(command(tmp_path / "alone", "engine", "start", *ALONE, **settings), fault.says)

    fault.begin() if name == "pull_broken_off" else None
    house = await contain(dockerd=dockerd, **settings)
    health = await house.blocked(fault.code, fault.says)
    assert_for_a_person(health["reason"])
    assert_for_a_person(health["ends"], at_most=2)
    async with house.ask() as reply:
        assert reply.status == 503
        assert int(reply.headers["Retry-After"]) > 0
        assert "Traceback" not in await reply.text()

    fault.mend()
    if fault.mended:
        status, said = await house.operate("POST", "/config", fault.mended)
        assert status == 200, said
    again = command(tmp_path / "alone", "engine", "start", *ALONE, **{**settings, **fault.mended})
    assert again.returncode == 0, again.stderr
    assert "The engine runs." in again.stdout
    removed = command(tmp_path / "alone", "engine", "remove", "--models", "--yes", *ALONE, **settings)
    assert removed.returncode == 0, removed.stderr
    assert (await house.operate("POST", "/admin/resume"))[0] == 200
    await house.serves()
    no_traceback(caplog)


async def test_a_container_killed_from_outside_comes_back_by_itself_until_it_was_too_often(
    contain: Contain, caplog: pytest.LogCaptureFixture
) -> None:
    house = await contain(pauses_s=(0.3,))
    await house.serves()
    before = house.container().id
    house.container().kill()
    health = await house.blocked("engine_starting")
    assert_for_a_person(health["reason"])
    assert_for_a_person(health["ends"])
    await house.serves()
    assert house.container().id == before

    async def given_up() -> bool:
        if house.container().status == "running":
            house.container().kill()
        return (await house.health())["code"] == "engine_failed"

    await until(given_up, "left alone")
    health = await house.health()
    assert_for_a_person(health["reason"])
    assert "3 times" in health["reason"]
    assert_for_a_person(health["ends"])
    assert house.container().status == "exited"
    assert house.hosts[0].state.phase is HostPhase.FAILED
    await house.operate("POST", "/admin/resume")
    await house.serves()
    no_traceback(caplog)
