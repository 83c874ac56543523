"""Fixtures: a real Docker Engine, images for it, and a registry to pull from. Registered by tests/conftest.py.

All live for the whole test run; a test cleans up what it made (`dockerd.clean()` where it is much).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.docker_engine import Engine
from tests.real.docker_images import Images, build_images
from tests.real.docker_registry import Registry


def _program(name: str, package: str) -> str:
    """As tests/real/conftest.py has it; daemons live in sbin, which is not in everybody's path."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        sentence = f"{name} is not installed, so this cannot be tested for real: apt install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
    return path


def _dockerd() -> str:
    if sys.platform != "linux":
        pytest.skip("platform: a Docker Engine of a test's own runs on Linux only")
    program = _program("dockerd", "docker.io")
    for name, package in (("ip", "iproute2"), ("iptables", "iptables")):
        _program(name, package)
    if os.geteuid() != 0:
        pytest.skip("a Docker Engine of a test's own needs root: run the tests with sudo, or in a container")
    return program


@pytest.fixture(scope="session")
def another_dockerd() -> Iterator[Callable[..., Engine]]:
    """`another_dockerd(data_root=…, options=(…))` makes one more engine; not started yet, ended at the end."""
    made: list[Engine] = []

    def make(data_root: Path | None = None, options: tuple[str, ...] = ()) -> Engine:
        made.append(Engine(_dockerd(), data_root=data_root, options=options))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Engine]:
    """A real Docker Engine with a data root of its own, running. A test that stops it starts it again."""
    engine = Engine(_dockerd())
    try:
        engine.start()
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="session")
def images(dockerd: Engine) -> Images:
    """Images in `dockerd` that stand for ollama/ollama and cloudflared."""
    return build_images(dockerd)


@pytest.fixture(scope="session")
def registry(dockerd: Engine) -> Iterator[Registry]:
    """A registry that `dockerd` may pull from."""
    registry = Registry(_program("docker-registry", "docker-registry"), dockerd)
    try:
        yield registry
    finally:
        registry.close()
