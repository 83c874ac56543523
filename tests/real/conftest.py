"""Real parts: programs that a test starts itself, in a place of its own, and stops again.

A missing program is a skip with a sentence for a developer, and a failure in CI, which has everything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def find_program(name: str, package: str) -> str:
    """The path of `name`. `package` is the Debian package that has it."""
    path = shutil.which(name)
    if path is None:
        sentence = f"{name} is not installed, so this cannot be tested for real: apt install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
    return path


@pytest.fixture
def program() -> Callable[[str, str], str]:
    """`program(name, package)` is the path of a program."""
    return find_program


Launch = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Start a process; it has ended when the test has."""
    started: list[subprocess.Popen[bytes]] = []

    def do(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, **options)  # type: ignore[call-overload]
        started.append(process)
        return process

    yield do
    for process in reversed(started):
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Let a process end that ends with its input, so that it takes its own children along; else make it end."""
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()
    else:
        process.terminate()
    for last_resort in (process.terminate, process.kill):
        try:
            process.wait(timeout=10)
            break
        except subprocess.TimeoutExpired:
            last_resort()
    process.wait(timeout=10)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


@pytest.fixture
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a runtime folder of the test's own, and no desktop."""
    home, runtime = tmp_path / "home", tmp_path / "run"
    for folder in (home, runtime):
        folder.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", os.fspath(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(runtime))
    for name in (
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_CACHE_HOME",
        "XDG_STATE_HOME",
        "DISPLAY",
        "WAYLAND_DISPLAY",
    ):
        monkeypatch.delenv(name, raising=False)
    return home
