"""The gateway and the simulator as processes of their own, for tests that kill them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Process:
    """A running program and the line it said when it was ready."""

    popen: subprocess.Popen[str]
    said: str

    @property
    def connection(self) -> dict[str, Any]:
        """`--print-connection`'s line."""
        return dict(json.loads(self.said))


def environment(home: Path) -> dict[str, str]:
    """A gateway's environment: its own folders, no display, no developer's keyring."""
    return {
        **os.environ,
        "MORTDECAI_HOME": str(home),
        "QT_QPA_PLATFORM": "offscreen",
        "PYTHONPATH": str(ROOT),
    }


@contextlib.contextmanager
def program(home: Path, *arguments: str, through: tuple[str, ...] = ()) -> Iterator[Process]:
    """`python -m …`, started `through` another command: until its first line of output, and ended at the end."""
    errors = home / "stderr.txt"
    with errors.open("a") as stderr:
        popen = subprocess.Popen(
            [*through, sys.executable, "-W", "error", "-m", *arguments],
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert popen.stdout is not None
    try:
        said = popen.stdout.readline()
        assert said, f"it ended without a word; stderr: {errors.read_text()[-2000:]}"
        yield Process(popen, said)
    finally:
        if popen.poll() is None:
            popen.terminate()
            try:
                popen.wait(20)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()
        popen.stdout.close()


@contextlib.contextmanager
def gateway(
    home: Path, *arguments: str, command: str = "serve", through: tuple[str, ...] = ()
) -> Iterator[Process]:
    """A contributing gateway on a free port with its secrets in a file."""
    with program(
        home,
        "app",
        command,
        "--port",
        "0",
        "--vault",
        "file",
        "--contribute",
        "--print-connection",
        *arguments,
        through=through,
    ) as process:
        yield process


@contextlib.contextmanager
def simulator(home: Path, speed: float = 1.0, parallel: int = 8) -> Iterator[Process]:
    """The simulator alone; what it said ends with its URL."""
    with program(
        home, "app.simulator", "--port", "0", "--speed", str(speed), "--parallel", str(parallel)
    ) as process:
        yield process


def run(home: Path, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
