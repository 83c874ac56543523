"""`setup` on a machine with a Docker Engine and nothing else set up: real engine, real pull, real requests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.cli import parser
from app.commands.common import CommandError, Ground
from app.commands.setup import Setup
from app.managed.gpu_choice import Machine as Gpus
from app.managed.supervisor import ManagedOllama
from app.settings.folders import Folders
from app.settings.store import SettingsStore
from tests.gateway.contained import assert_for_a_person, variant
from tests.real.docker_engine import Engine
from tests.real.docker_images import Images, layered
from tests.real.docker_registry import Registry

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.real


class Machine:
    """A home without settings, and the one Docker Engine that it knows."""

    def __init__(self, home: Path, dockerd: Engine, image: str) -> None:
        self.home = home
        self.dockerd = dockerd
        self.environment = {
            **os.environ,
            "MORTDECAI_HOME": str(home),
            "MORTDECAI_ENGINE_IMAGE": image,
            "DOCKER_HOST": dockerd.socket,
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "PYTHONPATH": str(ROOT),
        }

    def say(self, *words: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """One command to its end. Nothing of the machine itself is looked at but its Docker Engine."""
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "app", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )

    def setup(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.say("setup", "--yes", "--engine", "container", "--set", "port=0", "--json", *words)

    @property
    def containers(self) -> list[Any]:
        return self.dockerd.client.containers.list(all=True)


@pytest.fixture
def machine(tmp_path: Path, dockerd: Engine, images: Images, registry: Registry) -> Machine:
    dockerd.clean()
    # A layer of its own, so that there is something to pull that this engine does not have.
    layered(dockerd.client, "mortdecai-test/fresh:1", [2_000_000, 2_000_000], images.simulator)
    reference = registry.push("mortdecai-test/fresh:1", f"ollama/{tmp_path.name.replace('_', '-')}")
    dockerd.client.images.remove("mortdecai-test/fresh:1")
    return Machine(tmp_path, dockerd, reference)


def connection(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_from_nothing_to_a_served_test_request_and_again_without_doing_anything_twice(
    machine: Machine,
) -> None:
    first = machine.setup()
    made = connection(first)
    assert made["api_key"].startswith("mg_")
    steps = [line for line in first.stderr.splitlines() if line[1:3] == "/6"]
    assert [line.split()[1].rstrip(":") for line in steps] == ["Secrets", "Engine", "Start", "Model", "Test"]
    assert "no GPU was found" in first.stderr
    assert "tokens in" in first.stderr
    # It ends as it began: nothing runs on unasked.
    (container,) = machine.containers
    assert container.status == "exited"
    assert container.name == "mortdecai-ollama"

    again = machine.setup()
    assert connection(again) == {**made, "url": connection(again)["url"]}
    assert [one.id for one in machine.containers] == [container.id]
    assert "ownloading" not in again.stderr


def test_a_set_up_that_broke_off_goes_on_where_it_was(machine: Machine, registry: Registry) -> None:
    registry.throttle(after_b=1_000_000)
    try:
        broken = machine.setup()
    finally:
        registry.throttle()
    assert broken.returncode == 2
    (sentence,) = [line for line in broken.stderr.splitlines() if line.startswith("mortdecai-gateway:")]
    assert "again" in sentence
    assert connection(machine.setup())["model"]


def test_without_docker_and_without_an_engine_it_says_what_to_install(
    machine: Machine, tmp_path: Path
) -> None:
    machine.environment["DOCKER_HOST"] = f"unix://{tmp_path}/nothing.sock"
    done = machine.setup()
    assert done.returncode == 2
    assert "Docker" in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_is_asked_where_nobody_can_answer(machine: Machine) -> None:
    done = machine.say("setup", "--engine", "container", "--set", "port=0", "--json")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert not machine.containers


def test_an_engine_that_runs_already_is_used_and_left_running(machine: Machine, images: Images) -> None:
    container = machine.dockerd.client.containers.run(
        images.simulator, detach=True, ports={"11434/tcp": ("127.0.0.1", None)}, name="somebody-elses"
    )
    try:
        container.reload()
        port = container.ports["11434/tcp"][0]["HostPort"]
        done = machine.say(
            "setup", "--yes", "--set", "port=0", "--json", "--upstream", f"http://127.0.0.1:{port}"
        )
        connection(done)
        container.reload()
        assert container.status == "running"
        assert len(machine.containers) == 1
    finally:
        container.remove(force=True)


def told(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence with which it ended."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("mortdecai-gateway: ")]
    assert done.stderr.rstrip().endswith(sentence)
    sentence = sentence.removeprefix("mortdecai-gateway: ")
    assert_for_a_person(sentence, at_most=3)
    return sentence


def test_a_name_that_somebody_else_has_is_said_and_setup_goes_on_once_it_is_free(
    machine: Machine, images: Images
) -> None:
    theirs = machine.dockerd.client.containers.run(images.deaf, name="mortdecai-ollama", detach=True)
    assert "mortdecai-ollama" in told(machine.setup())
    theirs.reload()
    assert theirs.status == "running"
    theirs.rename("theirs")
    assert connection(machine.setup())["model"]
    theirs.reload()
    assert theirs.status == "running"


def test_a_port_that_is_taken_is_said_and_setup_goes_on_once_it_is_free(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert str(port) in told(machine.setup("--set", f"engine_port={port}"))
    assert connection(machine.setup("--set", f"engine_port={port}"))["model"]
    (container,) = machine.containers
    assert container.attrs["HostConfig"]["PortBindings"]["11434/tcp"][0]["HostPort"] == str(port)


def test_a_gpu_that_docker_refuses_is_said_and_with_the_processor_it_goes_on(machine: Machine) -> None:
    assert "NVIDIA" in told(machine.setup("--set", "engine_gpu=nvidia"))
    assert connection(machine.setup("--set", "engine_gpu=cpu"))["model"]


def test_an_image_that_is_nowhere_is_said(machine: Machine, registry: Registry) -> None:
    missing = f"engine_image={registry.address}/nobody/has-this:1"
    assert "nobody/has-this" in told(machine.setup("--set", missing))
    assert not machine.containers
    assert connection(machine.setup())["model"]


def test_a_docker_that_is_stopped_is_said_and_setup_goes_on_once_it_runs(machine: Machine) -> None:
    machine.dockerd.stop()
    try:
        assert "Docker" in told(machine.setup())
    finally:
        machine.dockerd.start()
    assert connection(machine.setup())["model"]


def test_an_engine_that_ends_by_itself_is_said_with_its_last_words(machine: Machine, images: Images) -> None:
    machine.environment["MORTDECAI_ENGINE_IMAGE"] = images.crashing
    sentence = told(machine.setup())
    assert "libcudart" in sentence
    assert "3 times" in sentence


async def test_setup_does_not_end_well_where_the_model_lies_beside_the_gpu(
    machine: Machine, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, because the GPU is pretended: /dev/null stands for its device file."""
    image = variant(machine.dockerd, images, "beside-the-gpu", ["--cpu-only"])
    pretended = {**ManagedOllama.__init__.__kwdefaults__, "machine": lambda: Gpus(rocm=("/dev/null",))}
    monkeypatch.setattr(ManagedOllama.__init__, "__kwdefaults__", pretended)
    given = {"port": 0, "vault": "memory", "engine_image": image, "docker_host": machine.dockerd.socket}
    folders = Folders.for_profile("default", machine.home)
    folders.prepare()
    store = SettingsStore.load(cli=given, env={}, file=folders.settings_file)
    options = parser().parse_args(["setup", "--yes", "--json", "--engine", "container"])
    with pytest.raises(CommandError, match="on the processor, not on the GPU"):
        await Setup(Ground(folders, store, "default"), options).do()
    (container,) = machine.containers
    assert container.status == "exited"
