"""`setup` on a machine with a Docker Engine and nothing else set up: real engine, real pull, real requests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
