"""`python -m app.simulator`."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "app.simulator", *arguments]


@pytest.mark.skipif(sys.platform == "win32", reason="platform: no SIGTERM")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_where_it_listens_and_ends_when_told(number: signal.Signals) -> None:
    with subprocess.Popen(
        command("--port", "0", "--speed", "1000"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", line)
        with urllib.request.urlopen(line.strip() + "/api/version", timeout=10) as answer:
            assert b"simulated" in answer.read()
        process.send_signal(number)
        assert process.wait(10) == 0
        assert (process.stdout.read(), process.stderr.read()) == ("", "")


def test_a_taken_port_is_said_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            command("--port", str(port)), cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith(f"The simulator cannot listen on port {port}: ")
    assert done.stderr.count("\n") == 1


def test_a_speed_of_nothing_is_refused() -> None:
    done = subprocess.run(
        command("--speed", "0"), cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 2
    assert "needs a speed above 0" in done.stderr
